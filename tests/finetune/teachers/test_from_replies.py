"""An API's candidates teach as the model behind it does; other tokenizers get what is known, and nothing else."""

from __future__ import annotations

import json
import math
from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import synth
from finetune.data.tokens import tokenised
from finetune.students import scratch
from finetune.students.load import load_student
from finetune.teachers import from_replies
from finetune.teachers.cache import Cache
from finetune.teachers.from_replies import said_by
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests.cli.test_cli import synth as command
from tests.conftest import write
from tests.finetune.test_train import FAST, finetune


def token(text, probability, **others):
    best = [
        {"token": word, "logprob": log(p)}
        for word, p in ((text, probability), *others.items())
    ]
    return {"token": text, "logprob": log(probability), "top_logprobs": best}


def test_candidates_count_for_the_students_first_token_and_spans_multiply():
    tokenizer = scratch.build_tokenizer(
        ["the answer is 12 13 unhappy unlike now"], 300
    )
    name = tokenizer.convert_tokens_to_ids
    said = [
        token("the", 0.9, now=0.05),
        token(" un", 0.5, **{" answer": 0.25, " is": 0.125}),
        token("happy", 0.8),
        token(" 12", 0.6, **{" 13": 0.3}),
    ]
    row = {"prompt": "now ", "completion": "the unhappy 12"}
    (made,) = tokenised([row], tokenizer, where="rows")
    found = said_by(made, row["completion"], said, tokenizer)
    wanted = [
        {"the": 0.9, "now": 0.05},
        {"unhappy": 0.4, "answer": 0.25, "is": 0.125},
        {"12": 0.6, "13": 0.3},
        {},
    ]
    assert len(found) == 4
    for have, want in zip(found, wanted, strict=True):
        assert {k: round(exp(v), 6) for k, v in have.items()} == {
            name(k): v for k, v in want.items()
        }
    assert said_by(made, "quite another text", said, tokenizer) is None


def test_inside_a_teachers_token_nothing_is_known():
    tokenizer = scratch.build_tokenizer(["un happy"], 300)
    row = {"prompt": "x ", "completion": "un happy"}
    (made,) = tokenised([row], tokenizer, where="rows")
    first, second, _ = said_by(
        made, row["completion"], [token("un happy", 0.7, other=0.2)], tokenizer
    )
    assert exp(first[tokenizer.convert_tokens_to_ids("un")]) == pytest.approx(
        0.7
    )
    assert second == {}


@pytest.mark.long
def test_a_local_models_log_probabilities_teach_as_the_model_does(tmp_path):
    rows = [
        {"prompt": f"{p['question']} 7\n", "completion": f"#### {p['target']}"}
        for p in make_problems(20, seed=1)
    ]
    write(tmp_path / "rows.jsonl", rows)
    code, said = finetune(
        "sft",
        "--data",
        tmp_path / "rows.jsonl",
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "teacher",
        *FAST,
        "--max-steps",
        60,
    )
    assert code == 0, said
    seeds = [
        {"question": p["question"], "target": "7"}
        for p in make_problems(6, seed=2)
    ]
    overrides = {
        "rationale.sampling.temperature": 0.0,
        "rationale.sampling.logprobs": True,
        "rationale.sampling.top_logprobs": 20,
        "rationale.sampling.max_tokens": 12,
    }
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "pack.yaml").write_text(
        "name: plain\nversion: 1\nabout: plain\ninputs: {question: text, target: {type: any, optional: true}}\nsteps:\n- {name: rationale, "
        "parser: {name: whole, into: rationale}}\nexports:\n  sft: {prompt: '{{ question }} {{ target }}', completion: '{{ rationale }}'}\n"
    )
    (pack / "rationale.user.j2").write_text("{{ question }} {{ target }}")
    run = synth.run(
        pack,
        seeds,
        teacher=f"local/{tmp_path / 'teacher'}",
        output=tmp_path / "run",
        overrides=overrides,
    )
    assert run.counts["kept"] == 6, run.counts
    assert (
        command(
            "journal", tmp_path / "run", "--output", tmp_path / "replies.jsonl"
        )[0]
        == 0
    )
    words = [
        "--data",
        tmp_path / "run",
        "--replies",
        tmp_path / "replies.jsonl",
        "--student",
        tmp_path / "teacher",
        "--output",
        tmp_path / "cache",
    ]
    code, said = finetune("teach", *words)
    assert code == 0, said
    assert "6 of 6 rows" in said
    model, tokenizer = load_student(str(tmp_path / "teacher"))
    cache = Cache(tmp_path / "cache")
    checked = 0
    for row in run.kept:
        (made,) = tokenised([row], tokenizer, where="rows")
        ids, logs = cache.read(made["input_ids"], made["labels"])
        with torch.no_grad():
            table = (
                model(torch.tensor([made["input_ids"]]))
                .logits[0, :-1]
                .log_softmax(-1)
            )
        learnt = [
            n for n, label in enumerate(made["labels"][1:]) if label != -100
        ]
        for place, have, values in zip(learnt, ids, logs, strict=True):
            if (values > -16).any():
                best = int(values.argmax())
                checked += 1
                assert values[best] == pytest.approx(
                    float(table[place, have[best]]), abs=0.35
                )
    assert checked > 10
    code, said = finetune("distill", "--data", tmp_path / "run", "--model", tmp_path / "teacher", "--offline", tmp_path / "cache",
                          "--output", tmp_path / "s", *FAST)  # fmt: skip
    assert code == 0, said
    assert json.loads((tmp_path / "s" / "train.json").read_text())["loss"] < 1.0
    write(
        tmp_path / "none.jsonl",
        [{"key": "x", "reply": {"choices": [{"message": {"content": "a"}}]}}],
    )
    code, said = finetune(
        "teach", *words[:2], "--replies", tmp_path / "none.jsonl", *words[4:]
    )
    assert code == 2
    assert "top_logprobs" in said


