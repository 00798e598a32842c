"""Batches against a server with OpenAI's files and batches: whole, partial, expired, lost answers, crashes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from unittest import mock

import pytest

import synth
from synth.calls.journal import records
from synth.calls.price import price_of
from synth.core.errors import WrongUse
from synth.teachers import batch as batch_module
from synth.teachers.base import BATCHED
from synth.teachers.batches import anthropic, exchange
from synth.teachers.wire.batch_log import BatchLog
from tests.conftest import rest_long, write
from tests.teachers.batch_servers import (
    KEY,
    Anthropic,
    Gemini,
    OpenAI,
    provider,
    question_in,
)
from tests.teachers.batch_servers import (
    PROTOCOLS as OTHERS,
)
from tests.teachers.vertex_server import Vertex

PROTOCOLS = (*OTHERS, Vertex)

EACH = pytest.mark.parametrize(
    "kind", rest_long(PROTOCOLS), ids=lambda kind: kind.__name__
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batch_module, "POLL", (0.02, 0.05))
    monkeypatch.setattr(batch_module, "QUIET", 0.05)
    monkeypatch.setattr(exchange, "PAUSE", (0.01, 0.02))
    monkeypatch.setattr(anthropic, "LOOK", 0.02)


def _plain(body):
    return {key: value for key, value in body.items() if key != "model"}


def _texts(body):
    """The first line of the last message, as one of a list."""
    messages = body.get("messages") or body.get("contents")
    content = messages[-1].get("content") or messages[-1]["parts"]
    return [question_in(content)]


ROWS = [{"question": str(n)} for n in range(40)]


def run(output, server, rows=ROWS, **options):
    told = {"batch": True, **server.options, **options}
    if not told["batch"]:
        told = {k: v for k, v in told.items() if k not in server.options}
    with mock.patch.dict(os.environ, server.environment):
        return synth.run(
            "cot",
            rows,
            teacher=server.teacher,
            output=output,
            api_base={"teacher": server.url},
            **told,
        )


@pytest.mark.parametrize(
    "kind", rest_long(PROTOCOLS, 2), ids=lambda kind: kind.__name__
)
def test_a_batch_brings_what_the_same_requests_bring_online(tmp_path, kind):
    with provider(kind) as server:
        done = run(tmp_path / "a", server)
        again = run(tmp_path / "a", server)
        online = (
            run(tmp_path / "b", server, batch=False)
            if kind.has_online
            else None
        )
    assert done.counts["kept"] == 40
    assert [r["answer"] for r in done.kept] == [r["question"] for r in ROWS]
    assert len(server.batches) == 1
    assert again.info["calls"] == {"asked": 0, "reused": 40, "retried": 0}
    assert not BatchLog(tmp_path / "a" / "journal").pending()
    questions = {line[1]: line[2] for line in server.batches["batch-0000"]["lines"]}  # fmt: skip
    assert questions.keys() == {row["question"] for row in ROWS}
    if online:
        assert [r["meta"]["key"] for r in online.kept] == [
            r["meta"]["key"] for r in done.kept
        ]
        # Byte for byte what goes out online, but for the model's name where the batch says it.
        assert _plain(questions["0"]) == _plain(
            next(b for b in server.online if "0" in _texts(b))
        )
    assert server.keys == ({""} if kind is OpenAI else {KEY})
    held = (tmp_path / "a").rglob("*")
    assert not any(KEY.encode() in p.read_bytes() for p in held if p.is_file())


def test_files_keep_to_the_providers_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_module, "MOST_REQUESTS", 15)
    with provider() as server:
        assert run(tmp_path, server).counts["kept"] == 40
        sizes = [
            len(server.files[b["input_file_id"]].splitlines())
            for b in server.batches.values()
        ]
    assert max(sizes) <= 15
    assert sum(sizes) == 40
    monkeypatch.setattr(batch_module, "MOST_BYTES", 2000)
    with provider() as server:
        assert run(tmp_path / "bytes", server).counts["kept"] == 40
        assert all(
            len(server.files[b["input_file_id"]]) <= 2000
            for b in server.batches.values()
        )


@EACH
def test_errors_and_expiry_fail_their_rows_and_the_rest_is_kept(
    tmp_path, kind, monkeypatch
):
    monkeypatch.setattr(batch_module, "QUIET", 0.4)
    fates = {3: 400, 5: "expired", 7: "missing", 9: 500}

    def fate(number):
        found = fates.get(number, "ok")
        again = len(server.batches) > 1
        return "ok" if found in ("missing", 500) and again else found

    with provider(kind, fate=fate) as server:
        # Anthropic's batches end in one way; a request says that it came too late.
        server.end = "completed" if kind is Anthropic else "expired"
        done = run(tmp_path, server)
        assert done.exit_code == 3
        missed = kind is not Anthropic
        assert done.counts["kept"] == 38 - missed
        assert done.counts["failed"] == {
            "bad_request": 1,
            "expired": 1 + missed,
        }
        # What the provider could not do for a moment went into a second batch.
        assert len(server.batches) >= 2
        later = run(tmp_path, server, batch=not kind.has_online)
        assert later.counts["kept"] == 40
        if kind.has_online:
            assert len(server.online) == 2 + missed
        assert set(server.asked.values()) == {1, 2}


def test_a_reply_asked_anew_while_its_batch_is_read_keeps_its_own_end(
    tmp_path, monkeypatch
):
    """Reading takes longer than the pause before another try: what the rest of the batch meets is
    none of its business.
    """
    real = batch_module.Batch._take

    async def slowly(self, key, outcome):
        await real(self, key, outcome)
        await asyncio.sleep(0.2)

    monkeypatch.setattr(batch_module.Batch, "_take", slowly)

    def fate(number):
        return 500 if number == 9 and len(server.batches) == 1 else "ok"

    with provider(fate=fate) as server:
        server.end = "expired"
        done = run(tmp_path, server, ROWS[:10])
        assert done.counts["kept"] == 10


def test_lines_that_say_what_a_model_refuses_go_into_another_batch(tmp_path):
    with provider() as server:
        server.refuses = "max_tokens"
        done = run(tmp_path, server)
        assert (done.exit_code, done.counts["kept"], len(server.batches)) == (
            0,
            40,
            2,
        )
        assert "max_tokens" in done.info["adapted"]["openai/m"]
        lines = server.batches["batch-0001"]["lines"]
        assert all("max_completion_tokens" in body for _, _, body in lines)
        assert {question for _, question, _ in lines} == set(server.asked)


@pytest.mark.parametrize("kind", rest_long([Anthropic, Gemini]))
def test_what_another_protocols_model_refuses_is_left_out(tmp_path, kind):
    with provider(kind) as server:
        server.refuses = "temperature"
        done = run(
            tmp_path, server, overrides={"rationale.sampling.temperature": 0.5}
        )
        assert (done.exit_code, done.counts["kept"]) == (0, 40)
        assert "temperature" in done.info["adapted"][server.teacher]
        bodies = [body for _, _, body in server.batches["batch-0001"]["lines"]]
        assert all("temperature" not in json.dumps(b) for b in bodies)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("invalid_model", "batch"), ("token_limit_exceeded", None)],
)
@pytest.mark.parametrize("protocol", rest_long([OpenAI, Gemini]))
def test_a_batch_that_is_turned_down(tmp_path, reason, kind, protocol):
    if protocol is Gemini and kind is None:
        reason = "RESOURCE_EXHAUSTED"
    with provider(protocol) as server:
        server.end, server.reason = "failed", reason

        def better():
            if len(server.batches) == 1:
                server.end = "completed"

        server.before_create = better
        done = run(tmp_path, server)
    assert (done.exit_code == 5) == (kind == "batch")
    assert done.counts["kept"] == (0 if kind else 40)


@EACH
def test_a_lost_answer_to_create_makes_no_second_batch(tmp_path, kind):
    with provider(kind) as server:
        server.after_create = 502
        assert run(tmp_path, server).counts["kept"] == 40
        assert len(server.batches) == 1


CHILD = """
import json, os, sys, synth
from synth.teachers import batch
from synth.teachers.batches import anthropic, exchange
from synth.teachers.wire import batch_log
batch.POLL, batch.QUIET = (0.02, 0.05), 0.05
exchange.PAUSE, anthropic.LOOK = (0.01, 0.02), 0.02
stage, teacher, url, output = sys.argv[1:]
def die(*_): os.kill(os.getpid(), 9)
def before(owner, name, moment=1, counted=[0]):
    real = getattr(owner, name)
    def counting(*a, **k):
        counted[0] += 1
        if counted[0] == moment: die()
        return real(*a, **k)
    setattr(owner, name, counting)
