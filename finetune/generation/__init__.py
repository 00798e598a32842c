"""What a student says: sampling, decoding, a worker that answers."""

from synth.core.lazy import public

__getattr__, __dir__ = public(
    __name__,
    {
        "chat_worker": "Answerer batches main",
        "chunking": "Chunks ChunkStore store_of chunked_generate runs",
        "confidence": "mean_gap said_logits sure_of",
        "continuations": "Continuations continuations end_tokens prompt_length",
        "decoding": "ThinkBudget contrastive_generate",
        "listening": "Heard Listener",
        "mixtures": "Mixture mixed",
        "sampling": "Penalties options banned_ids",
        "ways": "PLAIN Ways behind written",
    },
)
