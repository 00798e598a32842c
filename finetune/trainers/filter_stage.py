"""TED's first stage: filters of the teacher's layers learn what matters for the task."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader

from finetune.core.tensors import Inputs, Scalar
from finetune.kernels.features import Show
from finetune.kernels.hidden_states import normed
from finetune.losses.ted import Ted
from finetune.students.finite import check_loss
from finetune.teachers.in_process import ModelTeacher
from finetune.trainers.batch_losses import likelihood_of
from finetune.trainers.comparisons import Comparison
from synth.cli.command_group import say

if TYPE_CHECKING:
    from transformers import Trainer


def train_filters(
    loss: Ted,
    comparison: Comparison,
    teacher: ModelTeacher,
    batches: Iterable[Inputs],
) -> None:
    """Trains the teacher's filters on the labels, and holds them fixed again.

    A filter's states go through the teacher's own final norm and head. The paper
    (arXiv:2210.01351, section 3.1) gives each filter a head of its own, which is thrown away
    behind this stage; with the teacher's own a filter begins where the layer stands.

    Args:
        loss: how many steps, and how large.
        comparison: with the filters, and the layers that they stand on.
        teacher: whose states they read.
        batches: of rows, as often as they are needed.
    """
    filters = comparison.filters
    filters.requires_grad_(True)
    optimizer = torch.optim.Adam(filters.parameters(), loss.filter_rate)
    ends: list[float] = []
    for batch in islice(
        chain.from_iterable(repeat(batches)), loss.filter_steps
    ):
        with torch.enable_grad():
            value = _likelihood(comparison, teacher, batch)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        ends.append(float(value.detach()))
        check_loss(ends[-1], len(ends))
    filters.requires_grad_(False)
    if ends:
        say(
            f"ted: filters of the teacher, {len(ends):,} steps, cross-entropy {ends[0]:.4f} -> "
            f"{ends[-1]:.4f}",
            err=True,
        )


def _likelihood(
    comparison: Comparison, teacher: ModelTeacher, batch: Inputs
) -> Scalar:
    """The mean over the layers of the cross-entropy behind their filters."""
    _, features = teacher.shows(batch, Show(states=True))
    labels = batch["labels"][:, 1:].to(teacher.model.device)
    values = []
    pairs = zip(comparison.filters, comparison.layers.teacher, strict=True)
    for project, layer in pairs:
        states = project(features.states[layer])
        if layer < len(features.states) - 1:
            states = normed(teacher.model, states)
        values.append(likelihood_of(states[:, :-1], teacher.head, labels))
    return torch.stack(values).mean()


def train_all_filters(
    trainer: Trainer, comparisons: Iterable[Comparison], teacher: object
) -> None:
    """The stage of each loss that has filters; all processes train on the same batches, and so to
    the same filters.

    Args:
        trainer: with the rows.
        comparisons: of its losses.
        teacher: whose layers are read; one that shows none is not asked.
    """
    args = trainer.args
    for one in comparisons:
        if isinstance(one.loss, Ted) and isinstance(teacher, ModelTeacher):
            batches = DataLoader(
                trainer.train_dataset,
                batch_size=args.per_device_train_batch_size,
                shuffle=True,
                collate_fn=trainer.data_collator,
                generator=torch.Generator().manual_seed(args.seed),
            )
            train_filters(one.loss, one, teacher, batches)
