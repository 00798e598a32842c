"""answer, gold -> true / false / unknown. One file per verifier; none asks a model."""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
