"""Open teachers: in process, on disk, across tokenizers, from replies."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "across_tokenizers": "Across AcrossTeacher ends_of",
        "cache": "Known About CacheWriter Cache rows_of",
        "from_replies": "teach said_by",
        "in_process": "ModelTeacher CacheTeacher SeveralTeachers label_losses same_tokens",
        "selection": "Selection",
        "top_k_codec": "Layout pack unpack",
    },
)
