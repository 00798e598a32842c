"""A student's card says what is recorded of it, and no word more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import finetune.cli
import synth
from finetune.sharing.model_card import Sources, describe_student, make_card
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests import tiny
from tests.conftest import rest_long, write


def invoke(*words):
    done = CliRunner().invoke(finetune.cli.main, [*map(str, words)])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(a student of a run's rows, with adapters; the folder of its evaluation)."""
    folder = tmp_path_factory.mktemp("card")
    run = synth.run(
        "cot",
        make_problems(8, seed=3),
        teacher="simulated/perfect",
        output=folder / "rows",
        taint=("exam",),
    )
    rows = folder / "exam.jsonl"
    student = folder / "student"
    code, said = invoke(
        *("sft", "--data", run.folder, "--model", tiny.causal()),
        *("--output", student, "--max-steps", 1, "--lora", "r=2"),
    )
    assert code == 0, said
    rows.write_text(json.dumps({"question": "1 + 1?", "target": "2"}) + "\n")
    code, said = invoke(
        *("evaluate", "--data", rows, "--model", student),
        *("--output", folder / "measured", "--max-new-tokens", 2),
        *("--measure", "token_f1"),
    )
    assert code == 0, said
    return student, folder / "measured"


def test_a_card_says_base_data_training_and_measures(trained):
    student, measured = trained
    code, said = invoke(
        *("card", student, "--evaluation", measured, "--license", "mit")
    )
    assert code == 0, said
    text = (student / "README.md").read_text()
    content = json.loads((student.parent / "rows/run.json").read_text())
    assert f"Hash of the rows: `{content['content']}`." in text
    assert "pack cot with simulated/perfect." in text
    assert "| steps | 1 |" in text
    told = json.loads((measured / "evaluation.json").read_text())
    share = told["exact_match"]
    between = f"{share['low']:.3f} to {share['high']:.3f}"
    line = f"exact_match | {share['share']:.3f} | {between} | 1 |"
    assert f"| exam.jsonl | {line}" in text
    assert "| exam.jsonl | token" in text
    assert "The teachers may have seen exam." in text
    assert "The figures on exam.jsonl say little" in text
    # Where files lie is nobody's business.
    assert str(student.parent) not in text
    assert str(Path.home()) not in text


def test_the_hubs_own_reader_takes_the_head(trained):
    from huggingface_hub import ModelCard

    student, _ = trained
    describe_student(student, [], "mit")
    head = ModelCard.load(str(student / "README.md")).data
    assert (head.license, head.library_name) == ("mit", "transformers")
    assert head.base_model is None
    assert "Nothing: `finetune evaluate`" in (student / "README.md").read_text()


TRAIN = {"model": "org/base", "data": "/home/me/rows.jsonl", "rows": 1200}


def test_a_base_of_the_hub_is_linked_and_a_folder_is_not(tmp_path):
    def head(model):
        card = make_card("s", Sources({**TRAIN, "model": model}, {}, [], ""))
        return yaml.safe_load(card.split("---\n")[1])

    assert head("org/base")["base_model"] == "org/base"
    for other in ("scratch:tiny", str(tmp_path), "./runs/base", "base"):
        assert "base_model" not in head(other)
    card = make_card("s", Sources(TRAIN, {}, [], ""))
    assert "Data: 1,200 rows of rows.jsonl." in card
    assert "/home/me" not in card


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_words_stay_words(name, told):
    record = {**TRAIN, "template": told, "model": f"scratch:{told}"}
    card = make_card(name, Sources(record, {}, [], ""))
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "transformers"
    assert body.count("\n## ") == 2


def test_a_readme_of_somebody_stays_and_one_of_ours_does_not(trained):
    student, _ = trained
    card = student / "README.md"
    describe_student(student, [], "mit")
    describe_student(student, [], "apache-2.0")
    assert "apache-2.0" in card.read_text()
    card.write_text(card.read_text().replace("Base:", "My base:"))
    with pytest.raises(WrongUse, match="somebody wrote"):
        describe_student(student, [])
    assert "My base:" in card.read_text()
    card.unlink()


def test_what_is_no_student_or_no_evaluation_of_it_is_refused(
    trained, tmp_path
):
    student, measured = trained
    with pytest.raises(WrongUse, match=r"train\.json"):
        describe_student(tmp_path, [])
    with pytest.raises(WrongUse, match=r"evaluation\.json"):
        describe_student(student, [tmp_path])
    told = json.loads((measured / "evaluation.json").read_text())
    other = tmp_path / "evaluation.json"
    other.write_text(json.dumps({**told, "model": str(tmp_path)}))
    with pytest.raises(WrongUse, match="an evaluation of"):
        describe_student(student, [tmp_path])


@pytest.mark.parametrize("kind", rest_long(("bi", "cross", "multi", "sparse")))
def test_a_card_that_a_library_left_in_the_folder_is_nobodys(kind, tmp_path):
    rows = [{"query": f"a {fact}", "positive": fact} for fact in tiny.FACTS]
    rows = [{**row, "negatives": ["a tree"]} for row in rows]
    words = ["--input", write(tmp_path / "rows.jsonl", rows), "--kind", kind]
    out = tmp_path / "s"
    code, said = invoke(
        "retriever", "--model", tiny.encoder("mlm"), *words, "--max-steps", 1, "--output", out
    )  # fmt: skip
    assert code == 0, said
    assert "sbert.net" in (out / "README.md").read_text().lower()
    for _ in range(2):
        code, said = invoke("card", out)
        assert code == 0, said
    (out / "README.md").write_text("# Sentence Transformer model\n\nMine.\n")
    code, said = invoke("card", out)
    assert (code, "somebody wrote" in said) == (2, True), said
