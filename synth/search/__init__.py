"""Texts near a text: BM25, vectors, mining of hard negatives."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "index": "Index Bm25 Dense open_index nearest",
        "mining": "Mining Miner near_pairs report",
    },
)
