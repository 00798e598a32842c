"""A teacher who reads prompts of its own before the student's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from finetune.core.tensors import HiddenStates, Inputs, Positions, RowLogits
from finetune.data.teacher_prompts import first_learnt
from finetune.data.tokens import IGNORED
from finetune.kernels.features import Features, Show
from finetune.losses.base_parts import Sparse, TeacherAt
from finetune.teachers.by_row import ByRow
from finetune.teachers.cache import rows_of
from finetune.teachers.in_process import ModelTeacher, Teacher, batch_of
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PromptedTeacher:
    """Shows a teacher, in the place of each prompt of a batch, the prompt of the same row that is
    meant for it; what is learnt stands behind both, token by token.

    Args:
        teacher: of the student's tokens.
        made: `input_ids` and `labels` of the rows, as the student sees them.
        seen: the same rows as the teacher sees them.
        pad: token that fills batches up.

    Raises:
        WrongUse: two rows of the same tokens with different prompts for the teacher.
    """

    def __init__(
        self,
        teacher: Teacher,
        made: Sequence[Row],
        seen: Sequence[Row],
        pad: int,
    ) -> None:
        self.teacher = teacher
        self.pad = pad
        prompts = []
        for row in seen:
            first = first_learnt(row["labels"])
            prompt = row["input_ids"][:first]
            prompts.append(tuple(prompt))
        self.prompts = ByRow(made, prompts, "prompts of the teacher")

    @property
    def model(self) -> PreTrainedModel | None:
        """The teacher's model, where it can show its inside."""
        teacher = self.teacher
        return teacher.model if isinstance(teacher, ModelTeacher) else None

    def says(self, inputs: Inputs) -> TeacherAt:
        """What the teacher says behind its own prompts."""
        batch, table = self._behind(inputs)
        return _moved(self.teacher.says(batch), table)

    def shows(self, inputs: Inputs, show: Show) -> tuple[TeacherAt, Features]:
        """The same with its hidden states, each where the student is as it reads the same token;
        elsewhere, as in the prompts, they are 0.
        """
        batch, table = self._behind(inputs)
        say, features = cast("ModelTeacher", self.teacher).shows(batch, show)
        rows = inputs["input_ids"].shape[0]
        states = tuple(_placed(state, table, rows) for state in features.states)
        return _moved(say, table), Features(states=states)

    def _behind(self, inputs: Inputs) -> tuple[Inputs, Positions]:
        """The batch as the teacher reads it, and for each place of the student's flat batch of
        shifted tokens the same one of the teacher's; -1 where he has none.
        """
        count, tokens_a_row = inputs["input_ids"].shape
        length = tokens_a_row - 1
        places = []
        rows = []
        for row, start, tokens, learnt in rows_of(inputs):
            prompt = self.prompts.of(tokens, learnt)
            first = first_learnt(learnt)
            ids = [*prompt, *tokens[first:]]
            labels = [IGNORED] * len(prompt) + learnt[first:]
            rows.append((ids, labels))
            # Shifted place n predicts token n + 1.
            here = row * length + start + first - 1
            there = len(prompt) - 1
            said = len(tokens) - first
            places.append((here, there, said))
        batch = batch_of(rows, self.pad, inputs["input_ids"].device)
        width = batch["input_ids"].shape[1] - 1
        table = torch.full((count * length,), -1)
        for number, (here, there, said) in enumerate(places):
            begin = number * width + there
            end = begin + said
            table[here : here + said] = torch.arange(begin, end)
        return batch, table


def _moved(say: TeacherAt, table: Positions) -> TeacherAt:
    """What is said, by places of the student's."""

    def moved(positions: Positions) -> RowLogits | Sparse:
        there = table[positions.cpu()]
        return say(there.to(positions.device))

    return moved


def _placed(state: HiddenStates, table: Positions, rows: int) -> HiddenStates:
    """States [B, T, H] of the teacher's as [B, S, H] at the student's shifted places."""
    table = table.to(state.device)
    flat = state[:, :-1].flatten(0, 1)
    found = flat[table.clamp(min=0)]
    known = (table >= 0)[:, None]
    width = state.shape[-1]
    return (found * known).view(rows, -1, width)
