"""Logits that never exist whole: head, loss and gradient in tiles."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "fused": "Head project back fused Gradients",
        "fused_crossing": "fused_crossing",
        "hidden_states": "expose_hidden head_of",
    },
)
