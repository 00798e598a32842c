"""How a student is asked beside by its prompt alone, and a server of a student."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "cascade": "Cascade Asked",
        "chain": "Chain Question",
        "desk": "Desk Job",
        "inference": "Inference",
        "protocol": "Refused",
        "server": "ServeConfig make_app serve",
    },
)
