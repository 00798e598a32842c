"""Texts of the student by servers that are given its weights."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "fingerprints": "Fingerprints Logs log_probs_of probes_of",
        "reloading": "Command Reload SglangAdapter SglangWeights VllmAdapter VllmWeights way_of",
        "served_texts": "ServedTexts Student",
        "settings": "Rollouts",
        "text_server": "Drawn Text TextServer",
    },
)
