"""Rows of stages: bins by numbers, stages by names, contexts that fade, rows of critics; every
border is refused or kept.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from finetune.recipes import critic, curriculum, fade
from finetune.recipes.curriculum import binned, named
from finetune.settings import TrainConfig
from finetune.students.load import Learnt
from synth.core.errors import WrongUse
from tests.conftest import write

NUMBERS = st.lists(
    st.one_of(st.integers(-3, 3), st.floats(-3, 3)), min_size=2, max_size=20
)


def config_of(data: Any, output: Any) -> TrainConfig:
    return TrainConfig(data=str(data), model="scratch:tiny", output=output)


@given(NUMBERS, st.integers(2, 6), st.booleans())
def test_equal_numbers_keep_their_order_within_and_over_bins(
    values, bins, descending
):
    data = [{"d": value, "n": n} for n, value in enumerate(values)]
    if bins > len(data):
        with pytest.raises(WrongUse, match=f"{bins} stages of"):
            binned(data, "d", bins)
        return
    found = binned(data, "d", bins, descending=descending)
    assert len(found) == bins
    assert all(found)
    flat = [row for stage in found for row in stage]
    for one, two in pairwise(flat):
        if one["d"] == two["d"]:
            assert one["n"] < two["n"]
        else:
            assert (one["d"] > two["d"]) == descending
    assert sorted(row["n"] for row in flat) == list(range(len(data)))


@pytest.mark.parametrize("value", [float("nan"), True, None, "3", [3], {}])
def test_a_difficulty_that_is_no_number_is_named_with_its_row(value):
    with pytest.raises(WrongUse, match="--by d") as caught:
        binned([{"d": 1}, {"d": value}, {"d": 2}], "d", 2)
    assert "in row 2" in str(caught.value)
    assert "--order" in str(caught.value)


@pytest.mark.parametrize("bins", [-1, 0, 1, 4])
def test_fewer_than_two_stages_or_more_than_rows_are_refused(bins):
    with pytest.raises(WrongUse, match=f"{bins} stages of 3 rows"):
        binned([{"d": n} for n in range(3)], "d", bins)


def test_infinite_difficulties_stand_at_the_ends():
    data = [{"d": float("inf")}, {"d": 0}, {"d": -float("inf")}, {"d": 1}]
    found = binned(data, "d", 4)
    assert [row["d"] for (row,) in found] == sorted(row["d"] for row in data)


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=20),
    st.permutations("abcd"),
)
def test_stages_by_name_stand_in_the_order_that_was_given(names, order):
    data = [{"meta": {"t": name}, "n": n} for n, name in enumerate(names)]
    if set(names) != set("abcd"):
        missing = next(name for name in order if name not in names)
        with pytest.raises(WrongUse, match=f"no row of {missing!r}"):
            named(data, "meta.t", order)
        return
    found = named(data, "meta.t", order)
    for name, stage in zip(order, found, strict=True):
        numbers = [n for n, other in enumerate(names) if other == name]
        assert [row["n"] for row in stage] == numbers


def test_one_name_is_no_order_and_the_names_that_there_are_are_shown():
    data = [{"t": "large"}, {"t": "small"}, {"t": 3}]
    with pytest.raises(WrongUse, match="The rows have: 3, large, small"):
        named(data, "t", ["large"])
    with pytest.raises(WrongUse, match="no row of 'none'"):
        named(data, "t.deeper", ["large", "none"][1:] * 2)


def test_a_column_of_stages_that_is_missing_is_said_before_any_training(
    tmp_path,
):
    path = write(tmp_path / "x.jsonl", [{"prompt": "a", "completion": "b"}])
    with pytest.raises(WrongUse, match="columns prompt, completion, level"):
        curriculum.run(config_of(path, tmp_path / "out"), by="level.deep")
    assert not (tmp_path / "out").exists()


SENTENCES = st.lists(
    st.text("abc ", min_size=1, max_size=9).filter(str.strip),
    min_size=1,
    max_size=8,
)


@given(
    SENTENCES,
    st.sampled_from([". ", "! ", "\n", "\u3002", "\u061f ", "\u0964 "]),
    st.floats(0, 1),
)
def test_as_many_sentences_are_left_as_the_share_says_rounded_up(
    sentences, end, share
):
    text = end.join(sentences) + end
    weights = fade.salience([text])
    left = list(filter(None, fade.faded(text, share, weights).split("\n")))
    wanted = share * len(sentences)
    assert wanted - 1e-6 <= len(left) < wanted + 1
    shown = [" ".join(part.split()) for part in left]
    all_shown = [
        " ".join(s.split()) for s in fade.faded(text, 1, {}).split("\n")
    ]
    # What is left stands in the order of the text.
    position = 0
    for part in shown:
        position = all_shown.index(part, position) + 1


@given(st.lists(st.sets(st.sampled_from("abcdef")), min_size=1, max_size=6))
def test_a_word_of_fewer_texts_weighs_more(texts):
    found = fade.salience([" ".join(sorted(words)) for words in texts])
    counts = Counter(word for words in texts for word in words)
    assert set(found) == set().union(*texts)
    for one in found:
        assert found[one] >= 1.0
        for two in found:
            assert (found[one] > found[two]) == (counts[one] < counts[two])


@given(st.integers(0, 9), st.floats(0, 1), st.integers(0, 5))
def test_examples_fade_with_the_context_and_none_stands_twice(
    count, share, seed
):
    row = {
        "context": "",
        "prompt": "What?",
        "completion": "12",
        "examples": [f"example {n}" for n in range(count)],
    }
    made = fade.staged(row, share, {}, random.Random(seed))
    *shown, prompt = made["prompt"].split("\n\n")
    assert prompt == "What?"
    assert len(shown) == int(share * count + 1e-9)
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(row["examples"])


@pytest.mark.parametrize("examples", ["one text", 3, {"a": "b"}])
def test_examples_that_are_no_list_are_refused_with_their_row(
    tmp_path, examples
):
    row = {"context": "c.", "prompt": "a", "completion": "b"}
    path = write(tmp_path / "x.jsonl", [{**row, "examples": examples}])
    with pytest.raises(WrongUse, match="row 1") as caught:
        fade.run(config_of(path, tmp_path / "out"))
    assert "a list of texts" in str(caught.value)


@pytest.mark.parametrize(
    "stages",
    [[], [1.0], [0.5, 1.0, 0.0], [2.0, 0.0], [-0.5, 0], [float("nan"), 0.0]],
)
def test_schedules_that_do_not_fall_to_nothing_are_shown(tmp_path, stages):
    with pytest.raises(WrongUse, match="--stages") as caught:
        fade.run(config_of("x", tmp_path), stages=stages)
    assert str(stages) in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ([True, False], [1, 0]),
        ([1, 0], [1, 0]),
        (["yes", "no"], [1, 0]),
        (["True", "false"], [1, 0]),
        (["accepted", "rejected"], [1, 0]),
        ([None, 0], [0]),
    ],
)
def test_a_critic_reads_labels_as_flags_numbers_and_words(
    tmp_path, labels, kept
):
    made = [
        {"q": f"q{n}", "r": "so", "a": None, "ok": label}
        for n, label in enumerate(labels)
    ]
    found = critic.table(
        str(write(tmp_path / "x.jsonl", made)), "q", "r,a", "ok", "q"
    )
    assert [row["labels"] for row in found] == kept
    assert all(row["second"] == "so" for row in found)


@pytest.mark.parametrize("label", ["maybe", 0.5, 7, ""])
def test_a_label_of_a_critic_that_says_neither_is_named(tmp_path, label):
    made = [{"q": "a", "ok": label}, {"q": "b", "ok": label}]
    path = write(tmp_path / "x.jsonl", made)
    with pytest.raises(WrongUse, match=r"x\.jsonl row 1 ok"):
        critic.table(str(path), "q", "q", "ok", "q")


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_whole_groups_are_held_out_and_where_rows_stand_plays_no_part(
    groups, share, draw
):
    train, held = critic.split(groups, share)
    assert sorted([*train, *held]) == list(range(len(groups)))
    inside = {groups[n] for n in held}
    assert inside.isdisjoint(groups[n] for n in train)
    assert len(inside) == round(share * len(set(groups)))
    moved = list(groups)
    draw.shuffle(moved)
    _, other = critic.split(moved, share)
    assert {moved[n] for n in other} == inside


def test_rows_of_stages_are_pairs_of_plain_json(tmp_path, monkeypatch):
    """Each stage's file holds its rows alone, and the last student is the output."""
    seen = []

    def trained(
        config: TrainConfig, data: Dataset, *, learnt: Learnt
    ) -> dict[str, Any]:
        text = Path(config.data).read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.split("\n") if line]
        assert data.to_list() == rows
        seen.append((config.model, config.output.name, config.lora, rows))
        config.output.mkdir(parents=True, exist_ok=True)
        info = {"loss": float(len(rows))}
        return {**info, **learnt(info)}

    monkeypatch.setattr(curriculum.sft, "fit", trained)
    data = [
        {"prompt": f"p{n}\u2028", "completion": "c", "d": n} for n in range(5)
    ]
    config = TrainConfig(
        data=str(write(tmp_path / "x.jsonl", data)),
        model="base",
        output=tmp_path / "out",
        lora={"r": 2},
    )
    info = curriculum.run(config, by="d", bins=3, cumulative=True)
    assert info["losses"] == [2.0, 3.0, 5.0]
    assert info["stages"] == [2, 3, 5]
    models = [model for model, _, _, _ in seen]
    folders = [name for _, name, _, _ in seen]
    assert folders == ["stage0", "stage1", "out"]
    assert models == [
        "base",
        str(tmp_path / "out" / "stage0"),
        str(tmp_path / "out" / "stage1"),
    ]
    assert [lora for _, _, lora, _ in seen] == [{"r": 2}, None, None]
    assert set(seen[-1][3][0]) == {"prompt", "completion"}
    assert seen[1][3][:2] == seen[0][3]
