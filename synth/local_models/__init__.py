"""Small models on this machine, asked in a process of their own: vectors, classes, entailment,
likelihoods.
"""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "minilm": "folder_of",
        "scores": "vectors classes entailment losses",
    },
)
