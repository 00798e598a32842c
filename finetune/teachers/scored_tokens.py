"""What servers say of given tokens: how each kind is asked, and the one reader of their replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import cached_property
from math import exp, inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

from synth.core.errors import TeacherRefused
from synth.core.records import Fields, Values

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Servers put this, or less, in the place of what is impossible: JSON has no -inf.
_LEAST = -9000.0
# What rounding may add to a probability of 1.
_ROUNDING = 1e-3
# A token whose text is its number, as vLLM spells it where it is told to.
_NUMBERED = "token_id:"
# What stands for a part of a character in a text.
_PART = "\ufffd"
# Sampling that leaves probabilities as they are, where a server takes them after sampling.
_PLAIN = {
    "max_tokens": 1,
    "temperature": 1.0,
    "top_p": 1.0,
}
_PLAIN_OF_VLLM = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


class Way(StrEnum):
    """How a server is asked about given tokens.

    Attributes:
        PROMPT: `prompt_logprobs` of a prompt of token ids (vLLM): one call a row.
        ECHO: `echo` with `logprobs` (the first completions API of OpenAI): one call a row.
        NEXT: `logprobs` of one token that is written behind the beginning of a row (llama.cpp, and
            nearly all others): one call a token.
    """

    PROMPT = "prompt_logprobs"
    ECHO = "echo"
    NEXT = "next"


class Entry(NamedTuple):
    """One token that a server names at a place: its id or its text, or both, and ln of its
    probability; None where that is 0.
    """

    token: int | None
    text: str
    log: float | None


def body_of(way: Way, model: str, ids: Sequence[int], k: int) -> Fields:
    """The request about token ids; by `NEXT` about what follows them."""
    common: Fields = {"model": model, "prompt": list(ids), **_PLAIN}
    if way is Way.PROMPT:
        return {**common, **_PLAIN_OF_VLLM, "prompt_logprobs": k}
    if way is Way.ECHO:
        return {**common, "echo": True, "logprobs": k}
    # Of an end llama.cpp tells nothing, as long as it may write one.
    return {**common, "logprobs": k, "ignore_eos": True}


def entries_of(
    way: Way, reply: Values, ids: Sequence[int], places: Sequence[int]
) -> list[list[Entry]]:
    """What a reply says of each place.

    Args:
        way: how it was asked.
        reply: the JSON of a completion.
        ids: the tokens that were sent.
        places: numbers of tokens in them, from 1; by `NEXT` the one behind them.

    Raises:
        TeacherRefused: `not_scored`: the server does not answer such questions;
            `invalid_scores`: it does, and its numbers cannot be.
    """
    match reply.get("choices"):
        case [dict() as choice, *_]:
            pass
        case _:
            raise TeacherRefused("not_scored", "no choice in the reply")
    if way is Way.NEXT:
        _check_usage(reply.get("usage"), len(ids))
        tables = [_of_next(choice, len(ids))]
    elif way is Way.ECHO:
        tables = list(_of_echo(choice, ids, places))
    else:
        tables = list(_of_prompt(choice, ids, places))
    for place, table in zip(places, tables, strict=True):
        _check(table, place)
    return tables


def _of_prompt(
    choice: Values, ids: Sequence[int], places: Sequence[int]
) -> Iterator[list[Entry]]:
    """VLLM's: a token's id -> {"logprob", "rank", "decoded_token"}, at each token but the first."""
    cells = choice.get("prompt_logprobs")
    if not isinstance(cells, list):
        raise TeacherRefused("not_scored", "no prompt_logprobs in the reply")
    _check_count(len(cells), len(ids))
    for place in places:
        yield list(_of_cell(cells[place], ids[place], place))


def _of_cell(cell: object, own: int, place: int) -> Iterator[Entry]:
    """What stands at one token of a prompt."""
    if not isinstance(cell, dict) or str(own) not in cell:
        raise _invalid(place, "no word about the token itself")
    for name, said in cell.items():
        if not name.isdecimal() or not isinstance(said, dict):
            raise _invalid(place, f"{name!r:.40}, which is no token's id")
        text = said.get("decoded_token")
        yield Entry(
            token=int(name),
            text=str(text or ""),
            log=_number(said.get("logprob"), place),
        )


def _of_echo(
    choice: Values, ids: Sequence[int], places: Sequence[int]
) -> Iterator[list[Entry]]:
    """OpenAI's: three lists over all tokens, and at each a text -> log-probability."""
    tokens, logs, tops = _lists(choice.get("logprobs"))
    count = len(tokens)
    if count <= 1 < len(ids):
        raise TeacherRefused("not_scored", "the prompt is not echoed")
    # One more was written behind them, where the server takes max_tokens at its word.
    if count == len(ids) + 1:
        count = len(ids)
    _check_count(count, len(ids))
    for place in places:
        own = _named(tokens[place], logs[place], place)
        if own.token not in (None, ids[place]):
            raise _invalid(place, f"{tokens[place]} for {ids[place]}")
        yield [
            own._replace(token=ids[place]),
            *_others(tops[place], tokens[place], place),
        ]


def _of_next(choice: Values, place: int) -> list[Entry]:
    """Of one token that was written: chat's form (llama.cpp) or that of completions."""
    said = choice.get("logprobs")
    match said:
        case {"content": [dict() as first, *_]}:
            return _of_content(first, place)
    tokens, logs, tops = _lists(said)
    if not tokens or not isinstance(tops[0], dict):
        raise TeacherRefused("not_scored", "no top logprobs in the reply")
    return [
        _named(tokens[0], logs[0], place),
        *_others(tops[0], tokens[0], place),
    ]


