"""Vectors, classes and likelihoods of texts, and what a score is worth."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "calibration": "Calibration beside fit threshold_at recall_table precision_at_recall",
        "retrievers": "pair_scores best",
        "word_scores": "WordScorer",
        "frozen_critic": "FrozenCritic",
        "hidden_probe": "HiddenProbe",
        "models": "Model embed embedded classify loss main",
        "opened": "opened",
    },
)
