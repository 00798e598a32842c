"""A teacher who reads prompts of its own before the student's words."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from finetune.core.tensors import Inputs, Positions, RowLogits
from finetune.data.teacher_prompts import first_learnt
from finetune.data.tokens import IGNORED
from finetune.losses.base_parts import Sparse, TeacherAt
from finetune.teachers.by_row import ByRow
from finetune.teachers.cache import rows_of
from finetune.teachers.in_process import Teacher, batch_of
from synth.core.records import Row


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
            prompts.append(tuple(row["input_ids"][:first]))
        self.prompts = ByRow(made, prompts, "prompts of the teacher")

    def says(self, inputs: Inputs) -> TeacherAt:
        """What the teacher says behind its own prompts."""
        length = inputs["input_ids"].shape[1] - 1
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
            places.append((here, len(prompt) - 1, len(tokens) - first))
        batch = batch_of(rows, self.pad, inputs["input_ids"].device)
        width = batch["input_ids"].shape[1] - 1
        table = torch.full((inputs["input_ids"].shape[0] * length,), -1)
        for number, (here, there, count) in enumerate(places):
            begin = number * width + there
            table[here : here + count] = torch.arange(begin, begin + count)
        say = self.teacher.says(batch)

        def moved(positions: Positions) -> RowLogits | Sparse:
            there = table[positions.cpu()]
            return say(there.to(positions.device))

        return moved
