"""Gray-box distillation: an API teacher's `top_logprobs`, as a run's journal holds them, become a
cache that `distill --offline` reads.

The student's tokenizer may be any. A teacher's candidate counts for the student's first token of
its text; where a student's token spans several of the teacher's, their probabilities multiply;
inside a teacher's token nothing is known, and such places are not learnt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import exp, inf, log1p
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.data import rows
from finetune.data.prompts import Template
from finetune.data.tokens import (
    IGNORED,
    fingerprint,
    prepared,
    vocabulary_digest,
)
from finetune.students import load as student
from finetune.students.training_rows import say_lost
from finetune.teachers.across_tokenizers import ends_of
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The most that APIs give.
K = 20
Token = Row


def teach(
    run: str,
    replies: str,
    model: str,
    output: Path,
    *,
    most: int = 1024,
    template: Template = "auto",
) -> dict[str, int]:
    """Writes the cache of a run's kept rows.

    Args:
        run: folder of a run whose pack set `logprobs` and `top_logprobs`.
        replies: what `synth journal RUN --output FILE` wrote.
        model: the student, whose tokenizer counts.
        output: the cache's folder.
        most: longest row in tokens.
        template: as the training that will read them has it.

    Returns:
        {"rows": all, "taught": those whose reply has log-probabilities, "tokens": learnt ones of
        them, "known": of these by the teacher}.

    Raises:
        WrongUse: no run, no replies with log-probabilities.
    """
    from finetune.teachers.cache import About, CacheWriter, known_of  # noqa: PLC0415

    _, tokenizer = student.load_student(model)
    data = [
        dict(row)
        for row in rows.with_columns(run, ("prompt", "completion", "meta"))
    ]
    replied = _replied(replies)
    about = About(
        teacher=f"replies of {run}",
        vocabulary=len(tokenizer),
        k=min(K, len(tokenizer)),
        tokenizer=vocabulary_digest(tokenizer),
    )
    counts = {"rows": len(data), "taught": 0, "tokens": 0, "known": 0}
    tokenizer.save_pretrained(str(output))
    with CacheWriter(output, about) as writer:
        read = prepared(
            data, tokenizer, most, template=template, where=f"--input {run}"
        )
        say_lost(read, most)
        for made, number in zip(read.rows, read.positions, strict=True):
            row = data[number]
            tokens = replied.get(str(row["meta"].get("key")))
            if not tokens:
                continue
            entries = said_by(made, str(row["completion"]), tokens, tokenizer)
            if entries is None:
                continue
            key = fingerprint(made["input_ids"], made["labels"])
            writer.add(key, known_of(entries, about.k, len(tokenizer)))
            counts["taught"] += 1
            counts["tokens"] += len(entries)
            counts["known"] += sum(map(bool, entries))
    return counts


def _replied(path: str) -> dict[str, list[Token]]:
    """Key of a call -> its tokens with candidates; refuses a file without any.

    Raises:
        WrongUse: no reply has log-probabilities.
    """
    replied = _spoken(path)
    if not replied:
        todo = (
            "Run with --set STEP.sampling.logprobs=true --set STEP.sampling.top_logprobs=20, "
            "then `synth journal RUN --output FILE`."
        )
        raise WrongUse(
            f"--replies {path}",
            "no reply with top_logprobs",
            "log-probabilities",
            todo,
        )
    return replied


def _spoken(path: str) -> dict[str, list[Token]]:
    """Key of a call -> its tokens with candidates."""
    replied = {}
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                choices = (row.get("reply") or {}).get("choices") or [{}]
            except (ValueError, AttributeError, RecursionError) as error:
                raise WrongUse(
                    f"--replies {path}:{number}",
                    f"no reply ({error})",
                    "a line of `synth journal`",
                    "Write it with `synth journal RUN --output FILE`.",
                ) from error
            tokens = (choices[0].get("logprobs") or {}).get("content") or []
            if tokens and all(
                isinstance(token.get("top_logprobs"), list) for token in tokens
            ):
                replied[str(row["key"])] = tokens
    return replied


def said_by(
    made: Row,
    completion: str,
    tokens: Sequence[Token],
    tokenizer: PreTrainedTokenizerBase,
) -> list[dict[int, float]] | None:
    """For each learnt token of a row {token id: log-probability}, {} where nothing is known; None
    where the reply is not in the row.

    Args:
        made: the row's `input_ids` and `labels`.
        completion: its text, of which the reply is a part.
        tokens: of the reply, with `token`, `logprob` and `top_logprobs`.
        tokenizer: the student's.
    """
    starts = _starts(tokens, completion)
    if starts is None:
        return None
    learnt = [
        token
        for token, label in zip(
            made["input_ids"][1:], made["labels"][1:], strict=True
        )
        if label != IGNORED
    ]
    ended = learnt[-1:] == [tokenizer.eos_token_id]
    body = learnt[: len(learnt) - ended]
    ends = ends_of(tokenizer, body, completion)
    firsts = _Firsts(tokenizer)
    candidates = []
    for number, token in enumerate(learnt):
        start = _skip(completion, ends[number - 1] if number else 0)
        end = ends[number] if number < len(ends) else start
        candidates.append(
            _candidates(
                tokens, starts.get(start), completion[start:end], token, firsts
            )
        )
    return candidates


def _starts(tokens: Sequence[Token], completion: str) -> dict[int, int] | None:
    """Where each token's text begins in the completion; None where they are not all there, one
    after the other.

    White space is not compared: some tokenizers write it into their tokens, others between them.
    """
    words = [str(token["token"]).strip() for token in tokens]
    first = next((word for word in words if word), None)
    at = completion.find(first) if first else -1
    while at >= 0:
        starts = {}
        position = at
        for number, word in enumerate(words):
            position = _skip(completion, position) if word else position
            if not completion.startswith(word, position):
                break
            if word:
                starts[position] = number
            position += len(word)
        else:
            return starts
        at = completion.find(str(first), at + 1)
    return None


def _skip(text: str, at: int) -> int:
    """Past white space, which belongs to the token behind it for some tokenizers and to none for
    others.
    """
    while at < len(text) and text[at].isspace():
        at += 1
    return at


class _Firsts:
    """The student's first token of a candidate's text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.known = dict[str, int | None]()

    def __getitem__(self, text: str) -> int | None:
        if text not in self.known:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self.known[text] = int(ids[0]) if ids else None
        return self.known[text]


