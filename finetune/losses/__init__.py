"""Distillation losses: one file each, `Loss()(student_logits, teacher_logits, mask) -> scalar`,
closed-form gradients, fp32 or better.
"""

from synth.core.lazy import parts_of

__getattr__, __dir__ = parts_of(__name__)
