"""How sure a number is: thresholds, calibration curves, intervals, and what a label is worth."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "agreement": "krippendorff_alpha",
        "curves": "platt line isotonic rising probability choose bins calibration_error plot",
        "intervals": "auc auc_interval wilson lower_bound beta_cdf",
        "label_budget": "Curve Prices fit read_pilot advise describe",
        "logistic": "fit_logistic sigmoid",
        "thresholds": "Threshold NotEnoughEvidence calibrate design_effect",
    },
)
