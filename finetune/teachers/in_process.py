"""Teachers whose probabilities can be seen: models in this process, or words that one wrote to disk
earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from finetune.core.tensors import (
    HiddenStates,
    Inputs,
    LabelLogProbs,
    Labels,
    Mask,
    PerSequence,
    Positions,
    RowLogits,
)
from finetune.data.tokens import IGNORED, vocabulary_digest
from finetune.kernels.features import Features, Show
from finetune.kernels.heads import Head
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.losses.base_crossing import LogitsAt
from finetune.losses.base_parts import Sparse, TeacherAt, whole
from finetune.students import load as student
from finetune.teachers.cache import Cache, Known, rows_of
from finetune.teachers.opened_settings import Opening
from finetune.teachers.selection import Selection
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_INPUTS = ("input_ids", "attention_mask", "position_ids")


class Teacher(Protocol):
    """Whoever gives probabilities to the tokens of a batch."""

    def says(self, inputs: Inputs) -> TeacherAt:
        """Its logits at places of the flat batch of shifted tokens."""


def frozen(
    model: PreTrainedModel, device: torch.device | str
) -> PreTrainedModel:
    """A model on a device, without gradients or dropout."""
    return model.to(device).eval().requires_grad_(False)


def opened(
    path: str, device: torch.device | str, opening: Opening
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A teacher's model without gradients or dropout, and its tokenizer.

    Args:
        path: folder or name of the hub.
        device: where it lives, unless it is told otherwise.
        opening: how it is opened.
    """
    options = opening.options(str(device))
    model, tokenizer = student.load_student(path, options)
    return settled(model, device, opening), tokenizer


def settled(
    model: PreTrainedModel, device: torch.device | str, opening: Opening
) -> PreTrainedModel:
    """A model that was opened so, where it teaches, without gradients or dropout."""
    if opening.placed:
        return model.eval().requires_grad_(False)
    return frozen(model, opening.device or device)


class ModelTeacher:
    """A model in this process, without gradients or dropout.

    Args:
        path: folder or name of the hub.
        tokenizer: the student's; the teacher's must be the same.
        device: where it lives, unless it is told otherwise.
        opening: how it is opened.
    """

    def __init__(
        self,
        path: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        device: torch.device | str,
        opening: Opening = Opening(),  # noqa: B008 - nobody changes it
    ) -> None:
        self.model, own = opened(path, device, opening)
        same_tokens(path, own, tokenizer)
        expose_hidden(self.model)
        self.size = len(tokenizer)

    def says(self, inputs: Inputs) -> LogitsAt:
        """Runs the body once; the head is applied tile by tile."""
        return logits_of(self.model, inputs, self.size)

    def shows(self, inputs: Inputs, show: Show) -> tuple[LogitsAt, Features]:
        """The same, with what it shows of its inside."""
        hidden, _, features = _reads(self.model, inputs, show=show)
        return _logits_at(hidden, self.head), features

    @property
    def head(self) -> Head:
        """Its head, cut to the tokenizer."""
        return head_of(self.model, self.size)


