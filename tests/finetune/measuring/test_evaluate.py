"""An evaluation asks what rows say, reads golds of every kind, and names rows that have none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.measuring import evaluate
from finetune.measuring.evaluate import EvaluateConfig, generate, run
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from synth.statistics.intervals import wilson
from tests import tiny
from tests.conftest import write


def config_of(data: Any, output: Any, **more: Any) -> EvaluateConfig:
    return EvaluateConfig(
        data=str(data),
        model=tiny.causal(),
        output=output,
        max_new_tokens=4,
        **more,
    )


@pytest.fixture
def said(monkeypatch):
    """Replaces the student's words by those of a row, `say`; what was asked stands in the list."""
    asked: list[Any] = []
    words: list[str] = []

    def answers(model, tokenizer, prompts, config, tools=()):
        asked.extend(prompts)
        start = len(asked) - len(prompts)
        return iter(words[start : len(asked)])

    monkeypatch.setattr(evaluate, "generate", answers)
    return asked, words


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "q", "target": None}, "neither target nor answer"),
        ({"question": None, "target": "1"}, "neither prompt nor question"),
        (
            {"question": None, "prompt": None, "target": "1"},
            "neither prompt nor question",
        ),
    ],
)
def test_a_row_without_a_gold_or_a_question_is_named(tmp_path, row, says):
    good = {"question": "q", "target": "1"}
    path = write(tmp_path / "x.jsonl", [good, good, row])
    with pytest.raises(WrongUse, match=r"x\.jsonl row 3") as caught:
        run(config_of(path, tmp_path / "out"))
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "a"}, "columns text"),
        ({"prompt": "a"}, "columns prompt"),
        ({"target": "a"}, "columns target"),
    ],
)
def test_columns_that_are_missing_are_said(tmp_path, row, says):
    path = write(tmp_path / "x.jsonl", [row])
    with pytest.raises(WrongUse) as caught:
        run(config_of(path, tmp_path / "out"))
    assert says in str(caught.value)
    assert "Name the gold `target`" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"before": "say it"}, {"before": "speaker"}),
        ({"knowledge": "it is red"}, {"gate": 0.5}),
    ],
)
@pytest.mark.parametrize(
    "prompt",
    [
        "no place",
        [{"role": "user", "content": "{before} {knowledge} what ?"}],
    ],
)
def test_places_for_words_of_others_stand_in_prompts_of_text_alone(
    tmp_path, fields, options, prompt
):
    row = {"prompt": prompt, "target": "1", **fields}
    path = write(tmp_path / "x.jsonl", [row])
    with pytest.raises(WrongUse, match="row 1") as caught:
        run(config_of(path, tmp_path / "out", **options))
    assert "a `prompt` of text" in str(caught.value)


def test_what_was_right_is_counted_with_its_interval(tmp_path, said):
    asked, words = said
    rows = [
        {"question": "a", "target": "4"},
        {"question": "b", "answer": "1/2"},
        {"question": "c", "target": 1000},
        {"prompt": "d ", "question": "not asked", "target": "7"},
        {"question": "e", "target": "7", "answer": "8"},
    ]
    words += [
        "so\n#### 4",
        "so\n#### 0.5",
        "#### 1,000",
        "no number here",
        "so\n#### 8",
    ]
    path = write(tmp_path / "x.jsonl", rows)
    info = run(config_of(path, tmp_path / "deep" / "out"))
    assert asked == ["a\n", "b\n", "c\n", "d ", "e\n"]
    low, high = wilson(3, 5)
    assert info["exact_match"] == {
        "share": 0.6,
        "low": round(low, 4),
        "high": round(high, 4),
    }
    assert info["unreadable"] == 1
    assert info["rows"] == 5
    folder = tmp_path / "deep" / "out"
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    judged = [json.loads(line) for line in lines]
    assert [row["right"] for row in judged] == [True, True, True, False, False]
    assert [row["reply"] for row in judged] == words
    assert judged[3]["answer"] is None
    assert judged[3]["unreadable"]
    written = json.loads((folder / "evaluation.json").read_text())
    assert written == info


DRAWS = st.lists(
    st.lists(st.sampled_from(["1", "2", "3"]), min_size=3, max_size=3),
    min_size=1,
    max_size=4,
)