Log = batch_log.BatchLog
if stage == "before upload":
    real = Log.intent
    Log.intent = lambda *a: (real(*a), die())
if stage == "before create":
    real = Log.prepared
    Log.prepared = lambda *a: (real(*a), die())
if stage == "before created":
    Log.created = die
if stage == "before collecting":
    batch.Batch._take = die
if stage == "before done":
    Log.done = die
if stage.isdecimal():
    # One counter over all that reaches the disk or the provider.
    for owner, name in ((Log, "_append"), (exchange.Exchange, "raw"), (exchange.Exchange, "_answer"), (exchange.Exchange, "_download"), (batch.Batch, "_settle")):
        before(owner, name, int(stage))
rows = [{"question": str(n)} for n in range(40)]
told = json.loads(os.environ["TOLD"])
done = synth.run("cot", rows, teacher=teacher, output=output, api_base={"teacher": url}, batch=True, budget=1.0, price="1,1", **told)
assert done.counts["kept"] == 40
"""


def killed(server, output, stage):
    """The exit code of a run that ends itself at a stage."""
    words = [sys.executable, "-c", CHILD, str(stage)]
    words += [server.teacher, server.url, str(output)]
    told = {"OPENAI_API_KEY": "k", "TOLD": json.dumps(server.options)}
    env = {**os.environ, **told, **server.environment}
    return subprocess.run(words, env=env, check=False).returncode


@pytest.mark.parametrize(
    "stage",
    rest_long(
        f"before {stage}"
        for stage in ("created", "upload", "create", "collecting", "done")
    ),
)
@pytest.mark.parametrize("then", rest_long(("batch", "online", "fewer rows")))
@pytest.mark.parametrize(
    "kind", rest_long(PROTOCOLS), ids=lambda kind: kind.__name__
)
def test_a_crash_neither_orphans_nor_doubles_a_batch(
    tmp_path, stage, then, kind
):
    if then == "online" and not kind.has_online:
        pytest.skip("asked in batches alone")
    with provider(kind) as server:
        died = killed(server, tmp_path / "out", stage)
        assert died == -signal.SIGKILL
        rows = ROWS[:10] if then == "fewer rows" else ROWS
        done = run(
            tmp_path / "out",
            server,
            rows,
            batch=then != "online",
            budget=1.0,
            price="1,1",
        )
        assert done.counts["kept"] == len(rows), (
            done.counts,
            [row["detail"] for row in done.failed[:2]],
        )
        assert set(server.asked.values()) <= {1}
        early = stage in ("before upload", "before create")
        assert len(server.asked) + len(server.online) == (
            10 if then == "fewer rows" and early else 40
        )
        held = Counter(key for key, _ in records(tmp_path / "out" / "journal"))
        assert set(held.values()) == {1}
        assert len(server.asked) <= len(held)
        assert not BatchLog(tmp_path / "out" / "journal").pending()
        cost = price_of("x/y", "1,1").cost
        assert done.info["cost"]["usd"] == pytest.approx(
            len(held) * (11 + 7) / 1e6
        )
        assert cost


@pytest.mark.long
@pytest.mark.parametrize("kind", PROTOCOLS, ids=lambda kind: kind.__name__)
def test_kills_at_any_moment_ask_nothing_twice(tmp_path, kind):
    """Each run is killed at another of the first 40 moments; the last one is left alone."""
    chance = random.Random(kind.__name__)
    moments = sorted(chance.sample(range(1, 41), 10), reverse=True)
    with provider(kind) as server:
        ends = [killed(server, tmp_path / "out", m) for m in moments]
        assert ends[0] == -signal.SIGKILL
        assert run(tmp_path / "out", server).counts["kept"] == 40
        assert len(server.asked) == 40
        assert set(server.asked.values()) == {1}
        held = Counter(key for key, _ in records(tmp_path / "out" / "journal"))
        assert set(held.values()) == {1}
        assert not BatchLog(tmp_path / "out" / "journal").pending()


@pytest.mark.long
def test_ctrl_c_leaves_the_batch_to_the_next_run(tmp_path):
    source = write(tmp_path / "in.jsonl", ROWS)
    with provider(polls=10**9) as server:
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
        words += ["--api-base", server.url, "--batch"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while not server.batches:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        info = json.loads((tmp_path / "out" / "run.json").read_text())
        assert info["counts"]["failed"] == {"under_way": 40}
        server.polls = 0
        assert run(tmp_path / "out", server, source).counts["kept"] == 40
        assert len(server.batches) == 1


def test_only_providers_with_batches_take_them(tmp_path):
    assert set(batch_module.SERVICES) == BATCHED
    with pytest.raises(WrongUse, match="a teacher of anthropic, gemini"):
        synth.run(
            "cot",
            ROWS,
            teacher="simulated/perfect",
            output=tmp_path,
            batch=True,
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "batch_bucket: found none"),
        ({"batch_bucket": "mine/runs"}, "folder of Google's storage"),
        ({"batch_bucket": "gs://mine", "batch": False}, "no batch"),
        (
            {"batch_bucket": "gs://mine", "teacher": "gemini/gemini-2.5-flash"},
            "teacher vertex_ai/gemini",
        ),
        (
            {"batch_bucket": "gs://mine", "teacher": "vertex_ai/claude-opus-4"},
            "another maker's model",
        ),
        ({"batch_bucket": "gs://mine"}, "no project"),
    ],
)
def test_a_bucket_is_looked_at_before_anything_is_asked(
    tmp_path, monkeypatch, options, said
):
    for name in ("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    told = {"teacher": Vertex.teacher, "batch": True, **options}
    with pytest.raises(WrongUse, match=said):
        synth.run("cot", ROWS, output=tmp_path, **told)


def test_an_old_token_stops_the_run_which_goes_on_with_a_new_one(tmp_path):
    with provider(Vertex) as server:
        server.refused = True
        stopped = run(tmp_path, server)
        assert stopped.exit_code == 5
        server.refused = False
        assert run(tmp_path, server).counts["kept"] == 40
        assert set(server.asked.values()) == {1}
