"""Batches of as many rows as a budget of tokens holds: few long ones, or many short ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainingArguments
from transformers.trainer_pt_utils import BatchRebalanceSampler
from trl import SFTTrainer

from synth.core.errors import WrongUse


def cut_by_tokens(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Places of rows, batch by batch; a batch is padded to its longest row.

    Args:
        lengths: tokens of each row.
        most: tokens of a batch, padding included.

    Returns:
        Batches from short rows to long ones; rows of one length stay in their order.

    Raises:
        WrongUse: a row that is longer than a batch.

    Example:
        >>> cut_by_tokens([2, 5, 3, 2, 6], most=9)
        [[0, 3, 2], [1], [4]]
    """
    longest = max(lengths)
    if longest > most:
        raise WrongUse(
            f"--tokens-per-batch {most}",
            f"a row of {longest} tokens",
            "a batch that holds one row at least",
            "Raise it, or lower --max-length.",
        )
    batches: list[list[int]] = []
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    for row in by_length:
        # Rows come in the order of their lengths: this one is the longest so far.
        width = lengths[row]
        if batches and width * (len(batches[-1]) + 1) <= most:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


class TokenBatches(BatchRebalanceSampler):  # type: ignore[misc]
    """Batches within a budget, in another order each epoch; it follows from the seed and the
    number of the epoch, so that a resumed training meets the batches that it would have met.

    Rows of one length change places from epoch to epoch. Where batches end depends on lengths
    alone: each epoch has as many. Of several processes each takes every other batch; the first ones
    come again where they do not come out even. The trainer hands samplers of this parent on as
    they are.

    Args:
        lengths: tokens of each row.
        most: tokens of a batch.
        seed: of the order.
        processes: that share the batches.
        rank: of this one, from 0.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        most: int,
        *,
        seed: int,
        processes: int = 1,
        rank: int = 0,
    ) -> None:
        self.lengths = list(lengths)
        self.most = most
        self.seed = seed
        self.processes = processes
        self.rank = rank
        self.epoch = 0
        count = len(cut_by_tokens(self.lengths, most))
        self.count = -(-count // processes)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        drawn = [self.lengths[row] for row in order]
        batches = cut_by_tokens(drawn, self.most)
        turns = torch.randperm(len(batches), generator=generator).tolist()
        for turn in range(self.count):
            place = turn * self.processes + self.rank
            batch = batches[turns[place % len(turns)]]
            yield [order[row] for row in batch]


class BatchesByTokens:
    """Of a trainer with rows of `input_ids`: its batches hold so many tokens, if a budget is given.

    Attributes:
        tokens_per_batch: padding included; None for batches of so many rows.
    """

    tokens_per_batch: int | None = None
    args: TrainingArguments

    def _get_train_sampler(
        self, train_dataset: Dataset | None = None
    ) -> torch.utils.data.Sampler[Any] | None:
        if self.tokens_per_batch is None:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc, no-any-return]
        rows = vars(self)["train_dataset"]
        seed = self.args.data_seed
        return TokenBatches(
            [len(ids) for ids in rows["input_ids"]],
            self.tokens_per_batch,
            seed=self.args.seed if seed is None else seed,
            processes=self.args.world_size,
            rank=self.args.process_index,
        )


class TokenBatchTrainer(BatchesByTokens, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with a budget of tokens.

    Args:
        tokens_per_batch: of each batch on each process.
    """

    def __init__(self, *, tokens_per_batch: int, **options: object) -> None:
        super().__init__(**options)
        self.tokens_per_batch = tokens_per_batch
