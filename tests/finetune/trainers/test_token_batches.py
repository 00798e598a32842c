"""Batches within a budget of tokens hold every row once, in an order that seed and epoch give, and weigh every token alike."""

from __future__ import annotations

import json
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.trainers.token_batches import TokenBatches, cut_by_tokens
from synth.core.errors import WrongUse
from tests import tiny
from tests.conftest import write
from tests.finetune.test_train import finetune

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=40)
MOST = st.integers(9, 40)


@given(LENGTHS, MOST)
def test_each_row_comes_once_and_padding_counts(lengths, most):
    batches = cut_by_tokens(lengths, most)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    sizes = [
        max(lengths[row] for row in batch) * len(batch) for batch in batches
    ]
    assert max(sizes) <= most
    # The next batch would not have gone into this one.
    for batch, following in pairwise(batches):
        assert lengths[following[0]] * (len(batch) + 1) > most


@given(LENGTHS, MOST, st.integers(0, 3), st.integers(1, 3))
def test_seed_and_epoch_give_the_order(lengths, most, epoch, processes):
    def batches(rank, at):
        sampler = TokenBatches(
            lengths, most, seed=5, processes=processes, rank=rank
        )
        sampler.set_epoch(at)
        found = list(sampler)
        assert len(found) == len(sampler)
        return found

    mine = [batches(rank, epoch) for rank in range(processes)]
    assert mine == [batches(rank, epoch) for rank in range(processes)]
    assert len(set(map(len, mine))) == 1
    rows = [row for part in mine for batch in part for row in batch]
    assert set(rows) == set(range(len(lengths)))
    if processes == 1:
        assert len(rows) == len(lengths)
    # Each epoch has as many batches.
    assert len(batches(0, epoch + 1)) == len(mine[0])


def test_epochs_differ():
    sampler = TokenBatches([3] * 30, 9, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_a_row_longer_than_a_batch_is_refused():
    with pytest.raises(WrongUse, match="a row of 5 tokens"):
        cut_by_tokens([2, 5], 4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Rows of very different lengths."""
    rows = [
        {"prompt": f"What is {n} ?\n", "completion": "it is a " * n + "red pen"}
        for n in range(1, 9)
    ]
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows)


def loss_of(data, out, command, *more):
    """The loss of one step over all rows that learns nothing."""
    words = ["--teacher", tiny.other()] if command == "distill" else []
    code, said = finetune(
        command,
        *("--data", data, "--model", tiny.causal(), "--output", out, *words),
        *("--learning-rate", 0, "--max-steps", 1, "--disable-tqdm"),
        *("--logging-strategy", "no", *more),
    )
    assert code == 0, said
    return json.loads((out / "train.json").read_text())["loss"]


@pytest.mark.parametrize("command", ["sft", "distill"])
def test_every_token_counts_alike_whatever_the_batches(data, tmp_path, command):
    whole = loss_of(data, tmp_path, command)
    accumulated = ("--gradient-accumulation-steps", 32)
    for more in (
        ["--tokens-per-batch", 64, *accumulated],
        ["--tokens-per-batch", 64, *accumulated, "--padding-free"],
        ["--padding-free"],
        ["--gradient-checkpointing"],
    ):
        found = loss_of(data, tmp_path, command, *more)
        assert found == pytest.approx(whole, rel=1e-4), more


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sft", "--packing"], "with --packing"),
        (["sft", "--per-device-train-batch-size", "4"], "one way to make"),
        (["sft", "--model", "scratch:t5-tiny"], "an encoder-decoder"),
        (["distill", "--task", "mlm", "--teacher", "t"], "an encoder"),
        (["distill", "--teacher", tiny.other(), "--padding-free", "--on-policy", "1"], "rows one by one"),
        (["distill", "--teacher", tiny.other(), "--padding-free", "--loss", "tsld"], "rows one by one"),
    ],
)  # fmt: skip
def test_what_goes_with_no_budget_or_no_padding_is_refused(
    data, tmp_path, words, says
):
    code, said = finetune(
        words[0],
        *("--data", data, "--model", tiny.causal(), "--output", tmp_path),
        *("--tokens-per-batch", 64, *words[1:]),
    )
    assert code == 2, said
    assert says in said
