"""Batches of one task each, drawn by how many rows a task has (BAM!, arXiv:1907.04829)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from transformers.trainer_pt_utils import BatchRebalanceSampler

if TYPE_CHECKING:
    from transformers import TrainingArguments

# A task of n rows is drawn as often as n to this power: 1 would drown the small ones (section 3.1).
POWER = 0.75


def task_shares(sizes: Sequence[int]) -> list[float]:
    """How likely a batch is of each task.

    Args:
        sizes: rows of each task.

    Example:
        >>> task_shares([16, 1])
        [0.8888888888888888, 0.1111111111111111]
    """
    weights = [size**POWER for size in sizes]
    return [weight / sum(weights) for weight in weights]


class TaskBatches(BatchRebalanceSampler):  # type: ignore[misc]
    """Batches of rows of one task, in another order each epoch, which follows from the seed and the
    number of the epoch. A task's rows come again once all of them have come. An epoch has as many
    batches as if each row came once.

    Several processes read rows of the same task at once. The trainer hands samplers of this parent
    on as they are.

    Args:
        sizes: rows of each task, which stand one task behind the other.
        batch: rows of a batch on one process.
        seed: of the order.
        processes: that share the batches.
        rank: of this one, from 0.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch: int,
        *,
        seed: int,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        self.sizes = list(sizes)
        self.batch = batch
        self.seed = seed
        self.processes = processes
        self.rank = rank
        self.epoch = 0
        wide = batch * processes
        self.count = sum(-(-size // wide) for size in sizes)

    @classmethod
    def of(cls, sizes: Sequence[int], args: TrainingArguments) -> TaskBatches:
        """Those of a training's own batch, seed and processes."""
        seed = args.data_seed
        return cls(
            sizes,
            args.train_batch_size,
            seed=args.seed if seed is None else seed,
            processes=args.world_size,
            rank=args.process_index,
        )

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        shares = torch.tensor(task_shares(self.sizes))
        starts = [sum(self.sizes[:n]) for n in range(len(self.sizes))]
        left: list[list[int]] = [[] for _ in self.sizes]
        for _ in range(self.count):
            task = int(torch.multinomial(shares, 1, generator=generator))
            rows: list[int] = []
            for _ in range(self.batch * self.processes):
                if not left[task]:
                    order = torch.randperm(
                        self.sizes[task], generator=generator
                    )
                    left[task] = (order + starts[task]).tolist()
                rows.append(left[task].pop())
            yield rows[self.rank :: self.processes]
