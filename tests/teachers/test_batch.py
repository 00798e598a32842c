"""Batches against a server with OpenAI's files and batches: whole, partial, expired, lost answers, crashes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest
from aiohttp import web

import synth
from synth.calls.journal import records
from synth.calls.price import price_of
from synth.core.errors import WrongUse
from synth.teachers import batch as batch_module
from synth.teachers.wire.batch_log import BatchLog
from tests.conftest import chat, write


class Provider:
    """Files and batches in memory. `fate` says what becomes of a line; `polls` how often a batch is looked at before it ends."""

    def __init__(self, fate=lambda line: "ok", polls=1):
        self.fate, self.polls, self.port = fate, polls, 0
        self.files, self.batches, self.asked, self.online = (
            {},
            {},
            Counter(),
            [],
        )
        self.before_create = self.after_create = None
        self.end, self.reason, self.refuses = "completed", None, ""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    async def upload(self, request):
        form = await request.post()
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()
        assert form["purpose"] == "batch"
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": 1,
                "created_at": 1,
                "filename": "x",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def create(self, request):
        body = await request.json()
        if self.before_create:
            self.before_create()
        made = {
            "id": f"batch-{len(self.batches)}", "object": "batch", "endpoint": body["endpoint"], "completion_window": "24h", "created_at": 1,
            "input_file_id": body["input_file_id"], "metadata": body["metadata"], "status": "in_progress", "looks": 0,
        }  # fmt: skip
        self.batches[made["id"]] = made
        for line in self.files[body["input_file_id"]].splitlines():
            self.asked[json.loads(line)["custom_id"]] += 1
        if self.after_create:
            status, self.after_create = self.after_create, None
            return web.Response(status=status)
        return web.json_response(made)

    async def retrieve(self, request):
        found = self.batches[request.match_info["id"]]
        found["looks"] += 1
        if found["status"] == "in_progress" and found["looks"] > self.polls:
            self.finish(found, self.end)
        return web.json_response(found)

    async def cancel(self, request):
        found = self.batches[request.match_info["id"]]
        if found["status"] == "in_progress":
            self.finish(found, "cancelled")
        return web.json_response(found)

    def finish(self, batch, status):
        outputs, errors = [], []
        for number, raw in enumerate(
            self.files[batch["input_file_id"]].splitlines()
        ):
            line = json.loads(raw)
            fate = self.fate(number)
            if status == "failed" or fate == "missing":
                continue
            record = {
                "id": f"r{number}",
                "custom_id": line["custom_id"],
                "response": None,
                "error": None,
            }
            if self.refuses in line["body"]:
                words = f"Unsupported parameter: '{self.refuses}' is not supported with this model."
                said = {
                    "error": {
                        "message": words,
                        "param": self.refuses,
                        "code": "unsupported_parameter",
                    }
                }
                record["response"] = {
                    "status_code": 400,
                    "request_id": "q",
                    "body": said,
                }
                errors.append(record)
            elif fate == "ok":
                question = line["body"]["messages"][-1]["content"].split(
                    "\n", 1
                )[0]
                record["response"] = {
                    "status_code": 200,
                    "request_id": "q",
                    "body": chat(f"so {question}\n#### {question}"),
                }
                outputs.append(record)
            elif isinstance(fate, int):
                record["response"] = {
                    "status_code": fate,
                    "request_id": "q",
                    "body": {"error": {"message": "no", "code": "x"}},
                }
                errors.append(record)
            else:
                record["error"] = {"code": fate, "message": "too late"}
                errors.append(record)
        batch["status"] = status
        for kind, found in (
            ("output_file_id", outputs),
            ("error_file_id", errors),
        ):
            if found:
                batch[kind] = f"file-{len(self.files)}"
                self.files[batch[kind]] = (
                    b"\n".join(json.dumps(r).encode() for r in reversed(found))
                    + b"\n"
                )
        if status == "failed":
            batch["errors"] = {
                "object": "list",
                "data": [
                    {
                        "code": self.reason,
                        "message": "why",
                        "line": None,
                        "param": None,
                    }
                ],
            }

    async def listing(self, request):
        found = sorted(
            self.batches.values(), key=lambda b: b["id"], reverse=True
        )
        return web.json_response(
            {"object": "list", "data": found, "has_more": False}
        )

    async def content(self, request):
        return web.Response(body=self.files[request.match_info["id"]])

    async def chat(self, request):
        self.online.append(await request.json())
        question = self.online[-1]["messages"][-1]["content"].split("\n", 1)[0]
        return web.json_response(chat(f"It is so.\n#### {question}"))


@contextmanager
def provider(**how):
    found, ready, loop = (
        Provider(**how),
        threading.Event(),
        asyncio.new_event_loop(),
    )

    async def start():
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/files", found.upload)
        app.router.add_get("/v1/files/{id}/content", found.content)
        app.router.add_post("/v1/batches", found.create)
        app.router.add_get("/v1/batches", found.listing)
        app.router.add_get("/v1/batches/{id}", found.retrieve)
        app.router.add_post("/v1/batches/{id}/cancel", found.cancel)
        app.router.add_post("/v1/chat/completions", found.chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.port = runner.addresses[0][1]
        ready.set()

    def work():
        loop.run_until_complete(start())
        loop.run_forever()

    threading.Thread(target=work, daemon=True).start()
    assert ready.wait(10)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batch_module, "POLL", (0.02, 0.05))
    monkeypatch.setattr(batch_module, "QUIET", 0.05)


ROWS = [{"question": str(n)} for n in range(40)]


def run(output, server, rows=ROWS, **options):
    return synth.run(
        "cot",
        rows,
        teacher="openai/m",
        output=output,
        api_base=server.url,
        **{"batch": True, **options},
    )


def test_a_batch_brings_what_the_same_requests_bring_online(tmp_path):
    with provider() as server:
        done = run(tmp_path / "a", server)
        again = run(tmp_path / "a", server)
        online = run(tmp_path / "b", server, batch=False)
    assert done.counts["kept"] == 40
    assert [r["answer"] for r in done.kept] == [r["question"] for r in ROWS]
    assert len(server.batches) == 1
    assert again.info["calls"] == {"asked": 0, "reused": 40, "retried": 0}
    assert [r["meta"]["key"] for r in online.kept] == [
        r["meta"]["key"] for r in done.kept
    ]
    assert not BatchLog(tmp_path / "a" / "journal").pending()


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


def test_errors_and_expiry_fail_their_rows_and_the_rest_is_kept(tmp_path):
    fates = {3: 400, 5: "batch_expired", 7: "missing", 9: 500}
    once = Counter()

    def fate(number):
        found = fates.get(number, "ok")
        once[number] += 1
        return "ok" if found in ("missing", 500) and once[number] > 1 else found

    with provider(fate=fate) as server:
        server.end = "expired"
        done = run(tmp_path, server)
        assert done.exit_code == 3
        assert done.counts["kept"] == 37
        assert done.counts["failed"] == {"bad_request": 1, "expired": 2}
        assert (
            len(server.batches) == 2
        )  # what the provider could not do for a moment went into a second batch
        later = run(tmp_path, server, batch=False)
        assert later.counts["kept"] == 40
        assert len(server.online) == 3
        assert set(server.asked.values()) == {1, 2}


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
        lines = [
            json.loads(line)
            for line in server.files[
                server.batches["batch-1"]["input_file_id"]
            ].splitlines()
        ]
        assert all("max_completion_tokens" in line["body"] for line in lines)
        assert {line["custom_id"] for line in lines} == set(server.asked)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("invalid_model", "batch"), ("token_limit_exceeded", None)],
)
def test_a_batch_that_is_turned_down(tmp_path, reason, kind):
    with provider() as server:
        server.end, server.reason = "failed", reason

        def better():
            if len(server.batches) == 1:
                server.end = "completed"

        server.before_create = better
        done = run(tmp_path, server)
    assert (done.exit_code == 5) == (kind == "batch")
    assert done.counts["kept"] == (0 if kind else 40)


def test_a_lost_answer_to_create_makes_no_second_batch(tmp_path):
    with provider() as server:
        server.after_create = 502
        assert run(tmp_path, server).counts["kept"] == 40
        assert len(server.batches) == 1


CHILD = """
import os, sys, synth
from synth.teachers import batch
from synth.teachers.wire import batch_log
batch.POLL, batch.QUIET = (0.02, 0.05), 0.05
stage, url, output = sys.argv[1:]
def die(*_): os.kill(os.getpid(), 9)
if stage == "before upload":
    real = batch_log.BatchLog.intent
    batch_log.BatchLog.intent = lambda *a: (real(*a), die())
