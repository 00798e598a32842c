"""`distill --on-policy` and `grpo` whose texts a loopback server writes that loads the student's weights, end to end."""

from __future__ import annotations

import json
import shutil

import pytest

from tests import tiny
from tests.conftest import write
from tests.finetune.recipes.test_grpo import (
    QUESTIONS,
    STEPS,
    undecided,  # noqa: F401 - a fixture
)
from tests.finetune.rollouts.loading import loading
from tests.finetune.test_train import finetune

QUIET = ["--disable-tqdm", "--logging-steps", 1, "--learning-rate", "1e-3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows = [
        {"prompt": f"What is {n} + {n} ?\n", "completion": f"it is a {fact}"}
        for n, fact in enumerate(tiny.FACTS)
    ]
    return write(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows)


def distilled(data, output, *more, wanted=0):
    code, said = finetune(
        *("distill", "--data", data, "--model", tiny.causal()),
        *("--output", output, "--teacher", tiny.other()),
        *("--on-policy", 1, "--new-tokens", 6, *QUIET, *more),
    )
    assert code == wanted, said
    return said


def info_in(output):
    return json.loads((output / "train.json").read_text())


@pytest.mark.parametrize(
    ("style", "lora"), [("vllm", ()), ("sglang-lora", ("--lora",))]
)
def test_a_student_learns_from_texts_that_a_server_writes(
    data, tmp_path, style, lora
):
    with loading(style, tiny.causal()) as server:
        said = distilled(
            data,
            tmp_path / "out",
            *("--rollout-url", server.url, "--max-steps", 4, *lora),
            *("--reload-every", 2, "--per-device-train-batch-size", 2),
            *("--completions", 2),
        )
    found = info_in(tmp_path / "out")["rollouts"]
    assert found["texts"] == 4 * 2 * 2
    assert (found["loads"], found["oldest"], found["mean_age"]) == (2, 1, 0.5)
    assert "weights 0.5 steps old on average" in said
    # Two probes come from each row, and are asked again after each load but the first.
    assert len(set(server.wrote)) == 2
    assert not (tmp_path / "out" / "rollouts").exists()
    logged = (tmp_path / "out" / "trainer_state.json").read_text()
    ages = [
        one["weights_age"]
        for one in json.loads(logged)["log_history"]
        if "weights_age" in one
    ]
    assert ages == [0, 1, 0, 1]


@pytest.mark.long
def test_a_training_that_goes_on_gives_the_weights_of_its_checkpoint(
    data, tmp_path
):
    options = [*("--save-steps", 2, "--save-strategy", "steps", "--correct")]
    with loading("vllm", tiny.causal()) as server:
        more = ["--rollout-url", server.url, *options]
        distilled(data, tmp_path / "out", *more, "--max-steps", 2)
        server.restart()
        before = len(server.loads)
        distilled(data, tmp_path / "out", *more, "--max-steps", 4, "--resume")
        assert [path.rsplit("-", 1)[1] for path in server.loads[before:]] == [
            *("2", "3")
        ]
    assert info_in(tmp_path / "out")["resumed_at"] == 2


def test_a_server_that_refuses_ends_the_command_before_the_first_step(
    data, tmp_path
):
    with loading("vllm", tiny.causal()) as server:
        server.refuses = True
        more = ["--rollout-url", server.url, "--max-steps", 1]
        said = distilled(data, tmp_path / "out", *more, wanted=2)
    assert "no room for it" in said
    assert not server.wrote


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--teacher-share", "0.2"], "--teacher-share 0.2"),
        (["--loss", "minillm", "--reload-every", "2"], "--loss minillm"),
        (["--on-policy", "0"], "no --on-policy"),
        (["--staleness", "0", "--reload-every", "3"], "--staleness 0"),
        (["--model", "scratch:tiny"], "--model scratch:tiny"),
        (["--reload-command", "x"], "--reload-command"),
    ],
)
def test_what_does_not_go_together_is_said_before_anybody_is_asked(
    data, tmp_path, more, named
):
    more = ["--rollout-url", "http://127.0.0.1:9/v1", *more]
    assert named in distilled(data, tmp_path / "out", *more, wanted=2)


def test_settings_of_a_server_need_one(data, tmp_path):
    said = distilled(data, tmp_path / "out", "--staleness", 1, wanted=2)
    assert "no --rollout-url" in said


@pytest.mark.long
def test_what_is_right_becomes_likelier_with_texts_of_a_server(
    undecided,  # noqa: F811 - the fixture
    tmp_path,
):
    """Of weights up to a step old, whose probabilities are the old ones of the ratio."""
    data = write(tmp_path / "questions.jsonl", QUESTIONS)
    start = tmp_path / "start"
    shutil.copytree(undecided, start)
    with loading("vllm", str(start)) as server:
        code, said = finetune(
            *("grpo", "--data", data, "--model", start),
            *("--output", tmp_path / "out", *STEPS),
            *("--reward", "answer_match", "--rollout-url", server.url),
            *("--reload-every", 2),
        )
    assert code == 0, said
    info = info_in(tmp_path / "out")
    course = info["rewards"]["answer_match"]
    assert 0.2 < course["first"] < 0.8
    assert course["last"] > 0.85
    assert info["rollouts"]["texts"] == 12 * 16
    assert info["rollouts"]["oldest"] == 1
    assert info["rollouts"]["loads"] == 6


def test_the_ratio_is_to_the_probabilities_that_the_server_tells(
    undecided,  # noqa: F811 - the fixture
    tmp_path,
):
    """A server that says 0.3 nats too much: every ratio is 0.74, which is clipped where a text earned less than the others."""
    data = write(tmp_path / "questions.jsonl", QUESTIONS)
    clipped = []
    for lies in (0.0, 0.3):
        with loading("vllm", str(undecided)) as server:
            server.lies = lies
            code, said = finetune(
                *("grpo", "--data", data, "--model", undecided),
                *("--output", tmp_path / f"{lies}", *STEPS),
                *("--reward", "answer_match", "--rollout-url", server.url),
                *("--max-steps", 1, "--logging-strategy", "steps"),
                *("--logging-steps", 1),
            )
        assert code == 0, said
        logged = (tmp_path / f"{lies}" / "trainer_state.json").read_text()
        first = json.loads(logged)["log_history"][0]
        clipped.append(first["clip_ratio/low_mean"])
    assert clipped[0] == 0
    assert clipped[1] > 0.2


def test_grpo_needs_probabilities_as_its_tokens_are_drawn(tmp_path):
    data = write(tmp_path / "questions.jsonl", QUESTIONS)
    code, said = finetune(
        *("grpo", "--data", data, "--model", tiny.causal()),
        *("--output", tmp_path / "out", *STEPS, "--reward", "answer_match"),
        *("--rollout-url", "http://127.0.0.1:9/v1", "--temperature", "0.7"),
    )
    assert code == 2
    assert "--temperature 0.7" in said
