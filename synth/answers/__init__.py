"""What an answer is worth, whatever its spelling."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "choices": "Choices choices_of has_labels pick",
        "equal": "same close number canonical same_answer votes",
        "expression": "Token scan NotArithmetic to_fraction value_of evaluate",
        "golds": "Gold read_gold unwrapped agrees shown has_number",
        "numerals": "plain_signs Written written words han",
        "reading": "Value read number_value",
        "spelling": "boxed bare plain matrix option day clock",
        "units": "Unit Behind scale_of behind leading_unit",
    },
)