def _candidates(
    tokens: Sequence[Token],
    at: int | None,
    text: str,
    actual: int,
    firsts: _Firsts,
) -> dict[int, float]:
    """What the teacher says at a place where one of its tokens begins."""
    if at is None or not text:
        return {}
    own = _spanned(tokens, at, text)
    if own is None:
        return {}
    candidates: dict[int, float] = {}
    for candidate in tokens[at]["top_logprobs"]:
        word = str(candidate["token"])
        value = float(candidate["logprob"])
        token = firsts[word]
        if token is None or word == tokens[at]["token"] or value == -inf:
            continue
        _add(candidates, token, value)
    _add(candidates, actual, own)
    return candidates


def _add(candidates: dict[int, float], token: int, value: float) -> None:
    """Probabilities of one token add up."""
    if token in candidates:
        low, high = sorted((candidates[token], value))
        # Apart from each other: services say -9999 of what is next to impossible.
        value = high if low == -inf else high + log1p(exp(low - high))
    candidates[token] = value


def _spanned(tokens: Sequence[Token], at: int, text: str) -> float | None:
    """Ln of the probability of the teacher's tokens that make up (or begin) a student's token; None
    where they end in its middle.
    """
    total = 0.0
    span = ""
    for token in tokens[at:]:
        total += float(token["logprob"])
        span += str(token["token"]).strip()
        if span.startswith(text.strip()):
            return total
        if not text.startswith(span):
            return None
    return None