def _of_content(first: Values, place: int) -> list[Entry]:
    """A token that was written, with its `top_logprobs`, in chat's form."""
    tops = first.get("top_logprobs")
    if not isinstance(tops, list) or not tops:
        raise TeacherRefused("not_scored", "no top_logprobs in the reply")
    table: dict[tuple[object, str], Entry] = {}
    for said in (first, *tops):
        if not isinstance(said, dict):
            raise _invalid(place, f"{said!r:.40}, which is no token")
        number = said.get("id")
        entry = Entry(
            token=number if type(number) is int else None,
            text=str(said.get("token") or ""),
            log=_number(said.get("logprob"), place),
        )
        # What was written is mostly one of the likeliest too.
        name = (entry.token, entry.text)
        table.setdefault(name, entry)
    return list(table.values())


def _lists(said: object) -> tuple[list[str], list[object], list[object]]:
    """`tokens`, `token_logprobs` and `top_logprobs`, of one length."""
    match said:
        case {
            "tokens": list() as tokens,
            "token_logprobs": list() as logs,
            "top_logprobs": list() as tops,
        }:
            pass
        case _:
            raise TeacherRefused("not_scored", "no logprobs in the reply")
    counts = [len(tokens), len(logs), len(tops)]
    if len(set(counts)) > 1:
        raise TeacherRefused("invalid_scores", f"lists of {counts} entries")
    return list(map(str, tokens)), logs, tops


def _others(tops: object, own: str, place: int) -> list[Entry]:
    """The candidates of a place but for the token itself."""
    if not isinstance(tops, dict):
        raise _invalid(place, f"{tops!r:.40}, which is no table of tokens")
    return [
        _named(text, log, place) for text, log in tops.items() if text != own
    ]


def _named(text: str, log: object, place: int) -> Entry:
    """A token by its text, which may be its number."""
    number = text.removeprefix(_NUMBERED)
    if number != text and number.isdecimal():
        return Entry(int(number), "", _number(log, place))
    return Entry(None, text, _number(log, place))


def _number(log: object, place: int) -> float | None:
    """Ln of a probability; None for one of 0."""
    if log is None or log == -inf:
        return None
    if isinstance(log, bool) or not isinstance(log, int | float):
        raise _invalid(place, f"{log!r:.40}, which is no number")
    if not isfinite(log) or log > _ROUNDING:
        raise _invalid(place, f"{log}, which is no log-probability")
    return float(log) if log > _LEAST else None


def _check(table: Sequence[Entry], place: int) -> None:
    """Refuses probabilities that add up to more than 1, as logits do."""
    logs = [entry.log for entry in table if entry.log is not None]
    total = sum(map(exp, logs))
    if total > 1 + _ROUNDING:
        raise _invalid(place, f"probabilities that add up to {total:.4f}")


def _check_usage(usage: object, sent: int) -> None:
    """Compares how many tokens a server read, where it says so, with those that were sent."""
    match usage:
        case {"prompt_tokens": int(read)} if read:
            _check_count(read, sent)


def _check_count(found: object, wanted: int) -> None:
    if found != wanted:
        raise TeacherRefused(
            "invalid_scores",
            f"{found} tokens in the reply where {wanted} were sent: the server adds or drops some",
        )


def _invalid(place: int, what: str) -> TeacherRefused:
    return TeacherRefused("invalid_scores", f"token {place}: {what}")


class Vocabulary:
    """A student's tokens by the texts that servers give them.

    Args:
        tokenizer: the student's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.size = len(tokenizer)

    @cached_property
    def spelt(self) -> list[tuple[str, str]]:
        """Of each token its text, and its name in the vocabulary."""
        spelt = []
        for number in range(self.size):
            text = self.tokenizer.decode([number])
            name = self.tokenizer.convert_ids_to_tokens(number)
            spelt.append((text, str(name)))
        return spelt

    @cached_property
    def by_text(self) -> dict[str, int]:
        """Tokens that a text names, and no other token's text or name does."""
        tokens: dict[str, set[int]] = {}
        for number, both in enumerate(self.spelt):
            for text in both:
                tokens.setdefault(text, set()).add(number)
        return {
            text: numbers.pop()
            for text, numbers in tokens.items()
            if len(numbers) == 1
        }

    def known(self, table: Sequence[Entry]) -> dict[int, float]:
        """{token: log-probability} of what a server names; what the student does not have, or a
        text does not tell apart, belongs to the rest.
        """
        found: dict[int, float] = {}
        for entry in table:
            token = entry.token
            if token is None:
                token = self.by_text.get(entry.text, self.size)
            if entry.log is not None and 0 <= token < self.size:
                found.setdefault(token, entry.log)
        return found

    def differing(self, table: Sequence[Entry]) -> str:
        """The first token to which a server gives another text than the student does, in words; ""
        where there is none.
        """
        for token, given, _ in table:
            text = given.strip()
            if token is None or not text:
                continue
            if token >= self.size:
                return f"token {token}, {text!r}, beyond the student's {self.size:,}"
            own, name = self.spelt[token]
            # Parts of a character have no text of their own.
            if _PART in own + text:
                continue
            if text not in (own.strip(), name.strip()):
                return f"token {token} is {text!r} there, {own!r} here"
        return ""
