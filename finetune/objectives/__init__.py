"""What rows of unequal weight do to a loss."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "objectives": "Batch Objective Weighted unlikelihood MinMax Ranking",
        "weighting": "weighted_loss read_coefficients bundles wholes",
    },
)
