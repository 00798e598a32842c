"""Numbers that small local models give texts: vectors, entailment, likelihood. One process of its
own holds all of these models: torch is loaded once, and what it does to memory ends with it.

The models need `pip install 'potstill[finetune]'`; vectors by hashing need numpy alone.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from synth.core.errors import WrongUse
from synth.core.optional import require
from synth.core.records import Fields
from synth.local_models.minilm import MINILM, folder_of
from synth.processes.worker import Worker
from synth.text.words import words

if TYPE_CHECKING:
    import numpy as np

    Vectors = np.ndarray[Any, Any]

HASHING = "hashing"
# Texts or pairs in one message: some seconds of work on two cores.
PART = 256
_WAIT = 600.0
_DIM = 512


@cache
def _worker() -> Worker:
    """The process of all models."""
    return Worker(
        "-m", "finetune.scoring.worker", seconds=_WAIT, start_seconds=_WAIT
    )


def _ask(
    kind: str, model: str, name: str, values: Sequence[Any]
) -> list[Fields]:
    """The replies to messages of `PART` values each."""
    for package in ("torch", "transformers"):
        require(package, "finetune", f"model {model}")
    head = {"kind": kind, "model": folder_of(model)}
    replies = []
    for start in range(0, len(values), PART):
        part = list(values[start : start + PART])
        reply = _worker().ask({**head, name: part})
        if reply is None:
            reply = {
                "error": "a process that ended or took more than 10 minutes",
                "todo": "Try a smaller model, or shorter texts.",
            }
        if "error" in reply:
            raise WrongUse(
                f"model {model}", reply["error"], "numbers", reply["todo"]
            )
        replies.append(reply)
    return replies


def vectors(texts: Sequence[str], model: str = MINILM) -> Vectors:
    """[N, D] float32 of unit length; `hashing` for words and pairs of words hashed to 512 numbers.

    Raises:
        WrongUse: no such model, or nothing to run it with.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    if not texts:
        return np.zeros((0, 1), np.float32)
    if model == HASHING:
        return np.stack([_hashed(text) for text in texts])
    replies = _ask("embed", model, "texts", texts)
    return np.concatenate(
        [
            np.frombuffer(base64.b64decode(r["vectors"]), np.float32).reshape(
                -1, r["dim"]
            )
            for r in replies
        ]
    )


def _hashed(text: str) -> Vectors:
    """Words and pairs of words, each a signed place of 512, damped by the logarithm of how often
    they stand.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    words_of_text = words(text)
    vector = np.zeros(_DIM, np.float32)
    for gram in (*words_of_text, *map(" ".join, pairwise(words_of_text))):
        number = zlib.crc32(gram.encode("utf-8", "replace"))
        vector[number % _DIM] += 1.0 if number >> 16 & 1 else -1.0
    vector = np.sign(vector) * np.log1p(np.abs(vector))
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def classes(
    pairs: Sequence[tuple[str, str]], model: str
) -> list[dict[str, float]]:
    """Probability of each label, in small letters, by a sequence classification model over pairs of
    texts.
    """
    replies = _ask("classify", model, "pairs", pairs)
    return [
        dict(zip(reply["labels"], shares, strict=True))
        for reply in replies
        for shares in reply["shares"]
    ]


def entailment(
    pairs: Sequence[tuple[str, str]], model: str
) -> list[tuple[float, float]]:
    """(probability that the first text entails the second, that it contradicts it) by a natural
    language inference model.

    Raises:
        WrongUse: the model has no label that begins with "entail".
    """
    shares_by_pair = classes(pairs, model)
    if shares_by_pair and not any(
        label.startswith("entail") for label in shares_by_pair[0]
    ):
        raise WrongUse(
            f"model {model}",
            f"labels {', '.join(shares_by_pair[0])}",
            "one that begins with entail",
            "Take an inference model.",
        )
    return [
        (_share(shares, "entail"), _share(shares, "contra"))
        for shares in shares_by_pair
    ]


def _share(shares: dict[str, float], start: str) -> float:
    return sum(
        share for label, share in shares.items() if label.startswith(start)
    )


def losses(
    pairs: Sequence[tuple[str, str]], model: str
) -> list[tuple[float, int]]:
    """(mean negative log-likelihood in nats, tokens) of each text behind its prompt, by a causal
    language model.
    """
    replies = _ask("loss", model, "pairs", pairs)
    return [
        pair
        for reply in replies
        for pair in zip(reply["nll"], reply["tokens"], strict=True)
    ]
