"""TRL's trainers, changed where a loss needs it, and the fields that they take."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "agreement": "Agreement agreement",
        "distill": "Interpolation DistillTrainer",
        "distill_seq2seq": "expose_decoder Seq2SeqDistillTrainer",
        "distill_settings": "DistillConfig SelfTeacher self_teacher check_parts "
        "check_prompts unused",
        "list_module": "ListModule",
        "on_policy": "Writer worst corrupted",
        "on_policy_settings": "OnPolicy",
        "trainer_fields": "obeyed refused refuse",
        "weighted": "bundled WeightedTrainer WeightedSeq2SeqTrainer",
    },
)
