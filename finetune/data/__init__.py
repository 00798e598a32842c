"""Rows on disk -> token ids, one way: shapes, prompts, chat templates, mixing."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "loss_columns": "Form forms form_of columns_of",
        "person_names": "named",
        "preference_rows": "Shaped shaped",
        "prompts": "checked of_student in_training messages_of text_of rendered applied spans "
        "ids_of",
        "query_lists": "Listed read",
        "rows": "is_run with_columns columns sft_rows taint weighting labelled_rows "
        "preference_rows texts",
        "shapes": "sft labelled preferences messages cleaned tools_of",
        "tokens": "Prepared tokenised prepared said_of fingerprint vocabulary_digest",
        "training_rows": "for_sft set_tokens say_lost dataset chosen",
    },
)
