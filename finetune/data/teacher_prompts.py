"""Prompts that only a teacher reads: the row's own, with a gold, a rule or a hint beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data import prompts
from finetune.data.prompts import Prompt, ids_of, messages_of
from finetune.data.tokens import IGNORED, Prepared
from synth.core.errors import WrongUse
from synth.core.records import Row, canonical_json
from synth.packs.templates import Template, Templates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_USER = "--teacher-prompt"
_SYSTEM = "--teacher-system"
_FLAGS = (_USER, _SYSTEM)


@dataclass(frozen=True, kw_only=True)
class TeacherPrompt:
    """What a teacher reads in the place of a row's prompt: Jinja over the row's columns, or files
    that hold some.

    Attributes:
        user: the prompt; of messages, the content of the user's last turn. `{{ prompt }}` is what
            the student reads there. "" leaves it as it is.
        system: the system's turn, of conversations alone; "" leaves it as it is.
    """

    user: str = ""
    system: str = ""

    def check(self, columns: Iterable[str]) -> None:
        """Finds mistakes in the templates.

        Args:
            columns: of the rows.

        Raises:
            WrongUse: a template that is none, or one that names what rows do not have.
        """
        known = {*columns, "prompt"}
        for flag, writer in zip(_FLAGS, self._writers(), strict=True):
            unknown = sorted(writer.variables - known) if writer else []
            if unknown:
                raise WrongUse(
                    flag,
                    f"{unknown[0]!r}, which no row has",
                    f"columns {', '.join(sorted(known))}",
                    "Correct the template, or add the column to the rows.",
                )
            if writer and flag == _USER and not writer.variables:
                raise WrongUse(
                    flag,
                    "a text that names no column",
                    "a template such as 'Hint: {{ hint }} {{ prompt }}'",
                    "Give one, or the path of a file that holds one.",
                )

    def seen(
        self,
        table: Sequence[Row],
        shaped: Sequence[Row],
        made: Prepared,
        tokenizer: PreTrainedTokenizerBase,
        *,
        where: str,
    ) -> list[JsonObject]:
        """`input_ids` and `labels` of each row as a teacher sees it: its own prompt, and behind it
        the tokens that the student reads behind his.

        Args:
            table: all rows with all their columns.
            shaped: the same with a `prompt`.
            made: those that are trained on.
            tokenizer: the student's.
            where: what named the rows, for messages.

        Raises:
            WrongUse: rows without prompts, or a template that cannot be rendered over one.
        """
        writers = self._writers()
        seen = []
        for row, position in zip(made.rows, made.positions, strict=True):
            place = f"{where} row {position + 1}"
            prompt = _prompt(shaped[position], place)
            values = {**table[position], "prompt": _last(prompt)}
            user, system = (
                writer.render(values) if writer else "" for writer in writers
            )
            given = _replaced(prompt, user, system, made.template)
            tools = shaped[position].get("tools")
            ids = ids_of(given, tokenizer, made.template, tools)
            seen.append(behind(ids, row, place))
        return seen

    def digest(self) -> str:
        """8 hex digits of both templates."""
        texts = [writer.source if writer else "" for writer in self._writers()]
        return hashlib.sha256(canonical_json(texts)).hexdigest()[:8]

    def _writers(self) -> list[Template | None]:
        """Both templates; None for one that is not given."""
        writers: list[Template | None] = []
        for flag, given in zip(_FLAGS, (self.user, self.system), strict=True):
            made = None
            if given:
                made = Templates().compile(_text(given, flag), flag)
            writers.append(made)
        return writers


def _text(given: str, flag: str) -> str:
    """A template, or the content of the file that holds it."""
    if "{" in given or "\n" in given:
        return given
    try:
        return Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if flag == _SYSTEM and " " in given:
            return given
        raise WrongUse(
            f"{flag} {given[:80]}",
            f"no template and no file that can be read ({error})",
            "Jinja over the row's columns, or a file of it",
            "For example --teacher-prompt 'Hint: {{ hint }} {{ prompt }}'.",
        ) from error


def _prompt(row: Row, where: str) -> Prompt:
    """The prompt of a row.

    Raises:
        WrongUse: it has none, or ends with the assistant's turn.
    """
    prompt: Prompt | None = row.get("prompt")
    if prompt is None:
        raise WrongUse(
            where,
            f"columns {', '.join(row)}",
            "columns prompt and completion, with --teacher-prompt",
            "Split conversations at their last turn.",
        )
    if not isinstance(prompt, str) and prompt[-1].get("role") != "user":
        raise WrongUse(
            where,
            f"a prompt that ends with {prompt[-1].get('role')}",
            "one that ends with the user's turn",
            "Correct the row.",
        )
    return prompt


def _last(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _replaced(
    prompt: Prompt, user: str, system: str, form: prompts.Template
) -> Prompt:
    """A prompt with other words of the user's and the system's, where there are some."""
    if isinstance(prompt, str) and not system:
        return user or prompt
    if isinstance(prompt, str) and form == "never":
        raise WrongUse(
            _SYSTEM,
            "rows of texts, which have no turns",
            "conversations",
            f"Put it into {_USER}.",
        )
    messages = messages_of(prompt)
    if user:
        messages[-1] = {**messages[-1], "content": user}
    if system:
        own = [turn for turn in messages if turn["role"] != "system"]
        messages = [{"role": "system", "content": system}, *own]
    return messages


def behind(prompt: Iterable[int], row: Row, where: str) -> JsonObject:
    """A row with another prompt before its first learnt token.

    Raises:
        WrongUse: the row has no prompt.
    """
    labels = row["labels"]
    first = first_learnt(labels)
    ids = [*prompt]
    if not first or not ids:
        raise WrongUse(
            where,
            "a row of which all tokens are learnt, or an empty prompt",
            "a prompt that is not learnt",
            "Leave out --completion-only-loss false and --truncation-mode keep_end.",
        )
    return {
        "input_ids": [*ids, *row["input_ids"][first:]],
        "labels": [IGNORED] * len(ids) + list(labels[first:]),
    }


def first_learnt(labels: Sequence[int]) -> int:
    """How many tokens stand before the first that is learnt: those of the prompt."""
    return next(
        (n for n, label in enumerate(labels) if label != IGNORED), len(labels)
    )
