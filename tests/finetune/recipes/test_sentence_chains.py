"""Chains of sentences: what is kept of them, and a small model that writes them."""

from __future__ import annotations

import json

import pytest

from finetune.recipes.sentence_chains import chain
from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_retriever import FAST, finetune


def says(*replies):
    """A model that says these one after another, and what it was asked."""
    left = list(replies)
    asked = []

    def rewrite(now, before):
        asked.append((now, before))
        return left.pop(0)

    return rewrite, asked


def test_each_sentence_is_led_away_from_the_one_before_the_last():
    rewrite, asked = says("b", " c ", "d")
    assert chain("a", rewrite, 3) == (["a", "b", "c", "d"], "")
    assert asked == [("a", "a"), ("b", "a"), ("c", "b")]


@pytest.mark.parametrize(
    ("replies", "fault"),
    [
        (("b", None), "unended"),
        (("b", "  "), "empty"),
        (("b", "c\nd"), "several_lines"),
        (("b", "c", "b", "c", "b", "c"), "circles"),
        (("b", "b", "b", "b"), "circles"),
        (("b", "c", "b", "c"), ""),
    ],
)
def test_chains_that_do_not_hold_are_dropped(replies, fault):
    rewrite, _ = says(*replies)
    assert chain("a", rewrite, len(replies)).fault == fault


@pytest.fixture(scope="module")
def rewriter(tmp_path_factory):
    """A small model that learnt to put another word in the place of the last one."""
    folder = tmp_path_factory.mktemp("rewriter")
    things = ["pen", "house", "tree", "dog", "hat", "door"]
    rows = [
        {
            "prompt": f"rewrite red {thing} :",
            "completion": f" red {things[(n + 1) % len(things)]}",
        }
        for n, thing in enumerate(things)
    ]
    code, said = finetune(
        *("sft", "--input", write(folder / "rows.jsonl", rows)),
        *("--model", "scratch:tiny", "--output", folder / "model", *FAST),
        *("--max-steps", "60", "--learning-rate", "1e-2"),
    )
    assert code == 0, said
    return folder / "model"


def chains(model, folder, *more, template="rewrite {sentence} :"):
    rows = write(folder / "first.jsonl", [{"sentence": "red pen"}])
    path = folder / "template.txt"
    path.write_text(template)
    return finetune(
        *("sentence-chains", "--input", rows, "--model", model),
        *("--template", path, "--output", folder / "chains.jsonl"),
        *("--steps", "4", "--most-tokens", "6", *more),
    )


def test_a_model_writes_a_chain_from_which_an_encoder_learns(
    rewriter, tmp_path
):
    code, said = chains(rewriter, tmp_path)
    assert code == 0, said
    assert "1 of 1 chains" in said
    (line,) = (tmp_path / "chains.jsonl").read_text().splitlines()
    others = ["red house", "red tree", "red dog", "red hat"]
    assert json.loads(line) == {
        "query": "red pen",
        "documents": others,
        "scores": [1.0, 0.75, 0.5, 0.25],
    }
    encoder = tiny.encoder("mlm")
    code, said = finetune(
        *("retriever", "--input", tmp_path / "chains.jsonl"),
        *("--model", encoder, "--loss", "fused_list_mle"),
        *("--teacher", encoder, "--output", tmp_path / "student", *FAST),
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("more", "template", "says"),
    [
        ((), "rewrite it :", "no {sentence}"),
        (("--most-tokens", "1"), "rewrite {sentence} :", "'unended': 1"),
        (("--field", "text"), "rewrite {sentence} :", "columns text"),
    ],
)
def test_what_cannot_be_used_is_refused(
    rewriter, tmp_path, more, template, says
):
    code, said = chains(rewriter, tmp_path, *more, template=template)
    assert (code, says in said) == (2, True), said
    assert not (tmp_path / "chains.jsonl").exists()
