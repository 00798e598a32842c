"""Logits that never exist whole: head, loss and gradient in tiles."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "heads": "Head project back",
        "gradients": "Gradients",
        "tiles": "Tile evaluate evaluate_compiled tile_rows",
        "fused": "Fused fused",
        "fused_crossing": "fused_crossing",
        "features": "Show Features ready",
        "hidden_states": "Body expose_hidden head_of",
    },
)
