"""A teacher of another tokenizer: it reads the student's rows as text, and tokens of both are
aligned by the characters behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from finetune.data.tokens import IGNORED
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.losses.base_crossing import Group, align
from finetune.students import load as student
from finetune.teachers.cache import rows_of
from finetune.teachers.in_process import Says, frozen


class Across(NamedTuple):
    """What a teacher says about a batch in its own tokens.

    Attributes:
        say: flat places of its shifted tokens -> [n, W] logits.
        length: its shifted tokens a sequence.
        labels: [sequences, length] its tokens.
        groups: of each sequence of the batch, places in the student's and in its own shifted
            tokens.
        rows: the row of the batch that each sequence stands in.
    """

    say: Says
    length: int
    labels: Any
    groups: list[list[Group]]
    rows: list[int]


def _shifted(tokens: range, first: int) -> list[int]:
    """The places that predict these tokens, whose first one has the number `first`."""
    return [first + token - 1 for token in tokens]


class AcrossTeacher:
    """A model in this process with a tokenizer of its own.

    Args:
        path: folder or name of the hub.
        tokenizer: the student's.
        device: where it lives.
        dtype: of its weights; None for what its files hold.
    """

    def __init__(
        self,
        path: str,
        tokenizer: Any,
        *,
        device: Any,
        dtype: str | None = None,
    ) -> None:
        self.model, self.own = student.load_student(path)
        self.tokenizer = tokenizer
        self.model = frozen(self.model, device, dtype)
        expose_hidden(self.model)
        self.head = head_of(self.model, len(self.own))

    def crosses(self, inputs: Mapping[str, Any]) -> Across:
        """Tokenises the rows' texts, runs the body once, aligns."""
        parts = [
            self._sequence(ids, labels) for _, _, ids, labels in rows_of(inputs)
        ]
        places = [(row, start) for row, start, _, _ in rows_of(inputs)]
        width = max((len(ids) for ids, *_ in parts), default=2)
        pad = self.own.pad_token_id
        ids = torch.tensor(
            [row + [pad] * (width - len(row)) for row, *_ in parts],
            device=self.model.device,
        )
        mask = torch.tensor(
            [[1] * len(row) + [0] * (width - len(row)) for row, *_ in parts],
            device=self.model.device,
        )
        with torch.no_grad():
            hidden = self.model(
                input_ids=ids, attention_mask=mask, hidden_only=True
            )[:, :-1]
        flat = hidden.reshape(-1, hidden.shape[-1])
        home = inputs["input_ids"].device
        # Token n is predicted by place n - 1; the student's places begin where its sequence stands
        # in the batch.
        groups: list[list[Group]] = []
        for (_, start), (_, ours, theirs, aligned) in zip(
            places, parts, strict=True
        ):
            groups.append(
                [
                    (_shifted(own, start + ours), _shifted(other, theirs))
                    for own, other in aligned
                ]
            )
        return Across(
            lambda at: self.head.logits(flat[at.to(flat.device)]).to(at.device),
            width - 1,
            ids[:, 1:].to(home),
            groups,
            [row for row, _ in places],
        )

    def _sequence(
        self, ids: Sequence[int], labels: Sequence[int]
    ) -> tuple[list[int], int, int, list[tuple[range, range]]]:
        """(the teacher's ids, first learnt token of the student, of the teacher, groups of learnt
        tokens).
        """
        first = next(
            n for n, label in enumerate(labels) if n and label != IGNORED
        )
        end = self.tokenizer.eos_token_id
        ended = ids[-1] == end
        said = list(ids[first : len(ids) - ended])
        before, text = (
            self.tokenizer.decode(part, skip_special_tokens=True)
            for part in (ids[:first], said)
        )
        prompt = list(self.own(before)["input_ids"]) or [
            self.own.bos_token_id or self.own.eos_token_id
        ]
        if prompt[-1] == self.own.eos_token_id and len(prompt) > 1:
            prompt.pop()
        found = self.own(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        theirs = list(found["input_ids"])
        groups = align(
            ends_of(self.tokenizer, said, text),
            [stop for _, stop in found["offset_mapping"]],
        )
        if ended and self.own.eos_token_id is not None:
            groups.append(
                (
                    range(len(said), len(said) + 1),
                    range(len(theirs), len(theirs) + 1),
                )
            )
            theirs.append(self.own.eos_token_id)
        return [*prompt, *theirs], first, len(prompt), groups


def ends_of(tokenizer: Any, ids: Sequence[int], text: str) -> list[int]:
    """How many characters of the text stand before the end of each token.

    By the tokenizer's own offsets where it spells the text with these very tokens; else (a sampled
    text may be spelt otherwise) by decoding ever longer beginnings.
    """
    if not ids:
        return []
    found = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True
    )
    if list(found["input_ids"]) == list(ids):
        return [stop for _, stop in found["offset_mapping"]]
    lengths = [
        len(tokenizer.decode(ids[: n + 1], skip_special_tokens=True))
        for n in range(len(ids))
    ]
    return [min(max(lengths[: n + 1]), len(text)) for n in range(len(ids))]
