"""Bundles of rows for weighted trainings, lists for retrievers, settings of distillation: made
by hand and compared.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.query_lists import Listed
from finetune.data.teacher_prompts import TeacherPrompt
from finetune.objectives.objectives import Batch
from finetune.objectives.weighting import bundles, read_coefficients, wholes
from finetune.teachers.opened_settings import Opening
from finetune.trainers.distill_settings import DistillConfig, unused
from finetune.trainers.on_policy_settings import OnPolicy
from synth.core.errors import WrongUse

ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(-2, 2)),
    min_size=1,
    max_size=12,
)


def tokens_of(number: int) -> dict[str, list[int]]:
    return {
        "input_ids": [number, number + 1, number + 2],
        "labels": [-100, number + 1, number + 2],
    }


def facts_of(rows: Any) -> dict[str, list[Any]]:
    return {
        "ids": [item for item, _, _ in rows],
        "task_numbers": [task for _, task, _ in rows],
        "weights": [weight for _, _, weight in rows],
    }


@given(ROWS, st.booleans())
def test_each_row_stands_in_one_bundle_of_its_item(rows, whole):
    from finetune.trainers.weighted import bundled

    made = bundled(
        [tokens_of(n) for n in range(len(rows))], facts_of(rows), whole=whole
    )
    seen = []
    for bundle in made:
        numbers = [row["input_ids"][0] for row in bundle["rows"]]
        seen += numbers
        items = {rows[n][0] for n in numbers}
        assert len(items) == 1
        tasks = [row["task_number"] for row in bundle["rows"]]
        assert tasks == [rows[n][1] for n in numbers]
        assert [row["weight"] for row in bundle["rows"]] == [
            rows[n][2] for n in numbers
        ]
        if not whole:
            assert len(set(tasks)) == len(tasks)
    assert sorted(seen) == list(range(len(rows)))
    counts = Counter(item for item, _, _ in rows)
    if whole:
        assert len(made) == len(counts)
    else:
        # No fewer bundles would do: of a task that an item has n times come n.
        pairs = Counter((item, task) for item, task, _ in rows)
        least: dict[str, int] = {}
        for (item, _), count in pairs.items():
            least[item] = max(count, least.get(item, 0))
        assert len(made) >= sum(least.values())


@given(ROWS)
def test_a_batch_of_bundles_is_flat_and_knows_whose_row_is_whose(rows):
    from finetune.trainers.weighted import _Collator, bundled

    made = bundled(
        [tokens_of(n) for n in range(len(rows))], facts_of(rows), whole=True
    )

    def stacked(examples: list[dict[str, list[int]]]) -> dict[str, Any]:
        assert all(set(row) == {"input_ids", "labels"} for row in examples)
        return {
            "input_ids": torch.tensor([row["input_ids"] for row in examples]),
            "labels": torch.tensor([row["labels"] for row in examples]),
        }

    batch = _Collator(stacked)(list(made))
    order = batch["input_ids"][:, 0].tolist()
    assert sorted(order) == list(range(len(rows)))
    assert batch["weights"].tolist() == [rows[n][2] for n in order]
    assert batch["tasks"].tolist() == [rows[n][1] for n in order]
    items = batch["items"].tolist()
    names = {number: rows[n][0] for number, n in zip(items, order, strict=True)}
    assert len(set(names.values())) == len(names)
    for number, n in zip(items, order, strict=True):
        assert names[number] == rows[n][0]
    assert batch["weights"].dtype == torch.float32


@given(ROWS)
def test_bundles_of_one_task_are_single_and_wholes_keep_first_places(rows):
    ids = [item for item, _, _ in rows]
    single = bundles(ids, [0] * len(ids))
    assert single == [[n] for n in range(len(ids))]
    groups = wholes(ids)
    assert [group[0] for group in groups] == sorted(
        ids.index(item) for item in set(ids)
    )
    for group in groups:
        assert group == sorted(group)


def test_the_loss_of_a_row_is_the_mean_over_the_tokens_that_count():
    logs = torch.tensor([[-1.0, -3.0, 0.0], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    zeros = torch.zeros(2)
    batch = Batch(
        log_probs=logs, mask=mask, weights=zeros, tasks=zeros, items=zeros
    )
    assert batch.losses.tolist() == [2.0, 0.0]


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, unique=True),
    st.dictionaries(st.sampled_from("abcde"), st.integers(-2, 3)),
)
def test_coefficients_are_those_given_or_equal_shares_or_refused(tasks, given_):
    unknown = [name for name in given_ if name not in tasks]
    missing = [task for task in tasks if task not in given_]
    if unknown or (given_ and missing):
        with pytest.raises(WrongUse, match="--coefficients") as caught:
            read_coefficients(given_, tasks)
        assert repr((unknown or missing)[0]) in str(caught.value)
        return
    found = read_coefficients(given_, tasks)
    if given_:
        assert found == [given_[task] for task in tasks]
    else:
        assert found == [pytest.approx(1 / len(tasks))] * len(tasks)


@given(
    st.floats(0, 1),
    st.sampled_from(["constant", "decreasing", "increasing"]),
    st.integers(0, 99),
)
def test_kinds_of_steps_agree_between_processes_and_keep_to_the_share(
    share, schedule, seed
):
    plain = OnPolicy(share=share, schedule=schedule)
    kept = OnPolicy(share=share, schedule=schedule, replay=3)
    every = range(40)
    one = [plain.kind(seed, step, 40) for step in every]
    assert one == [plain.kind(seed, step, 40) for step in every]
    two = [kept.kind(seed, step, 40) for step in every]
    for without, with_replay in zip(one, two, strict=True):
        assert without in ("write", "rows")
        # Texts that are kept take the place of rows and never that of writing.
        assert (without == "write") == (with_replay == "write")
    if share == 0:
        assert set(two) == {"rows"}
    if share == 1:
        assert "rows" not in two
    if schedule == "constant":
        assert two == one
        more = OnPolicy(share=min(1.0, share + 0.2))
        for before, after in zip(
            one, (more.kind(seed, step, 40) for step in every), strict=True
        ):
            assert before == "rows" or after == "write"


def test_a_schedule_begins_or_ends_at_nothing():
    falling = OnPolicy(share=1.0, schedule="decreasing")
    rising = OnPolicy(share=1.0, schedule="increasing")
    for seed in range(20):
        assert falling.kind(seed, 10, 10) == "rows"
        assert rising.kind(seed, 0, 10) == "rows"
        assert falling.kind(seed, 0, 10) == "write"
        assert falling.kind(seed, 0, 0) == "write"


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (DistillConfig(teachers=("t",)), []),
        (
            DistillConfig(
                teachers=("t",), on_policy=OnPolicy(replay=2, correct=True)
            ),
            ["--replay 2", "--correct True"],
        ),
        (
            DistillConfig(
                teachers=("t",), on_policy=OnPolicy(schedule="increasing")
            ),
            ["--schedule increasing"],
        ),
        (
            DistillConfig(
                teachers=("t",), on_policy=OnPolicy(share=0.5, replay=2)
            ),
            [],
        ),
        (
            DistillConfig(teachers=("t",), weights=(1.0,), weigh="agreement"),
            ["--teacher-weights", "--weigh agreement"],
        ),
        (
            DistillConfig(
                teachers=("t", "u"), weights=(1.0, 2.0), weigh="reinforced"
            ),
            [],
        ),
        (
            DistillConfig(
                offline="d", opening=Opening(dtype="bfloat16", device="cpu")
            ),
            ["--teacher-dtype bfloat16", "--teacher-device cpu"],
        ),
        (DistillConfig(teachers=("t",), opening=Opening(dtype="bfloat16")), []),
        (
            DistillConfig(
                opening=Opening(dtype="bfloat16"),
                prompt=TeacherPrompt(user="x"),
            ),
            ["--teacher-prompt", "--teacher-dtype bfloat16"],
        ),
    ],
)
def test_settings_that_would_change_nothing_are_found(config, flags):
    assert [flag for flag, _, _ in unused(config)] == flags


TEXTS = st.lists(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    min_size=1,
    max_size=4,
    unique=True,
)


@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(1, 4))
def test_tables_of_lists_are_filled_up_and_equal_texts_have_equal_keys(
    lists, width
):
    from finetune.trainers.list_module import ListModule

    listed = []
    for number, texts in enumerate(lists):
        scores = tuple(map(float, range(len(texts), 0, -1)))
        group = ("even", "odd")[number % 2]
        listed.append(Listed(f"q{number}", tuple(texts), scores, group))
    module = ListModule(
        torch.nn.Identity(), lambda batch: batch, listed, width=width, scale=5.0
    )
    for row, texts in enumerate(lists):
        shown = texts[:width]
        missing = width - len(shown)
        assert module.mask[row].tolist() == [True] * len(shown) + (
            [False] * missing
        )
        assert module.targets[row].tolist() == [
            *listed[row].scores[:width],
            *[0.0] * missing,
        ]
        assert module.keys[row, len(shown) :].tolist() == [-1] * missing
    for row, texts in enumerate(lists):
        for other, others in enumerate(lists):
            for n, text in enumerate(texts[:width]):
                for m, another in enumerate(others[:width]):
                    same = module.keys[row, n] == module.keys[other, m]
                    assert bool(same) == (text == another)
            grouped = module.groups[row] == module.groups[other]
            assert bool(grouped) == (row % 2 == other % 2)
    bare = [Listed("q", ("a",)), *listed]
    plain = ListModule(
        torch.nn.Identity(), lambda batch: batch, bare, width=width, scale=1.0
    )
    assert plain.targets is None
    assert plain.groups is None
