"""Opening a model and keeping it: loaded, built on the spot, cut short, gated."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "gated": "Gated adapt set_mode state divergence",
        "load": "open_student load_student read_sides sides written train_and_keep write_info",
        "scratch": "Size is_scratch build build_classifier build_tokenizer build_model "
        "build_seq2seq",
        "truncate": "is_truncated source_of cut chosen",
    },
)
