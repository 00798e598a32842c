"""Local pages of run folders: what was kept and dropped, row by row, and the report of a run."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "labels": "Labels agreement drawn",
        "report": "write_report",
        "rows": "RunRows",
        "server": "make_app serve",
        "words": "Condition chosen became story compared comparison",
    },
)
