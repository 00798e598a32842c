"""What belongs to a training row, found again by the tokens of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import torch

from finetune.core.tensors import Inputs, Mask
from finetune.data.teacher_prompts import first_learnt
from finetune.data.tokens import fingerprint
from finetune.teachers.cache import rows_of
from synth.core.errors import WrongUse
from synth.core.records import Row

Value = TypeVar("Value")


class _Held(NamedTuple, Generic[Value]):
    """A value, and the number of its row."""

    row: int
    value: Value


class ByRow(Generic[Value]):
    """Values by the tokens of their rows; a text that the student wrote has that of the row whose
    prompt it answers.

    Args:
        rows: `input_ids` and `labels` of each.
        values: of each.
        what: they are, for errors, such as "teachers".

    Raises:
        WrongUse: two rows of the same tokens with different values.
    """

    def __init__(
        self, rows: Sequence[Row], values: Sequence[Value], what: str
    ) -> None:
        self._what = what
        self._rows: dict[bytes, _Held[Value]] = {}
        self._prompts: dict[tuple[int, ...], _Held[Value]] = {}
        self._divided: tuple[int, int] | None = None
        for number, row in enumerate(rows):
            ids = row["input_ids"]
            labels = row["labels"]
            held = _Held(number, values[number])
            key = fingerprint(ids, labels)
            twin = self._rows.setdefault(key, held)
            if twin.value != held.value:
                raise self._refusal("--input", twin.row, number)
            prompt = _prompt(ids, labels)
            before = self._prompts.setdefault(prompt, held)
            if before.value != held.value:
                self._divided = self._divided or (before.row, number)

    def _refusal(self, where: str, one: int, two: int) -> WrongUse:
        return WrongUse(
            f"{where}, rows {one + 1} and {two + 1}",
            f"the same tokens with different {self._what}",
            "one for both",
            "Leave one of the rows out.",
        )

    def of(self, ids: Sequence[int], labels: Sequence[int]) -> Value:
        """The value of a row, or of a text that answers a row's prompt.

        Raises:
            WrongUse: it is neither.
        """
        held = self._rows.get(fingerprint(ids, labels))
        held = held or self._prompts.get(_prompt(ids, labels))
        if held is None:
            raise WrongUse(
                "distill",
                f"a text of {len(ids)} tokens whose prompt is in no row",
                "the prompts of the rows",
                "Leave out what changes prompts, such as --packing-strategy wrapped.",
            )
        return held.value

    def check_prompts(self) -> None:
        """Refuses rows of one prompt with different values: what the student writes to that prompt
        cannot choose.

        Raises:
            WrongUse: with the first two of them.
        """
        if self._divided is not None:
            raise self._refusal("--on-policy", *self._divided)


def _prompt(ids: Sequence[int], labels: Sequence[int]) -> tuple[int, ...]:
    return tuple(ids[: first_learnt(labels)])


def trust_in(trust: Mapping[bytes, float], inputs: Inputs) -> Mask | None:
    """[B, T] how much the teacher counts at each shifted token of a batch; None where it counts
    alike everywhere.

    Args:
        trust: by the fingerprint of a row; rows that are not named count 1.
        inputs: `input_ids` and `labels`, padded or packed.
    """
    if not trust:
        return None
    rows, width = inputs["labels"].shape
    weights = torch.ones(rows, width - 1, device=inputs["labels"].device)
    for row, start, ids, labels in rows_of(inputs):
        end = start + len(ids) - 1
        weights[row, start:end] = trust.get(fingerprint(ids, labels), 1.0)
    return weights
