"""Forms fall back or vote; knowledge is shown only to an unsure student; wrong files are refused before a model is loaded."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.generation.confidence import confidence
from finetune.measuring.forms_of_thought import (
    Form,
    answer_of,
    combine,
    read_forms,
)
from finetune.students.scratch import build
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import finetune

PROGRAM, EQUATIONS, WORDS = (
    Form(name="p", read="python"),
    Form(name="e", read="equations"),
    Form(name="w", weight=1.5),
)


@pytest.mark.parametrize(
    ("form", "reply", "wanted"),
    [
        (PROGRAM, "```python\nans = 3 * 4\n```", "12"),
        (PROGRAM, "```python\nans = 3 / 0\n```", None),
        (PROGRAM, "no program here, none at all", None),
        (EQUATIONS, "x = 3 * 4\nans = x", "12"),
        (EQUATIONS, "x = y * 2", None),
        (WORDS, "3 * 4 = 12\n#### 12", "12"),
        (WORDS, "", None),
    ],
)
def test_a_form_reads_its_own_replies(form, reply, wanted):
    assert answer_of(form, reply, {}) == wanted


def test_the_first_form_that_works_counts_or_the_heaviest_vote():
    forms = [PROGRAM, EQUATIONS, WORDS]
    assert combine(forms, [None, None, "3"], "fallback") == [("3", 1.0)]
    assert combine(forms, [None, "2", "3"], "fallback") == [("2", 1.0)]
    assert combine(forms, ["2", "2.0", "3"], "vote") == [("2", 1.0)]
    assert combine(forms, [None, "2", "3"], "vote") == [("3", 1.0)]
    assert (
        combine(forms, [None] * 3, "vote")
        == combine(forms, [None] * 3, "fallback")
        == []
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("forms: []", "at least 1"),
        ("forms: [{name: a, read: final_nummer}]", "final_number"),
        ("forms: [{name: a}, {name: a}]", "each name once"),
        ("forms: [{name: a, weight: 0}]", "weight"),
        ("form: []", "form"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, says):
    (tmp_path / "forms.yaml").write_text(text)
    with pytest.raises(WrongUse, match=says):
        read_forms(tmp_path / "forms.yaml")


def test_confidence_is_the_gap_between_the_two_likeliest_tokens():
    model, tokenizer = build("scratch:tiny", ["a b c d"], 0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    torch.manual_seed(0)
    assert confidence(model, tokenizer, "a b") == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        model.model.norm.weight.fill_(1.0)
        model.model.embed_tokens.weight.fill_(0.1)
        model.model.embed_tokens.weight[7] = 9.0
    assert confidence(model, tokenizer, "a b") > 0.99


@pytest.mark.long
def test_evaluate_with_forms_and_with_a_gate(tmp_path):
    rows = [
        {"prompt": f"what is {n} + 1 ? {cue}\n", "completion": f"{lead}{n + 1}"}
        for n in range(40)
        for cue, lead in (("equations", "ans = "), ("words", "#### "))
    ]
    write(tmp_path / "rows.jsonl", rows)
    more = [
        "--max-steps",
        150,
        "--per-device-train-batch-size",
        40,
        "--learning-rate",
        "5e-3",
        "--disable-tqdm",
        "--logging-strategy",
        "no",
    ]
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "s",
        *more,
    )
    assert code == 0, said
    write(
        tmp_path / "test.jsonl",
        [
            {"prompt": f"what is {n} + 1 ?\n", "target": str(n + 1)}
            for n in range(40)
        ],
    )
    forms = "forms:\n- {name: equations, cue: equations, read: equations}\n- {name: words, cue: words, weight: 2}\n"
    (tmp_path / "forms.yaml").write_text(forms)
    base = [
        "--data",
        tmp_path / "test.jsonl",
        "--model",
        tmp_path / "s",
        "--output",
        tmp_path / "e",
        "--max-new-tokens",
        8,
    ]
    for how in ("fallback", "vote"):
        code, said = finetune(
            "evaluate",
            *base,
            "--forms",
            tmp_path / "forms.yaml",
            "--combine",
            how,
        )
        assert code == 0, said
        found = json.loads((tmp_path / "e" / "evaluation.json").read_text())
        assert set(found["forms"]) == {"equations", "words"}
        assert (
            found[how]["share"]
            >= min(form["share"] for form in found["forms"].values())
            > 0.7
        )
    code, said = finetune(
        "evaluate", *base, "--forms", tmp_path / "forms.yaml", "--draws", 3
    )
    assert code == 2
    code, said = finetune("evaluate", *base, "--gate", 0.5)
    assert code == 2
    assert "knowledge" in said
    knowing = [
        {
            "prompt": "{knowledge}\nwhat is 3 + 1 ? words\n",
            "knowledge": "add one",
            "target": "4",
        }
    ]
    write(tmp_path / "knowing.jsonl", knowing)
    for gate, shown in ((0.0, False), (1.0, True)):
        code, said = finetune(
            "evaluate",
            "--data",
            tmp_path / "knowing.jsonl",
            *base[2:],
            "--gate",
            gate,
        )
        assert code == 0, said
        assert (
            "add one" in (tmp_path / "e" / "predictions.jsonl").read_text()
        ) is shown
