"""Distillation losses: one file each, `Loss()(student_logits, teacher_logits, mask) -> scalar`, closed-form gradients, fp32 or better."""
