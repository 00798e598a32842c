"""TRL's trainers, changed where a loss needs it, and the fields that they take."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "agreement": "Agreement agreement",
        "between_steps": "Adaptation Interpolation",
        "distill": "DistillTrainer",
        "distill_seq2seq": "expose_decoder Seq2SeqDistillTrainer",
        "distill_checks": "checked",
        "distill_settings": "DistillConfig SelfTeacher self_teacher unused",
        "list_module": "ListModule",
        "on_policy": "Writer worst corrupted",
        "on_policy_settings": "OnPolicy",
        "weighted": "bundled WeightedTrainer WeightedSeq2SeqTrainer",
    },
)
