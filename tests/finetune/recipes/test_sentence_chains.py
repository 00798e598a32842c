"""Chains of sentences: what is kept of them, and a small model that writes them."""

from __future__ import annotations

import json

import pytest

from finetune.core.begun_rows import BegunRows
from finetune.recipes import sentence_chains
from finetune.recipes.sentence_chains import chains
from tests import tiny, tiny_padless
from tests.conftest import write
from tests.finetune.recipes.test_retriever import FAST, finetune


def says(*replies):
    """A model that says these one after another, and what it was asked."""
    left = list(replies)
    asked = []

    def rewrite(pairs):
        asked.extend(pairs)
        return [left.pop(0) for _ in pairs]

    return rewrite, asked


def test_each_sentence_is_led_away_from_the_one_before_the_last():
    rewrite, asked = says("b", " c ", "d")
    assert chains(["a"], rewrite, 3) == [(["a", "b", "c", "d"], "")]
    assert asked == [("a", "a"), ("b", "a"), ("c", "b")]


def test_a_chain_that_is_dropped_is_asked_no_further():
    rewrite, asked = says("b", None, "d", "e")
    found = chains(["a", "z"], rewrite, 3)
    assert found == [(["a", "b", "d", "e"], ""), (["z"], "unended")]
    assert asked == [("a", "a"), ("z", "z"), ("b", "a"), ("d", "b")]


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
    assert chains(["a"], rewrite, len(replies))[0].fault == fault


@pytest.fixture(scope="module")
def rewriter(tmp_path_factory):
    """A small model that learnt to put another word in the place of the last one."""
    return rewrites_things(tmp_path_factory.mktemp("rewriter"))


def rewrites_things(folder):
    things = ["pen", "house", "tree", "dog", "hat", "door"]
    rows = [
        {
            "prompt": f"rewrite red {thing} :",
            "completion": f" red {things[(n + 1) % len(things)]}",
        }
        for n, thing in enumerate(things)
    ]
    code, said = finetune(
        *("sft", "--input", write(folder / "things.jsonl", rows)),
        *("--model", "scratch:tiny", "--output", folder / "model", *FAST),
        *("--max-steps", "60", "--learning-rate", "1e-2"),
    )
    assert code == 0, said
    return folder / "model"


def written(model, folder, *more, template="rewrite {sentence} :"):
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
    code, said = written(rewriter, tmp_path)
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
        (("--guidance", "inf"), "rewrite {sentence} :", "--guidance"),
        (("--guidance", "1e30"), "rewrite {sentence} :", "--guidance"),
        (
            ("--template", "none.txt"),
            "rewrite {sentence} :",
            "a text file with a question about {sentence}",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(
    rewriter, tmp_path, more, template, says
):
    code, said = written(rewriter, tmp_path, *more, template=template)
    assert (code, says in said) == (2, True), said
    assert not (tmp_path / "chains.jsonl").exists()


def test_a_model_whose_weights_are_no_numbers_is_named(rewriter, tmp_path):
    model = tiny.broken(str(rewriter), "AutoModelForCausalLM")
    code, said = written(model, tmp_path)
    assert (code, "logits that are no numbers" in said) == (2, True), said
    assert f"--model {model}" in said
    assert not (tmp_path / "chains.jsonl").exists()


def test_chains_do_not_take_the_place_of_their_rows(
    rewriter, tmp_path, monkeypatch
):
    # As the command wrote it, and with the column that is read.
    row = {"sentence": "a", "query": "a", "documents": ["b"], "scores": [1]}
    path = write(tmp_path / "mine.jsonl", [row])
    before = path.read_bytes()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.jsonl").symlink_to(path)
    for name in ("./mine.jsonl", "link.jsonl"):
        code, said = written(
            rewriter, tmp_path, "--input", path, "--output", name
        )
        assert (code, "the file of --input" in said) == (2, True), said
        assert path.read_bytes() == before


def test_a_model_writes_no_further_than_it_has_places(tmp_path):
    folder = tmp_path / "model"
    model = tiny_padless.decoder(folder, head="LMHeadModel")
    short = {"sentence": "light"}
    long = {"sentence": "light " * 500}
    rows = write(tmp_path / "long.jsonl", [short, long])
    code, said = written(model, tmp_path, "--input", rows)
    assert code == 2, said
    assert f"{rows} row 2 sentence: found 5" in said
    assert "fewer than the 128" in said
    # What it writes of a short one has no end, and the places do.
    code, said = written(model, tmp_path, "--most-tokens", "1000")
    assert (code, "{'unended': 1}" in said) == (2, True), said


class Killed(BaseException):
    """As a signal ends a process."""


def test_a_call_that_was_killed_goes_on_and_writes_the_same(
    rewriter, tmp_path, monkeypatch
):
    names = ["pen", "house", "tree", "dog", "hat", "house"]
    rows = write(
        tmp_path / "many.jsonl", [{"sentence": f"red {n}"} for n in names]
    )
    told = ("--input", rows, "--batch")
    assert written(rewriter, tmp_path, *told, "1")[0] == 0
    wanted = (tmp_path / "chains.jsonl").read_bytes()
    assert len(wanted.splitlines()) == 6
    (tmp_path / "chains.jsonl").unlink()
    real = sentence_chains.chains
    asked = []

    def dies(firsts, *more):
        asked.append(list(firsts))
        if len(asked) == 3:
            raise Killed
        return real(firsts, *more)

    monkeypatch.setattr(sentence_chains, "chains", dies)
    with pytest.raises(Killed):
        written(rewriter, tmp_path, *told, "1")
    begun = tmp_path / ".chains.jsonl.begun"
    assert len(begun.read_text().splitlines()) == 3
    # A line that was cut short is written anew.
    with begun.open("ab") as file:
        file.write(b'["red tree", [["red tr')
    code, said = written(rewriter, tmp_path, *told, "16")
    assert code == 0, said
    assert asked[3:] == [["red tree", "red dog", "red hat"]]
    assert (tmp_path / "chains.jsonl").read_bytes() == wanted
    assert not begun.exists()


def test_what_other_settings_began_is_begun_anew(tmp_path):
    begun = BegunRows(tmp_path / "a.jsonl", {"steps": 4})
    begun.add({"a": [["a", "b"], ""]})
    begun.add({"c": [["c"], "unended"]})
    again = BegunRows(tmp_path / "a.jsonl", {"steps": 4})
    assert again.found == {"a": [["a", "b"], ""], "c": [["c"], "unended"]}
    other = BegunRows(tmp_path / "a.jsonl", {"steps": 5})
    assert other.found == {}
    other.add({"d": [["d"], "empty"]})
    assert not BegunRows(tmp_path / "a.jsonl", {"steps": 4}).found
    other.remove()
    assert not list(tmp_path.iterdir())
