"""Training rows as token ids and labels: the one way that teaching, distilling and evaluating
divergences share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from finetune.core.rows import JsonObject, Tools
from finetune.data.prompts import (
    Prompt,
    Template,
    applied,
    ids_of,
    in_training,
    messages_of,
    spans,
)
from finetune.data.shapes import cleaned, tools_of
from synth.core.errors import WrongUse
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Not a label: the loss does not count it.
IGNORED = -100
MOST_TOKENS = 1024


class Prepared(NamedTuple):
    """Rows for a trainer, and what did not go into them.

    Attributes:
        rows: {input_ids, labels} of each row that has something to learn.
        places: of these rows among all, from 0.
        crowded: rows left out, as their prompt leaves no room for an answer.
        cut: rows whose answer is cut off.
        template: `always` or `never`: how the student wants to be asked from now on.
    """

    rows: list[JsonObject]
    positions: list[int]
    crowded: int
    cut: int
    template: Template

    def record(self) -> JsonObject:
        """What a training writes down of it."""
        return {
            "template": self.template,
            "crowded": self.crowded,
            "cut": self.cut,
        }


def tokenised(
    data: Iterable[Row],
    tokenizer: PreTrainedTokenizerBase,
    most: int | None = MOST_TOKENS,
    template: Template = "auto",
    *,
    where: str,
) -> list[JsonObject]:
    """{input_ids, labels} of each row that has room for an answer; see `prepared`."""
    made = prepared(data, tokenizer, most, template=template, where=where)
    return made.rows


def prepared(
    data: Iterable[Row],
    tokenizer: PreTrainedTokenizerBase,
    most: int | None = MOST_TOKENS,
    *,
    template: Template = "auto",
    whole: bool = False,
    keep_end: bool = False,
    where: str,
) -> Prepared:
    """Rows of `prompt` and `completion` (texts or messages), `messages`, or `text`, as ids and
    labels.

    Labels are those of the completion, of all turns of the assistant, or of the whole text, and of
    the end behind each.

    Args:
        data: the rows.
        tokenizer: the student's.
        most: tokens of a row; longer ones lose their ends.
        template: whether rows go through the chat template.
        whole: all tokens are learnt.
        keep_end: longer rows lose their beginnings instead.
        where: what named the rows, for messages: an option and its file.

    Raises:
        WrongUse: a row without an answer, none that has room for one, or a chat template that hides
            where turns begin.
    """
    listed = list(data)
    chat = any(
        not isinstance(row.get("messages", row.get("prompt", "")), str)
        for row in listed[:1]
    )
    form = in_training(template, tokenizer, chat=chat)
    reader = _Reader(tokenizer, form)
    part = slice(most)
    if keep_end and most is not None:
        part = slice(-most, None)
    kept = []
    positions = []
    cut = 0
    first_crowded = ""
    for position, row in enumerate(listed):
        named = f"{where} row {position + 1}"
        ids, learnt = _read_row(reader, row, named)
        if whole:
            learnt = [True] * len(ids)
        labels = [IGNORED] * len(ids)
        for number, token in enumerate(ids):
            if learnt[number]:
                labels[number] = token
        # The first token of a row has nothing before it that could predict it.
        if not any(label != IGNORED for label in labels[part][1:]):
            first_crowded = first_crowded or _lengths(learnt)
            continue
        cut += sum(learnt) > sum(learnt[part])
        kept.append({"input_ids": ids[part], "labels": labels[part]})
        positions.append(position)
    if not kept:
        raise WrongUse(
            f"{where} row 1",
            first_crowded or "nothing",
            f"room within {most}",
            "Shorten it, or raise --max-length.",
        )
    return Prepared(kept, positions, len(listed) - len(kept), cut, form)


def _read_row(
    reader: _Reader, row: Row, named: str
) -> tuple[list[int], list[bool]]:
    """(ids, which of them are learnt: some are); errors name the row."""
    try:
        ids, learnt = reader.read(row)
    except WrongUse as error:
        where, *rest = error.args
        raise WrongUse(f"{named}, {where}", *rest) from error
    if not any(learnt):
        raise WrongUse(
            named,
            "no turn of the assistant",
            "one to learn",
            "Take the row out.",
        )
    return ids, learnt


def _lengths(learnt: Sequence[bool]) -> str:
    """How long a prompt is, and what stands behind it."""
    prompt = learnt.index(True) if True in learnt else len(learnt)
    behind = len(learnt) - prompt
    return f"a prompt of {prompt:,} tokens and {behind:,} after it"


class _Reader:
    """Ids of rows, and which of them are learnt.

    Args:
        tokenizer: the student's.
        template: `always` or `never`.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, template: Template
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template

    def read(self, row: Row) -> tuple[list[int], list[bool]]:
        """(ids, which of them are learnt)."""
        if row.get("text") is not None:
            ids = _ended(_ids(self.tokenizer, str(row["text"])), self.tokenizer)
            return ids, [True] * len(ids)
        tools = tools_of(row)
        if row.get("messages") is not None:
            return self._conversation([], cleaned(row["messages"]), tools)
        prompt = row["prompt"]
        completion = row["completion"]
        if self.template == "always":
            return self._conversation(
                messages_of(cleaned(prompt)),
                said_of(cleaned(completion)),
                tools,
            )
        answer = (
            completion
            if isinstance(completion, str)
            else _only(completion, completion)["content"]
        )
        return self._plain(prompt, answer)

    def _plain(
        self, prompt: Prompt, answer: str
    ) -> tuple[list[int], list[bool]]:
        before = ids_of(prompt, self.tokenizer, "never")
        after = _ended(_ids(self.tokenizer, answer), self.tokenizer)
        return [*before, *after], [False] * len(before) + [True] * len(after)

    def _conversation(
        self, before: list[JsonObject], answer: list[JsonObject], tools: Tools
    ) -> tuple[list[int], list[bool]]:
        """A conversation of which the turns of the assistant in `said` are learnt."""
        every = [*before, *answer]
        if self.template == "never":
            last = _only(answer, every)
            return self._plain(every[:-1], last["content"])
        # A prompt and its answer: what stands behind the prompt as it is asked is learnt, its end
        # included.
        if [message["role"] for message in answer] == ["assistant"]:
            ids = self._rendered(every, tools)
            start = common_start(
                ids_of(before, self.tokenizer, "always", tools), ids
            )
            return ids, [False] * start + [True] * (len(ids) - start)
        if self._masking is not None:
            return self._masked(every, len(before), tools)
        return self._by_prefixes(every, len(before), tools)

    def _rendered(self, every: list[JsonObject], tools: Tools) -> list[int]:
        encoded = applied(self.tokenizer, every, tools=tools, tokenize=True)
        return list(encoded["input_ids"])

    @cached_property
    def _masking(self) -> str | None:
        """A template that marks what the assistant generates: the student's own, or TRL's of the
        same model.
        """
        from trl.chat_template_utils import (  # noqa: PLC0415
            get_training_chat_template,
            has_generation_markers,
        )

        own = self.tokenizer.chat_template
        if (
            not self.tokenizer.is_fast
        ):  # it does not say where a token stands in the text
            return None
        if not isinstance(own, str) or has_generation_markers(own):
            return own if isinstance(own, str) else None
        try:
            template: str | None = get_training_chat_template(self.tokenizer)
        except ValueError:  # TRL does not know this template
            return None
        return template

    def _masked(
        self, every: list[JsonObject], first: int, tools: Tools
    ) -> tuple[list[int], list[bool]]:
        """Tokens that overlap what the template marks as the assistant's.

        Not by `return_assistant_tokens_mask`: before transformers 5.24 it loses a turn that starts
        with a character of which the tokenizer makes no token, such as a line end.
        """
        text, marked = spans(self.tokenizer, every, str(self._masking), tools)
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        ids = list(encoded["input_ids"])
        start = (
            common_start(self._rendered(every[:first], tools), ids)
            if first
            else 0
        )
        behind = encoded["offset_mapping"][start:]
        learnt = [False] * start + [_overlaps(span, marked) for span in behind]
        return ids, learnt

    def _by_prefixes(
        self, every: list[JsonObject], first: int, tools: Tools
    ) -> tuple[list[int], list[bool]]:
        """A turn's tokens lie between the conversation up to its prompt and the conversation up to
        its end.
        """
        ids = self._rendered(every, tools)
        learnt = [False] * len(ids)
        for position, message in enumerate(every):
            if message["role"] != "assistant" or position < first:
                continue
            start = common_start(
                ids_of(every[:position], self.tokenizer, "always", tools), ids
            )
            end = common_start(
                self._rendered(every[: position + 1], tools), ids
            )
            if end <= start:
                todo = (
                    "Mark the assistant's turns in it by {% generation %}, or train on the "
                    "last turn: prompt and completion."
                )
                where = f"chat template, turn {position + 1}"
                raise WrongUse(
                    where,
                    "a turn that later ones change",
                    "turns that stay as they are",
                    todo,
                )
            learnt[start:end] = [True] * (end - start)
        return ids, learnt