@given(DRAWS)
def test_votes_over_draws_are_counted_as_slowly_by_hand(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("e")
    data = [{"question": f"q{n}", "target": "1"} for n in range(len(rows))]
    judged = [
        {"answer": answer, "right": answer == "1", "prompt": "", "reply": ""}
        for draws in rows
        for answer in draws
    ]
    config = config_of(folder / "x", folder, draws=3)
    found = evaluate._votes(config, data, judged)
    credit = 0.0
    for draws in rows:
        most = max(map(draws.count, draws))
        leading = {answer for answer in draws if draws.count(answer) == most}
        credit += ("1" in leading) / len(leading)
    assert found["vote"]["share"] == pytest.approx(credit / len(rows), abs=1e-4)
    some = sum("1" in draws for draws in rows)
    assert found["any_right"]["share"] == pytest.approx(
        some / len(rows), abs=1e-4
    )
    assert found["vote"]["share"] <= found["any_right"]["share"] + 1e-9


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_replies_do_not_depend_on_how_many_are_asked_at_once(tmp_path, batch):
    model, tokenizer = load_student(tiny.causal())
    prompts = ["What is 3 ?\n", "it", "old house tall tree red\n", "5 + 5"]
    config = config_of("x", tmp_path, batch=batch)
    found = list(generate(model, tokenizer, prompts, config))
    assert len(found) == len(prompts)
    for prompt, reply in zip(prompts, found, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        whole = model.generate(
            input_ids=ids, max_new_tokens=4, do_sample=False
        )[0]
        wanted = tokenizer.decode(
            whole[ids.shape[1] :], skip_special_tokens=True
        )
        assert reply == wanted


@pytest.mark.parametrize(
    ("data", "record", "names"),
    [
        ("gsm8k.jsonl", {"taint": ["gsm8k"]}, ["gsm8k"]),
        ("my_GSM8K_test.jsonl", {"taint": ["gsm8k", "math"]}, ["gsm8k"]),
        ("other.jsonl", {"taint": ["gsm8k"]}, []),
        ("gsm8k.jsonl", {}, []),
        ("gsm8k.jsonl", None, []),
    ],
)
def test_data_that_a_teacher_may_have_seen_is_known_by_its_name(
    tmp_path, data, record, names
):
    if record is not None:
        (tmp_path / "train.json").write_text(json.dumps(record))
    config = EvaluateConfig(
        data=f"gsm8k/math/{data}", model=str(tmp_path), output=tmp_path
    )
    assert evaluate._tainted(config) == names


def test_forms_and_draws_do_not_go_together(tmp_path):
    forms = tmp_path / "forms.yaml"
    forms.write_text("forms: [{name: a}, {name: b, read: equations}]\n")
    path = write(tmp_path / "x.jsonl", [{"question": "q", "target": "1"}])
    with pytest.raises(WrongUse, match="2 forms, 3 draws"):
        run(config_of(path, tmp_path, forms=str(forms), draws=3))


def test_each_form_is_judged_alone_and_together(tmp_path, said):
    asked, words = said
    forms = tmp_path / "forms.yaml"
    forms.write_text(
        "forms:\n"
        "- {name: eq, cue: Equations, read: equations}\n"
        "- {name: words, cue: Words}\n"
    )
    rows = [{"question": f"q{n}", "target": str(n)} for n in range(3)]
    words += ["x = 0 * 2", "none", "x = 3 - 1", "#### 5", "#### 1", "7"]
    path = write(tmp_path / "x.jsonl", rows)
    info = run(config_of(path, tmp_path / "out", forms=str(forms)))
    assert asked[0] == "q0\nEquations\n"
    assert asked[3] == "q0\nWords\n"
    assert info["forms"]["eq"]["share"] == pytest.approx(2 / 3, abs=1e-4)
    assert info["forms"]["words"]["share"] == pytest.approx(1 / 3, abs=1e-4)
    assert info["fallback"]["share"] == 1.0


def test_columns_that_join_rows_of_a_question_stand_beside_predictions(
    tmp_path, said
):
    _, words = said
    words += ["#### 1", "#### 1", "#### 2"]
    rows = [
        {"question": f"q{n}", "target": "1", "group": "g", "language": language}
        for n, language in enumerate(("en", "de", "zh"))
    ]
    path = write(tmp_path / "x.jsonl", rows)
    config = config_of(path, tmp_path / "out", measures=("consistency:size=2",))
    found = run(config)["measures"]["consistency:size=2"]
    assert found["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["language"] for line in lines] == [
        "en",
        "de",
        "zh",
    ]


def test_a_parser_without_an_answer_leaves_the_reply_to_be_measured(
    tmp_path, said
):
    said[1].append("a red pen")
    row = {"question": "What is on the desk?", "target": "a red pen"}
    info = run(
        config_of(
            write(tmp_path / "x.jsonl", [row]),
            tmp_path / "out",
            parser="whole",
            measures=["token_f1"],
        )
    )
    assert info["measures"]["token_f1"]["value"] == 1.0
    told = (tmp_path / "out" / "predictions.jsonl").read_text()
    assert json.loads(told)["answer"] is None
