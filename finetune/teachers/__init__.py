"""Open teachers: in process, on disk, behind servers, across tokenizers, from replies."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "across_tokenizers": "Across AcrossTeacher SeveralAcross ends_of",
        "cache": "Known About CacheWriter Cache known_of rows_of",
        "from_replies": "teach said_by",
        "in_process": "ModelTeacher CacheTeacher SeveralTeachers label_losses same_tokens "
        "opened logits_of sparse_at",
        "opened_settings": "Opening",
        "own": "OwnTeacher",
        "prompted": "PromptedTeacher",
        "by_row": "ByRow",
        "scored_tokens": "Way Entry Vocabulary body_of entries_of",
        "scorer": "Scorer question scores_in",
        "selection": "Selection",
        "served": "ServedTeacher",
        "served_settings": "Servers",
        "top_k_codec": "Layout pack unpack",
    },
)
