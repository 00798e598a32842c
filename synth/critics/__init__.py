"""How far a judge can be believed: forged rows, promises, features, trained models."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "calibration": "promised scores_of labels_of promises_of card_lines",
        "canaries": "forge suits fooled shares calls_of try_critics",
        "features": "features numbers",
        "trained_model": "Model fit Logistic",
        "verdict_odds": "expected",
    },
)
