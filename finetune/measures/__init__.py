"""Measures of answers beside exact match, one file each: found by the name of their file."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "base": "Measure measured",
        "token_f1": "TokenF1",
        "rouge_l": "RougeL",
        "calls": "Calls",
        "set_f1": "SetF1",
        "quote_f1": "QuoteF1",
        "spans": "Spans",
        "classes": "Classes",
        "pass_at": "PassAt",
        "majority_at": "MajorityAt",
        "rank": "Rank",
        "consistency": "Consistency",
        "leak": "Leak",
        "skew": "Skew",
        "adherence": "Adherence",
    },
)