def batch_of(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]],
    pad: int,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Rows side by side, filled up at their ends, as `cache.rows_of` takes them apart; two columns
    where there are no rows.

    Args:
        rows: ids and labels of each.
        pad: the token that fills up; it is masked, so any serves.
        device: of the batch.
    """
    width = max((len(ids) for ids, _ in rows), default=2)
    filled: dict[str, list[list[int]]] = {
        "input_ids": [],
        "labels": [],
        "attention_mask": [],
    }
    for ids, labels in rows:
        missing = width - len(ids)
        mask = [1] * len(ids) + [0] * missing
        filled["input_ids"].append([*ids, *[pad] * missing])
        filled["labels"].append([*labels, *[IGNORED] * missing])
        filled["attention_mask"].append(mask)
    batch = {}
    for name, lists in filled.items():
        table = torch.tensor(lists, dtype=torch.long, device=device)
        batch[name] = table.reshape(-1, width)
    return batch


def logits_of(model: PreTrainedModel, inputs: Inputs, size: int) -> LogitsAt:
    """What a model with exposed hidden states says of a batch, cut to so many tokens; without
    gradients.
    """
    hidden = _reads(model, inputs)
    with torch.no_grad():
        head = head_of(model, size)
    return _logits_at(hidden, head)


def _reads(model: PreTrainedModel, inputs: Inputs, **options: object) -> Any:
    device = model.device
    given = {
        name: inputs[name].to(device)
        for name in _INPUTS
        if inputs.get(name) is not None
    }
    with torch.no_grad():
        return model(**given, hidden_only=True, **options)


def _logits_at(hidden: HiddenStates, head: Head) -> LogitsAt:
    """The head over shifted states, wherever it is asked for."""
    hidden = hidden[:, :-1]
    # A model that is cut over devices ends on another than it begins on.
    flat = hidden.reshape(-1, hidden.shape[-1]).to(head.weight.device)

    def say(positions: Positions) -> RowLogits:
        states = flat[positions.to(flat.device)]
        return head.logits(states).to(positions.device)

    return say


class CacheTeacher:
    """What `finetune teach` wrote.

    Args:
        folder: of the cache.
        tokenizer: the student's; the cache must be of the same.
    """

    def __init__(self, folder: str, tokenizer: PreTrainedTokenizerBase) -> None:
        self.cache = Cache(folder)
        if self.cache.about.tokenizer != vocabulary_digest(tokenizer):
            todo = (
                "Teach with this student's tokenizer, or distil into a student of the "
                "teacher's family."
            )
            raise WrongUse(
                f"--offline {folder}",
                "words in another tokenizer",
                "the student's",
                todo,
            )

    def says(self, inputs: Inputs) -> TeacherAt:
        """Looks each sequence of the batch up by its tokens."""
        rows = rows_of(inputs)
        known = [self.cache.read(ids, labels) for _, _, ids, labels in rows]
        return sparse_at(inputs, known)


def sparse_at(inputs: Inputs, known: Sequence[Known]) -> TeacherAt:
    """What is known of each sequence of a batch, as a teacher says it.

    Args:
        inputs: the batch.
        known: of each sequence that `rows_of` gives, in its order; entries of one number.
    """
    length = inputs["input_ids"].shape[1] - 1
    table = torch.full((len(inputs["input_ids"]) * length,), -1)
    ids = [torch.zeros(0, 1, dtype=torch.long)] if not known else []
    logs = [torch.zeros(0, 1)] if not known else []
    count = 0
    for entry, (row, start, _, labels) in zip(
        known, rows_of(inputs), strict=True
    ):
        learnt = (torch.tensor(labels[1:]) != IGNORED).nonzero()[:, 0]
        numbers = torch.arange(count, count + len(learnt))
        table[row * length + start + learnt] = numbers
        count += len(learnt)
        ids.append(torch.from_numpy(entry.ids))
        logs.append(torch.from_numpy(entry.logs))
    every = Sparse(torch.cat(ids), torch.cat(logs))

    def say(positions: Positions) -> Sparse:
        at = table[positions.cpu()]
        return Sparse(
            every.ids[at].to(positions.device),
            every.logs[at].to(positions.device),
        )

    return say


def weights_of(weights: Sequence[float], count: int) -> list[float]:
    """The weight of each of so many teachers, 0 or more; () are equal ones.

    Raises:
        WrongUse: another number of them, one below 0, or all 0.
    """
    made = list(weights or (1.0,) * count)
    if len(made) != count or min(made) < 0 or not sum(made) > 0:
        raise WrongUse(
            "--teacher-weights",
            f"{list(weights)}",
            f"{count} numbers from 0 on, not all 0",
            "One a teacher.",
        )
    return made


class SeveralTeachers:
    """One distribution of several teachers: the mean of their probabilities, with weights a row.

    Args:
        teachers: models.
        weigh: `fixed` takes `weights`; `agreement` gives each teacher, row by row, its likelihood
            of the row's labels as weight, so that who disagrees with what is learnt says less;
            `reinforced` draws teachers by a policy that learns (see `Selection`).
        weights: one a teacher, 0 or more.
    """

    def __init__(
        self,
        teachers: list[ModelTeacher],
        *,
        weigh: str = "fixed",
        weights: tuple[float, ...] = (),
    ) -> None:
        self.teachers = teachers
        self.weigh = weigh
        self.selection = (
            Selection(len(teachers)) if weigh == "reinforced" else None
        )
        self.weights = torch.tensor(weights_of(weights, len(teachers)))

    def says(self, inputs: Inputs) -> LogitsAt:
        """Ln of the weighted mean of their probabilities."""
        answers = [teacher.says(inputs) for teacher in self.teachers]
        rows = inputs["labels"].shape[0]
        length = inputs["labels"].shape[1] - 1
        shares = self._shares(answers, inputs["labels"][:, 1:], rows).to(
            inputs["labels"].device
        )

        def mean(positions: Positions) -> RowLogits:
            logs = torch.stack(
                [whole(say(positions)).log_softmax(dim=-1) for say in answers]
            )
            return (logs + shares[positions // length].T[:, :, None]).logsumexp(
                dim=0
            )

        return mean

    def learn(self, loss: float) -> None:
        """Tells what came of the last batch: the student's mean loss."""
        if self.selection is not None:
            self.selection.learn(-loss)

    def _shares(
        self, teachers: list[LogitsAt], labels: Labels, rows: int
    ) -> Tensor:
        """[rows, teachers] ln of each teacher's share in each row, up to a constant of the row."""
        fixed = self.weights.log().to(labels.device)
        if self.weigh == "fixed":
            return fixed.expand(rows, -1)
        mask = labels != IGNORED
        tables = [label_losses(say, labels) for say in teachers]
        losses = torch.stack(
            [
                (table * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
                for table in tables
            ],
            dim=1,
        )
        if self.selection is None:
            return fixed - losses
        spread = torch.stack([_spread(table, mask) for table in tables], dim=1)
        return fixed + self.selection.choose(losses, spread).log().to(
            labels.device
        )


def _spread(table: LabelLogProbs, mask: Mask) -> PerSequence:
    """[B] standard deviation of the losses of each row's labels; 0 where it has one label or none.
    What fills up a row plays no part.
    """
    counts = mask.sum(dim=1)
    mean = (table * mask).sum(dim=1) / counts.clamp(min=1)
    squares = ((table - mean[:, None]).square() * mask).sum(dim=1)
    return (squares / (counts - 1).clamp(min=1)).sqrt()


def label_losses(
    say: TeacherAt, labels: Labels, rows: int = 64
) -> LabelLogProbs:
    """[B, T] negative log-likelihood that a teacher gives to each label, 0 where there is none; a
    tile at a time.
    """
    flat = labels.reshape(-1)
    losses = torch.zeros(flat.shape, dtype=torch.float32, device=labels.device)
    counted = (flat != IGNORED).nonzero()[:, 0]
    for part in torch.split(counted, rows):
        logs = whole(say(part)).log_softmax(dim=-1)
        losses[part] = -logs.gather(1, flat[part][:, None])[:, 0].float()
    return losses.reshape(labels.shape)


# What to do about other tokens: decoders have losses that need none in common.
_ACROSS = (
    "Use --loss uld or --loss hybrid, which align the two texts by their bytes."
)
SAME_TOKENS = "Take models of the same tokenizer."


def same_tokens(
    path: str,
    own: PreTrainedTokenizerBase,
    tokenizer: PreTrainedTokenizerBase,
    where: str = "--teacher",
    todo: str = _ACROSS,
) -> None:
    """Refuses a teacher of another tokenizer; names that pad a vocabulary do not matter, since both
    heads are cut to the tokenizer.

    Args:
        path: of the teacher.
        own: its tokenizer.
        tokenizer: the student's.
        where: what named it.
        todo: instead; of decoders the losses that need no common tokens.

    Raises:
        WrongUse: the tokens differ.
    """
    if vocabulary_digest(own) == vocabulary_digest(tokenizer):
        return
    raise WrongUse(
        f"{where} {path}",
        f"a tokenizer of {len(own):,} other tokens",
        f"the student's {len(tokenizer):,}",
        todo,
    )