if stage == "before created":
    batch_log.BatchLog.created = die
if stage == "before collecting":
    batch.Batch._collect = die
if stage == "before done":
    batch_log.BatchLog.done = die
rows = [{"question": str(n)} for n in range(40)]
synth.run("cot", rows, teacher="openai/m", output=output, api_base=url, batch=True, budget=1.0, price="1,1")
"""


@pytest.mark.parametrize(
    "stage",
    [
        "before created",
        *(
            pytest.param(f"before {stage}", marks=pytest.mark.long)
            for stage in ("upload", "collecting", "done")
        ),
    ],
)
@pytest.mark.parametrize(
    "then",
    [
        "batch",
        pytest.param("online", marks=pytest.mark.long),
        pytest.param("fewer rows", marks=pytest.mark.long),
    ],
)
def test_a_crash_neither_orphans_nor_doubles_a_batch(tmp_path, stage, then):
    with provider() as server:
        words = [
            sys.executable,
            "-c",
            CHILD,
            stage,
            server.url,
            str(tmp_path / "out"),
        ]
        assert (
            subprocess.run(
                words, env={**os.environ, "OPENAI_API_KEY": "k"}, check=False
            ).returncode
            == -signal.SIGKILL
        )
        rows = ROWS[:10] if then == "fewer rows" else ROWS
        done = run(
            tmp_path / "out",
            server,
            rows,
            batch=then != "online",
            budget=1.0,
            price="1,1",
        )
        assert done.counts["kept"] == len(rows)
        assert set(server.asked.values()) <= {1}
        assert len(server.asked) + len(server.online) == (
            40 if then != "fewer rows" or stage != "before upload" else 10
        )
        held = Counter(key for key, _ in records(tmp_path / "out" / "journal"))
        assert set(held.values()) == {1}
        assert set(server.asked) <= set(held)
        assert not BatchLog(tmp_path / "out" / "journal").pending()
        cost = price_of("x/y", "1,1").cost
        assert done.info["cost"]["usd"] == pytest.approx(
            len(held) * (11 + 7) / 1e6
        )
        assert cost


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


def test_only_openai_endpoints_take_batches(tmp_path):
    with pytest.raises(WrongUse, match="openai/MODEL"):
        synth.run(
            "cot",
            ROWS,
            teacher="simulated/perfect",
            output=tmp_path,
            batch=True,
        )
