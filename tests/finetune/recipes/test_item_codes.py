"""Items as codes, by the command: those that are chosen together have signs in common, and a student
learns which one comes next.
"""

from __future__ import annotations

import json

import pytest

from finetune.recipes.item_codes import common_signs, prompt, written
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_retriever import finetune

# Four kinds of words, and four groups of items that are chosen together: each group has items of
# every kind, so that the texts do not tell what is chosen.
KINDS = ("red pen ink", "old house wall", "tall tree leaf", "small dog bark")
GROUPS = 4
ITEMS = 24


def items():
    # Items beside each other in a history, n and n + 4, are of other kinds.
    kinds = [KINDS[n // GROUPS % 4] for n in range(ITEMS)]
    return [
        {"item": f"i{n}", "text": f"{kind} w{n}"}
        for n, kind in enumerate(kinds)
    ]


def histories():
    """Each user walks round a group's items in their order, five of six."""
    made = []
    for group in range(GROUPS):
        own = [n for n in range(ITEMS) if n % GROUPS == group]
        for start in range(len(own)):
            walked = own[start:] + own[:start]
            made.append({"items": [f"i{n}" for n in walked[:5]]})
    return made


def item_codes(folder, *more, users=None, things=None):
    data = write(folder / "users.jsonl", users or histories())
    listed = write(folder / "things.jsonl", things or items())
    return finetune(
        *("item-codes", "--input", data, "--items", listed),
        *("--model", "hashing", "--output", folder / "codes"),
        *("--width", 16, "--levels", 2, "--size", 4, *more),
    )


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    code, said = item_codes(folder)
    assert code == 0, said
    assert "24 items" in said
    return folder / "codes"


def test_items_that_are_chosen_together_have_signs_in_common(made, tmp_path):
    found = json.loads((made / "evaluation.json").read_text())
    print(found)  # noqa: T201 - shown where the test fails
    common = found["common"]
    assert common["together"] > common["all"]
    # Without the texts they have more, with texts that weigh a lot fewer.
    measured = {}
    for name, weight in (("choices", "0"), ("texts", "20")):
        (tmp_path / name).mkdir()
        code, said = item_codes(
            tmp_path / name, "--semantic", weight, "--align", "0"
        )
        assert code == 0, said
        path = tmp_path / name / "codes" / "evaluation.json"
        measured[name] = json.loads(path.read_text())
        print(name, measured[name])  # noqa: T201
    assert measured["choices"]["common"]["together"] > 1
    alone = measured["texts"]["common"]
    assert alone["together"] < alone["all"] < common["together"]
    kept = measured["choices"]["kept"], measured["texts"]["kept"]
    assert kept[0]["collaborative"] > kept[0]["semantic"] + 0.3
    assert kept[1]["semantic"] > kept[1]["collaborative"] + 0.3
    # Together neither side is lost.
    assert min(found["kept"].values()) > 0.2


def test_rows_are_histories_and_what_comes_next(made):
    listed = rows(made / "items.jsonl")
    assert [row["item"] for row in listed] == [f"i{n}" for n in range(ITEMS)]
    codes = [row["code"] for row in listed]
    assert len({*codes}) == ITEMS
    learnt, held_out = rows(made / "rows.jsonl"), rows(made / "held_out.jsonl")
    # Of five items the last is held out, and the first has nothing before it.
    assert (len(learnt), len(held_out)) == (24 * 3, 24)
    first = [0, 4, 8, 12, 16]
    assert learnt[0] == {
        "prompt": prompt(first[:1], codes),
        "completion": f" {codes[4]}",
    }
    assert held_out[0] == {
        "prompt": prompt(first[:4], codes),
        "target": codes[16],
    }


def test_a_student_learns_the_code_that_comes_next(made, tmp_path):
    student = tmp_path / "student"
    code, said = finetune(
        *("sft", "--input", made / "rows.jsonl", "--model", "scratch:tiny"),
        *("--output", student, "--max-steps", 150, "--disable-tqdm"),
        *("--learning-rate", "5e-3", "--per-device-train-batch-size", 16),
    )
    assert code == 0, said
    code, said = finetune(
        *("evaluate", "--input", made / "held_out.jsonl", "--model", student),
        *("--parser", "whole:into=answer", "--max-new-tokens", 8),
        *("--output", tmp_path / "measured"),
    )
    assert code == 0, said
    found = json.loads((tmp_path / "measured" / "evaluation.json").read_text())
    print(found)  # noqa: T201
    # One of 24 by chance.
    assert found["exact_match"]["share"] > 0.5


def test_only_the_latest_items_are_read(tmp_path):
    code, said = item_codes(tmp_path, "--most", 2, "--epochs", 1)
    assert code == 0, said
    for name in ("rows", "held_out"):
        for row in rows(tmp_path / "codes" / f"{name}.jsonl"):
            assert row["prompt"].count(";") <= 1


def test_the_same_seed_makes_the_same_codes(tmp_path):
    texts = []
    for _ in range(2):
        code, said = item_codes(tmp_path, "--epochs", 2)
        assert code == 0, said
        texts.append((tmp_path / "codes" / "items.jsonl").read_text())
    assert texts[0] == texts[1]


def test_codes_that_all_differ_need_no_sign_more():
    assert written([[0, 1], [1, 1]]) == ["a0 b1", "a1 b1"]
    assert written([[3], [3]]) == ["a3 z0", "a3 z1"]


def test_signs_in_common_are_those_from_the_first_on():
    codes = [[0, 0], [0, 1], [1, 1]]
    found = common_signs(codes, [[0, 1, 1, 2]])
    # (0, 1) have one, (1, 2) none, (0, 2) none; an item beside itself is no pair.
    assert found == {"together": 0.5, "all": 0.3333}


@pytest.mark.parametrize(
    ("users", "things", "says"),
    [
        ([{"items": ["i0"]}], None, "a list of 2 items or more"),
        ([{"items": "i0 i1"}], None, "a list of 2 items or more"),
        ([{"items": ["i0", "x"]}], None, "'x', which --items lacks"),
        ([{"user": "u"}], None, "columns items"),
        (None, [{"item": "i0", "text": "a"}] * 2, "for the second time"),
        (None, [{"item": "i0", "text": " "}], "a name and a text"),
        (None, [{"item": "i0"}], "columns item, text"),
        (None, [{"item": None, "text": "a"}], "item None, text 'a'"),
        (None, [{"item": True, "text": "a"}], "item True, text 'a'"),
        (None, [{"item": 1.5, "text": "a"}], "item 1.5, text 'a'"),
        (None, [{"item": ["i0"], "text": "a"}], "item ['i0'], text 'a'"),
        (None, [{"item": "  ", "text": "a"}], "a name and a text"),
        ([{"items": ["i0", None]}], None, "the item None, which --items lacks"),
        (
            [{"items": [None, "None"]}],
            [*items(), {"item": "None", "text": "a"}],
            "the item None, which --items lacks",
        ),
        (None, items()[:3], "which --items lacks"),
        (
            [{"items": ["i0", "i1"]}],
            items()[:3],
            "--size 4: found 3 items",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, users, things, says):
    code, said = item_codes(tmp_path, users=users, things=things)
    assert (code, says in said) == (2, True), said
    assert not (tmp_path / "codes").exists()


def test_numbers_are_names_too(tmp_path):
    things = [{"item": n, "text": f"text {n}"} for n in range(4)]
    users = [{"items": [0, 1, 2]}, {"items": [3, 0]}]
    code, said = item_codes(tmp_path, "--epochs", 1, users=users, things=things)
    assert code == 0, said
    listed = rows(tmp_path / "codes" / "items.jsonl")
    assert [row["item"] for row in listed] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("count", [1, 2])
def test_the_likenesses_of_few_items_are_numbers(tmp_path, count):
    name = f"i{count - 1}"
    code, said = item_codes(
        tmp_path,
        *("--epochs", 1, "--size", 1),
        users=[{"items": ["i0", name]}],
        things=items()[:count],
    )
    assert code == 0, said
    found = json.loads((tmp_path / "codes" / "evaluation.json").read_text())
    assert found["kept"] == {"collaborative": 0.0, "semantic": 0.0}


@pytest.mark.parametrize("option", ["--align", "--semantic"])
def test_the_largest_weight_still_makes_numbers(tmp_path, option):
    code, said = item_codes(tmp_path, option, "1e6", "--epochs", 2)
    assert code == 0, said
    text = (tmp_path / "codes" / "evaluation.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["codes"] > 1
    for beyond in ("1e7", "inf", "nan", "-1"):
        code, said = item_codes(tmp_path, option, beyond)
        assert (code, option in said) == (2, True), said


def test_an_encoder_whose_weights_are_no_numbers_is_named(tmp_path):
    model = tiny.broken(tiny.encoder("mlm"), "AutoModel")
    code, said = item_codes(tmp_path, "--model", model)
    assert (code, "vectors that are no finite numbers" in said) == (2, True)
    assert f"--model {model}" in said
    assert not (tmp_path / "codes").exists()
