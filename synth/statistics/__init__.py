"""How sure a number is: thresholds, calibration curves, intervals, and what a label is worth."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "curves": "platt isotonic probability choose bins calibration_error plot",
        "intervals": "auc wilson",
        "label_budget": "Curve Prices fit read_pilot advise describe",
        "thresholds": "Threshold NotEnoughEvidence calibrate design_effect lower_bound beta_cdf",
    },
)
