"""What a word is, in any script, and how alike two texts are."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "joins": "TokenSets token_sets Neighbours",
        "novelty": "Novelty",
        "shingles": "Lengths Vocabulary ngrams",
        "words": "folded joined words pieces plain kind worth amount count runs first terms bag "
        "jaccard jaccard_of rouge_1 rouge_l",
    },
)
