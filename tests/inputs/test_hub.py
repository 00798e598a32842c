"""A hub that does not answer is tried once: what it should have brought is said at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web
from huggingface_hub import constants, is_offline_mode

import finetune
from synth.inputs import hub
from tests.conftest import hosted, rest_long, write

ROOT = Path(finetune.__file__).parent.parent


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """As it is where nobody said that there is no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub._answers.cache_clear()
    yield
    hub._answers.cache_clear()


def closed() -> str:
    """The address of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def app(seen):
    async def handle(request):
        seen.append(request.path)
        return web.Response(status=404)

    made = web.Application()
    made.router.add_route("*", "/{path:.*}", handle)
    return made


def test_a_hub_that_answers_is_asked_on(monkeypatch):
    seen = []
    with hosted(lambda: app(seen)) as port:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        hub.settle_hub("nobody/nothing")
        hub.settle_hub("nobody/else")
    assert not is_offline_mode()
    # Once for all names.
    assert seen == ["/"]


def test_one_that_does_not_is_not_asked_again(monkeypatch, capsys):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", closed())
    hub.settle_hub("nobody/nothing")
    hub.settle_hub("nobody/else")
    assert is_offline_mode()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert datasets.config.HF_HUB_OFFLINE
    assert capsys.readouterr().err.count("does not answer") == 1


def test_nobody_is_asked_for_what_lies_here(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", closed())
    hub.settle_hub(str(tmp_path))
    assert not is_offline_mode()


def refused(folder, module, *words):
    """What a command says without a network."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": closed(),
        "HF_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "does not answer" in done.stderr
    assert "Retry" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "words",
    rest_long(
        [
            (
                (
                    "evaluate-retriever",
                    "--data",
                    "rows.jsonl",
                    "--output",
                    "out",
                ),
            ),
            (("critic", "--data", "judged.jsonl", "--output", "out"),),
            (("sft", "--data", "sums.jsonl", "--output", "out"),),
        ]
    ),
)
def test_commands_say_it_without_trying_again(tmp_path, words):
    write(tmp_path / "rows.jsonl", [{"query": "a", "positive": "b"}])
    write(tmp_path / "sums.jsonl", [{"prompt": "a", "completion": "b"}])
    whole = {"question": "q", "rationale": "r", "answer": "a"}
    judged = [{**whole, "is_correct": n % 2 == 0} for n in range(8)]
    write(tmp_path / "judged.jsonl", judged)
    said = refused(
        tmp_path, "finetune.cli", *words, "--model", "nobody/nothing"
    )
    assert "--model nobody/nothing: found no model" in said


@pytest.mark.parametrize(
    "words",
    [
        ("filter", "--filter", "length", "--input", "nobody/nothing"),
        ("run", "cot", "--teacher", "simulated/mixed", "--input", "nobody/nothing"),
    ],
)  # fmt: skip
def test_rows_of_the_hub_are_asked_for_once(tmp_path, words):
    began = time.monotonic()
    out = tmp_path / "o.jsonl"
    said = refused(tmp_path, "synth.cli", *words, "--output", str(out))
    assert "nobody/nothing: found neither a file nor a dataset" in said
    # Without it the library tries again for over a minute.
    assert time.monotonic() - began < 30