def said_of(completion: str | list[JsonObject]) -> list[JsonObject]:
    """A completion as turns."""
    if isinstance(completion, str):
        return [{"role": "assistant", "content": completion.strip()}]
    return completion


def _only(answer: list[JsonObject], every: list[JsonObject]) -> JsonObject:
    """The one turn of the assistant, which ends the conversation.

    Raises:
        WrongUse: several, which only a chat template tells apart.
    """
    if (
        sum(message["role"] == "assistant" for message in every) != 1
        or every[-1]["role"] != "assistant"
    ):
        todo = (
            "Put a chat_template.jinja into the student's folder: texts do not show where a "
            "turn ends."
        )
        raise WrongUse(
            "messages",
            "several turns, and a student without a chat template",
            "one",
            todo,
        )
    return answer[-1]


def _overlaps(
    token: tuple[int, int], marked: Sequence[tuple[int, int]]
) -> bool:
    """Whether the characters of a token lie, at least in part, in a marked span."""
    left, right = token
    return any(left < end and right > begin for begin, end in marked)


def common_start(one: Sequence[int], two: Sequence[int]) -> int:
    """Tokens of the beginning that both have."""
    most = min(len(one), len(two))
    return next(
        (
            position
            for position in range(most)
            if one[position] != two[position]
        ),
        most,
    )


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _ended(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    end = tokenizer.eos_token_id
    return ids if end is None or ids[-1:] == [end] else [*ids, end]


def fingerprint(ids: Sequence[int], labels: Sequence[int]) -> bytes:
    """16 bytes that name a row by its tokens and by which of them are predicted and learnt (never
    the first): a cache's key.
    """
    import numpy as np  # noqa: PLC0415

    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.asarray(ids, "<i4").tobytes())
    digest.update(np.packbits(np.asarray(labels)[1:] != IGNORED).tobytes())
    return digest.digest()


def vocabulary_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """16 hex digits of a tokenizer's tokens and their ids: two models of one family have the
    same.
    """
    table = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    return hashlib.sha256(repr(table).encode()).hexdigest()[:16]
