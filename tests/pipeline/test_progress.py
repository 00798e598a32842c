"""What a run shows: a panel on a terminal, lines elsewhere, nothing when quiet."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

import synth.pipeline.progress as progress_module
from synth.cli import main
from synth.pipeline.prepare import RunConfig, prepare
from synth.pipeline.progress import Board, progress
from synth.pipeline.run import start
from tests.conftest import chat, serving, write

WORDS = (
    "seeds",
    "kept",
    "dropped",
    "failed",
    "calls",
    "tokens",
    "spent",
    "time left",
    "last error",
)


def prepared(tmp_path, server, **options):
    rows = [{"question": f"{n}", "target": str(n % 2)} for n in range(40)]
    config = RunConfig(
        teachers={"teacher": "openai/m"},
        api_base=server.url,
        price="1,1",
        **options,
    )
    return prepare("cot", rows, tmp_path / "out", config)


async def answer(body, count):
    from aiohttp import web

    await asyncio.sleep(0.01)
    if count == 5:
        return web.Response(
            status=400, text='{"error": {"message": "too [long]"}}'
        )
    return chat("It is so.\n#### 1")


def test_the_board_says_everything_worth_knowing(tmp_path):
    with serving(answer) as server:
        run = prepared(tmp_path, server, budget=1.0)
        board = Board(run)
        run.on_row = board.on_row
        board.rates()
        start(run)
    facts = board.facts()
    assert [word for word in WORDS if word not in facts] == []
    assert facts["seeds"] == "40 of 40"
    assert "wrong_answer" in facts["dropped"]
    assert facts["failed"] == "bad_request 1"
    assert "too [long]" in facts["last error"]
    assert "of $1.00" in facts["spent"]
    assert facts["calls"].startswith("0 in flight, 40 asked")


@pytest.mark.parametrize(
    ("quiet", "every"), [(True, 0.0), (False, 0.0), (False, 60.0)]
)
def test_elsewhere_than_on_a_terminal_there_are_plain_lines_now_and_then(
    tmp_path, monkeypatch, quiet, every
):
    monkeypatch.setattr(progress_module, "PLAIN_EVERY", every)
    out = io.StringIO()
    with serving(answer) as server:
        run = prepared(tmp_path, server)
        with progress(run, quiet=quiet, stream=out):
            start(run)
    lines = out.getvalue().splitlines()
    assert len(lines) == (40 if not quiet and not every else 0)
    assert all("\x1b" not in line and "kept: " in line for line in lines)


def test_verbose_says_how_each_row_left_and_which_calls_brought_nothing(
    tmp_path,
):
    async def busy_at_first(body, count):
        from aiohttp import web

        if count == 3:
            return web.Response(
                status=503, text='{"error": {"message": "\x1b[31mbusy"}}'
            )
        return await answer(body, count)

    out = io.StringIO()
    with serving(busy_at_first) as server:
        run = prepared(tmp_path, server)
        with progress(run, verbose=True, stream=out):
            done = start(run)
    lines = out.getvalue().splitlines()
    left = [line for line in lines if "no reply" not in line]
    assert len(left) == done.counts["asked"] == 40
    for kind in ("kept", "dropped wrong_answer", "failed bad_request"):
        assert any(f", draw 0: {kind}" in line for line in left), kind
    assert all(
        "reply: It is so. #### 1" in line
        for line in left
        if "failed" not in line
    )
    faults = [line for line in lines if "no reply" in line]
    assert any("step rationale" in line and "busy" in line for line in faults)
    assert any("too [long]" in line for line in faults)
    assert "\x1b" not in out.getvalue()


def test_quiet_and_verbose_exclude_each_other(tmp_path):
    source = write(tmp_path / "in.jsonl", [{"question": "1"}])
    words = ["run", "cot", "--input", str(source), "--output", str(tmp_path)]
    asked = ["--teacher", "simulated/cot", "--quiet", "--verbose"]
    result = CliRunner().invoke(main, [*words, *asked])
    assert result.exit_code == 2
    assert "give one of them" in result.output


def test_a_terminal_shows_a_panel_and_leaves_the_tally(tmp_path):
    source = write(
        tmp_path / "in.jsonl", [{"question": str(n)} for n in range(60)]
    )

    async def slow(body, count):
        await asyncio.sleep(0.3)
        return chat("It is so.\n#### 1")

    with serving(slow) as server:
        words = [
            sys.executable,
            "-m",
            "synth.cli",
            "run",
            "cot",
            "--input",
            source,
            "--output",
            tmp_path / "out",
            "--teacher",
            "openai/m",
        ]
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [*words, "--api-base", server.url],
            stdout=subprocess.PIPE,
            stderr=follower,
        )
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            shown += part
        said = process.communicate()[0]
    assert process.returncode == 0
    assert b"in flight" in shown
    assert b"time left" in shown
    assert b"| kept | | 60 |" in said
