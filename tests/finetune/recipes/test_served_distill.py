"""`distill --teacher-url` and `teach --teacher-url` end to end, against a loopback server of a real tiny teacher."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from aiohttp import web

from finetune.students.load import load_tokenizer
from tests import tiny
from tests.conftest import write
from tests.finetune.teachers.scoring import calls, llama, scoring, vllm
from tests.finetune.test_train import finetune

QUIET = ["--disable-tqdm", "--logging-strategy", "no"]
STILL = ["--learning-rate", 0, "--max-steps", 1, *QUIET]
WHOLE = ["--per-device-train-batch-size", 8]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows = [
        {"prompt": f"What is {n} + {n} ?\n", "completion": f"it is a {fact}"}
        for n, fact in enumerate(tiny.FACTS)
    ]
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows)


def distilled(data, output, *more, wanted=0):
    options = ["--data", data, "--model", tiny.causal(), "--output", output]
    code, said = finetune("distill", *options, *more)
    assert code == wanted, said
    return said


def loss_in(output):
    return json.loads((output / "train.json").read_text())["loss"]


@pytest.mark.long
@pytest.mark.parametrize("style", [vllm, llama])
def test_servers_teach_what_the_model_teaches_in_process(data, tmp_path, style):
    """All tokens are asked for: nothing is left in the tail. Rows that are packed are the same rows."""
    distilled(data, tmp_path / "a", *STILL, *WHOLE, "--teacher", tiny.other())
    with scoring(tiny.other(), style) as server:
        by_url = ["--teacher-url", server.url, "--teacher-k", 400]
        said = distilled(data, tmp_path / "b", *STILL, *WHOLE, *by_url)
        assert "large by" in said
        asked = len(calls(server))
        packed = ["--packing", "--max-length", 64]
        distilled(data, tmp_path / "b", *STILL, *WHOLE, *by_url, *packed)
        assert len(calls(server)) == asked
    assert loss_in(tmp_path / "b") == pytest.approx(
        loss_in(tmp_path / "a"), abs=1e-4
    )
    assert json.loads((tmp_path / "b" / "train.json").read_text())[
        "teachers"
    ] == ["large"]


def test_what_servers_say_is_written_once_for_later(data, tmp_path):
    with scoring(tiny.other()) as server:
        told = ["--data", data, "--output", tmp_path / "cache"]
        told += ["--teacher-url", server.url, "--student", tiny.causal()]
        for count in (8, 0):
            code, said = finetune("teach", *told, "--teacher-k", 12)
            assert code == 0, said
            assert f"teach: {count} of 8 rows now" in said
        assert len(calls(server)) == 1 + 8
        by_url = ["--teacher-url", server.url, "--teacher-k", 12]
        distilled(data, tmp_path / "a", *STILL, *WHOLE, *by_url)
    distilled(
        data, tmp_path / "b", *STILL, *WHOLE, "--offline", tmp_path / "cache"
    )
    assert loss_in(tmp_path / "b") == pytest.approx(
        loss_in(tmp_path / "a"), abs=1e-3
    )


def test_a_training_that_was_cut_short_asks_only_what_is_missing(
    data, tmp_path
):
    def ends(reply, number):
        if number == 6:
            return web.json_response({"error": "closed"}, status=403)
        return reply

    with scoring(tiny.other(), change=ends) as server:
        by_url = ["--teacher-url", server.url, "--teacher-calls", 1]
        said = distilled(data, tmp_path, *STILL, *by_url, wanted=5)
        assert "closed" in said
        # The probe, four rows and the one that was refused.
        assert len(calls(server)) == 6
        said = distilled(data, tmp_path, *STILL, *by_url)
        assert "4 calls, 4 from the journal, price unknown" in said
        assert len(calls(server)) == 10


def test_texts_of_the_student_go_to_the_teacher_of_their_prompt(tmp_path):
    names = ["one", "two"]
    rows = [
        {
            "prompt": f"What is {n} + {n} ?\n",
            "completion": "it is a red pen",
            "teacher": names[n % 2],
        }
        for n in range(8)
    ]
    data = write(tmp_path / "rows.jsonl", rows)
    with (
        scoring(tiny.other(), name="one") as first,
        scoring(tiny.causal(), name="two") as second,
    ):
        both = ["--teacher-url", f"{first.url},{second.url}"]
        own = ["--on-policy", 1, "--new-tokens", 5, "--loss", "reverse_kl"]
        own += ["--top-p", 0.9, "--min-p", 0.01]
        distilled(data, tmp_path / "s", *STILL, *WHOLE, *both, *own)
        prompts = [rows[n]["prompt"] for n in range(8)]
        for number, server in enumerate((first, second)):
            asked = calls(server)[1:]
            assert len(asked) == 4
            texts = [text_of(body["prompt"]) for body in asked]
            for text in texts:
                assert any(
                    text.startswith(prompt.split(" ?")[0])
                    for prompt in prompts[number::2]
                )
        write(data, [{**row, "prompt": "What ?\n"} for row in rows])
        said = distilled(data, tmp_path / "t", *STILL, *both, *own, wanted=2)
        assert "the same tokens with different teachers" in said
        write(data, [{**row, "teacher": "three"} for row in rows])
        said = distilled(data, tmp_path / "t", *STILL, *both, wanted=2)
        assert "one of one, two" in said


def text_of(ids):
    return load_tokenizer(tiny.causal()).decode(ids)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--teacher", "any"], "one source"),
        (["--correct", "--on-policy", 1], "gives all probabilities"),
        (["--loss", "logit_mse"], "its likeliest tokens and of the rest"),
        (["--loss", "forward_kl:temperature=2"], "temperature=2"),
        (["--teacher-device", "cpu"], "a model as teacher"),
        (["--weigh", "agreement"], "several teachers"),
        (["--model", "scratch:tiny"], "tokenizer of its own"),
        (["--packing", "--packing-strategy", "wrapped"], "whole rows"),
    ],
)
def test_what_servers_cannot_do_is_refused_before_they_are_asked(
    data, tmp_path, more, word
):
    with scoring(tiny.other()) as server:
        by_url = ["--teacher-url", server.url]
        said = distilled(data, tmp_path, *by_url, *more, wanted=2)
        assert word in said
        assert server.bodies == []


def test_settings_of_a_server_without_one_are_refused(data, tmp_path):
    more = ["--teacher", tiny.other(), "--budget", 1]
    assert "no --teacher-url" in distilled(data, tmp_path, *more, wanted=2)


def test_the_log_says_how_near_texts_are_to_the_teacher(data, tmp_path):
    own = ["--on-policy", 1, "--new-tokens", 5, "--completions", 2]
    with scoring(tiny.other()) as server:
        by_url = ["--teacher-url", server.url, "--logging-steps", 1]
        said = distilled(
            data, tmp_path, "--max-steps", 1, "--disable-tqdm", *by_url, *own
        )
        # Eight rows a batch, two texts to each.
        assert len(calls(server)) == 1 + 16
    assert "'teacher_overlap': '" in said
    assert "'gap_to_teacher': '" in said


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--teacher", "m", "--student", "s"], "one source"),
        (["--teacher-url", "http://127.0.0.1:1/v1"], "one source"),
        (["--replies", "f", "--student", "s", *["--teacher-prompt", "x{{y}}"]], "the pack"),
        (["--replies", "f", "--student", "s", "--teacher-gguf", "g"], "no --teacher"),
        (["--teacher", "m", "--teacher-prompt", "{{ gold }}"], "'gold'"),
        (["--teacher", "m", "--teacher-bits", 4, "--teacher-gguf", "g"], "rounded already"),
    ],
)  # fmt: skip
def test_what_teaching_cannot_use_is_refused(data, tmp_path, more, word):
    code, said = finetune("teach", "--data", data, "--output", tmp_path, *more)
    assert code == 2
    assert word in said


@pytest.mark.long
def test_two_processes_ask_once_and_have_the_loss_of_one(data, tmp_path):
    command = [sys.executable, "-m", "finetune.cli", "distill"]
    command += ["--data", data, "--model", tiny.causal()]
    with scoring(tiny.other()) as server:
        by_url = [*STILL, "--teacher-url", server.url, "--teacher-k", 400]
        both = ["--processes", 2, "--per-device-train-batch-size", 4]
        words = [*command, "--output", tmp_path / "two", *by_url, *both]
        subprocess.run([str(word) for word in words], check=True)
        assert len(calls(server)) == 1 + 8
        distilled(data, tmp_path / "one", *by_url, *WHOLE)
    one, two = (loss_in(tmp_path / name) for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-4)
