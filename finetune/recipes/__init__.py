"""One file a command: `run(config)`."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "critic": "split table",
        "curriculum": "binned named in_stages",
        "distill": "open_student",
        "fade": "staged salience faded",
        "frozen_critic": "Columns features FrozenCritic",
        "mix": "mixed search by_domain domain_shares",
        "nat": "NatConfig keep",
        "retriever": "RetrieverConfig open_encoder",
        "sft": "fit",
        "teach": "teach_from_servers best",
    },
)
