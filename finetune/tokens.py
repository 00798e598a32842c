"""Training rows as token ids and labels: the one way that teaching, distilling and evaluating divergences share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth.errors import WrongUse

# Not a label: the loss does not count it.
IGNORED = -100
MOST_TOKENS = 1024


def tokenised(data: Iterable[Mapping[str, Any]], tokenizer: Any, most: int | None = MOST_TOKENS) -> list[dict[str, Any]]:
    """{input_ids, labels} of each row: `prompt` and `completion` (texts or messages), `messages`, or `text`.

    Labels are those of the completion (of the last message; of the whole text) and of the end behind it. Long rows lose their ends.

    Raises:
        WrongUse: a row without a completion, or one whose prompt fills all of `most`.
    """
    found = []
    for number, row in enumerate(data, 1):
        before, said = sides(row, tokenizer)
        ids = [*before, *said][:most]
        if len(ids) <= len(before):
            todo = "Shorten it, or raise --max-length."
            raise WrongUse(f"row {number}", f"a prompt of {len(before)} tokens and {len(said)} after it", f"room within {most}", todo)
        found.append({"input_ids": ids, "labels": [IGNORED] * len(before) + ids[len(before) :]})
    return found


def sides(row: Mapping[str, Any], tokenizer: Any) -> tuple[list[int], list[int]]:
    """(ids of what stands before, ids of what is learnt, its end included)."""
    if row.get("messages") is not None:
        return _chat(list(row["messages"][:-1]), [row["messages"][-1]], tokenizer)
    if row.get("text") is not None:
        return [], _ended(_ids(tokenizer, str(row["text"])), tokenizer)
    prompt, completion = row["prompt"], row["completion"]
    if not isinstance(prompt, str):
        return _chat(list(prompt), list(completion), tokenizer)
    return _ids(tokenizer, prompt, special=True), _ended(_ids(tokenizer, completion), tokenizer)


def _ids(tokenizer: Any, text: str, *, special: bool = False) -> list[int]:
    """Ids of a text; what a tokenizer puts before a text stays where it is wanted, the end that some put behind it never."""
    plain = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not special:
        return plain
    ids = list(tokenizer(text)["input_ids"])
    ended = len(ids) > len(plain) and ids[-1] == tokenizer.eos_token_id and plain[-1:] != ids[-1:]
    return ids[:-1] if ended else ids


def _ended(ids: list[int], tokenizer: Any) -> list[int]:
    end = tokenizer.eos_token_id
    return ids if end is None or ids[-1:] == [end] else [*ids, end]


def _chat(before: list[Any], said: list[Any], tokenizer: Any) -> tuple[list[int], list[int]]:
    """By the chat template: the whole conversation, behind the prompt as it is given when an answer is wanted."""
    prompt = list(tokenizer.apply_chat_template(before, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"])
    whole = list(tokenizer.apply_chat_template([*before, *said], tokenize=True, return_dict=True)["input_ids"])
    shared = next((n for n, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole)))
    return whole[:shared], whole[shared:]


def fingerprint(ids: Sequence[int], labels: Sequence[int]) -> bytes:
    """16 bytes that name a row by its tokens and by which of them are predicted and learnt (never the first): a cache's key."""
    import numpy as np  # noqa: PLC0415

    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.asarray(ids, "<i4").tobytes())
    digest.update(np.packbits(np.asarray(labels)[1:] != IGNORED).tobytes())
    return digest.digest()


def vocabulary_digest(tokenizer: Any) -> str:
    """16 hex digits of a tokenizer's tokens and their ids: two models of one family have the same."""
    table = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    return hashlib.sha256(repr(table).encode()).hexdigest()[:16]