def reply_line(key, tokens):
    return {
        "key": key,
        "reply": {"choices": [{"logprobs": {"content": tokens}}]},
    }


SAID = {"token": "it", "logprob": -0.5, "top_logprobs": []}


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        (None, False),
        ({}, False),
        ({"choices": []}, False),
        ({"choices": None}, False),
        ({"choices": [{}]}, False),
        ({"choices": [{"logprobs": None}]}, False),
        ({"choices": [{"logprobs": {"content": None}}]}, False),
        ({"choices": [{"logprobs": {"content": [{"token": "a"}]}}]}, False),
        ({"choices": [{"logprobs": {"content": [SAID]}}]}, True),
    ],
)
def test_replies_without_log_probabilities_are_passed_over(
    tmp_path, reply, read
):
    good = reply_line("good", [SAID])
    path = write(tmp_path / "r.jsonl", [{"key": "k", "reply": reply}, good])
    found = from_replies._replied(str(path))
    assert set(found) == ({"k", "good"} if read else {"good"})


@pytest.mark.parametrize(
    "line", ["{broken", "[1, 2]", '"text"', "3", "[" * 100_000]
)
def test_a_line_that_is_no_reply_is_named(tmp_path, line):
    path = write(tmp_path / "r.jsonl", [reply_line("good", [SAID])])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(WrongUse) as caught:
        from_replies._replied(str(path))
    assert caught.value.args[0] == f"--replies {path}:2"
    assert "synth journal" in str(caught.value)


def test_a_file_without_any_says_how_to_get_them(tmp_path):
    path = write(tmp_path / "r.jsonl", [{"key": "k", "reply": None}])
    with pytest.raises(WrongUse, match=r"top_logprobs=20"):
        from_replies._replied(str(path))


LOGS = st.floats(-20_000, 0) | st.just(-math.inf) | st.just(-9999.0)


@given(st.lists(LOGS, min_size=1, max_size=6), st.randoms())
def test_probabilities_of_one_token_add_up_however_small_they_are(logs, draw):
    candidates: dict[int, float] = {}
    for value in logs:
        from_replies._add(candidates, 3, value)
    wanted = float(np.logaddexp.reduce(np.array(logs)))
    assert candidates == {3: pytest.approx(wanted, rel=1e-9, abs=1e-12)}
    shuffled = list(logs)
    draw.shuffle(shuffled)
    other: dict[int, float] = {}
    for value in shuffled:
        from_replies._add(other, 3, value)
    assert other[3] == pytest.approx(candidates[3], rel=1e-9, abs=1e-12)


WORDS = st.lists(
    st.text("abc\u00e9", min_size=1, max_size=4), min_size=1, max_size=8
)


@given(WORDS, st.sampled_from(["", " ", "\n"]), st.booleans())
def test_tokens_of_a_reply_are_found_where_they_stand(words, blank, inside):
    before = "so: " if inside else ""
    text = blank.join(words)
    tokens = [{"token": blank + word} for word in words]
    found = from_replies._starts(tokens, before + text + " end")
    assert found is not None
    places = sorted(found)
    assert [found[place] for place in places] == list(range(len(words)))
    whole = before + text + " end"
    for place in places:
        word = words[found[place]]
        assert whole[place : place + len(word)] == word
    assert from_replies._starts([*tokens, {"token": "xyz"}], whole) is None
    assert from_replies._starts([], whole) is None
    assert from_replies._starts([{"token": " "}], whole) is None
