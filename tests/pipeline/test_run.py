"""The line as a whole: tally, order, resumption, steps that fan out and walk lists."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import datasets
import pytest

import synth
from synth.calls.journal import records
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import chat, serving, write

STEPS_PACK = {
    "pack.yaml": """
name: two_steps
version: 1
about: Lists parts, solves each, draws conclusions.
inputs: {question: text, target: optional}
steps:
  - name: split
    parser: {name: json_object, keys: {parts: list}}
  - name: solve
    each: {parts: part}
    parser: {name: final_number, into: so_far}
  - name: conclude
    draws: 3
    parser: final_number
    filters: [{name: self_consistency, min_votes: 2}, answer_match]
exports:
  sft: {prompt: "{{ question }}", completion: "{% for s in solve %}{{ s.part }} {{ s.so_far }};{% endfor %} #### {{ answer }}"}
""",
    "split.user.j2": "SPLIT {{ question }}",
    "solve.user.j2": "SOLVE {{ part }} after {% for h in history %}{{ h.so_far }},{% endfor %} of {{ question }}",
    "conclude.user.j2": "CONCLUDE {% for s in solve %}{{ s.so_far }} {% endfor %}",
}


def make_pack(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_steps_fan_out_and_walk_lists(tmp_path):
    seen = []

    def answer(body, count):
        text = body["messages"][-1]["content"]
        seen.append(text)
        if text.startswith("SPLIT"):
            return chat(
                json.dumps({"parts": ["a", "b"]})
                if "bad" not in text
                else "no list"
            )
        if text.startswith("SOLVE"):
            return chat(
                "It is so.\n#### 1" if " a " in text else "It is so.\n#### 2"
            )
        return chat(f"It is so.\n#### {9 if seen.count(text) == 1 else 3}")

    pack = make_pack(tmp_path / "pack", STEPS_PACK)
    rows = [
        {"question": "one", "target": "3"},
        {"question": "bad", "target": "3"},
    ]
    with serving(answer) as server:
        run = synth.run(
            pack,
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
            concurrency=1,
        )
    assert run.counts == {
        "asked": 4,
        "kept": 2,
        "dropped": {"minority_answer": 1, "no_object": 1},
        "failed": {},
    }
    assert "SOLVE b after 1, of one" in seen
    assert run.kept[0]["solve"] == [
        {"part": "a", "rationale": "It is so.", "so_far": "1"},
        {"part": "b", "rationale": "It is so.", "so_far": "2"},
    ]
    assert run.kept[0]["completion"] == "a 1;b 2; #### 3"
    assert [row["meta"]["draw"] for row in run.kept] == [1, 2]


def test_rows_leave_in_input_order_whatever_order_calls_finish_in(tmp_path):
    rng = random.Random(1)

    async def answer(body, count):
        await asyncio.sleep(rng.random() * 0.05)
        return chat(
            "It is so.\n#### "
            + body["messages"][-1]["content"].split("=")[1].split("?")[0]
        )

    rows = [{"question": f"x={n}?", "target": str(n)} for n in range(150)]
    with serving(answer) as server:
        run = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            concurrency=32,
        )
    assert [row["target"] for row in run.kept] == [str(n) for n in range(150)]


def test_a_finished_run_asks_nothing_and_writes_the_same_bytes(
    tmp_path, problems
):
    first = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "out",
        draws=3,
    )
    before = {
        name: (tmp_path / "out" / name / "train-00000.parquet").read_bytes()
        for name in ("data", "dropped")
    }
    again = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "out",
        draws=3,
    )
    assert first.info["calls"] == {"asked": 180, "reused": 0, "retried": 0}
    assert again.info["calls"] == {"asked": 0, "reused": 180, "retried": 0}
    assert before == {
        name: (tmp_path / "out" / name / "train-00000.parquet").read_bytes()
        for name in before
    }
    assert again.info["cost"] == first.info["cost"]


def test_more_draws_and_other_filters_pay_only_for_what_is_new(
    tmp_path, problems
):
    synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "out",
        draws=2,
    )
    more = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "out",
        draws=3,
        overrides={"rationale.filters": ["arithmetic_steps"]},
    )
    assert more.info["calls"] == {"asked": 60, "reused": 120, "retried": 0}


def test_another_runs_replies_serve_too(tmp_path, problems):
    synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "one",
        draws=2,
    )
    more = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "two",
        draws=3,
        reuse=[str(tmp_path / "one")],
    )
    assert more.info["calls"] == {"asked": 60, "reused": 120, "retried": 0}
    alone = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "two",
        draws=3,
    )
    assert alone.info["calls"]["asked"] == 0
    with pytest.raises(WrongUse, match="no journal"):
        synth.run(
            "cot",
            problems,
            teacher="simulated/mixed",
            output=tmp_path / "x",
            reuse=[str(tmp_path)],
        )


def test_the_tally_balances_and_the_folder_loads(tmp_path, problems):
    run = synth.run(
        "cot",
        problems,
        teacher="simulated/mixed",
        output=tmp_path / "out",
        draws=4,
    )
    counts = run.counts
    assert (
        counts["asked"]
        == 240
        == counts["kept"]
        + sum(counts["dropped"].values())
        + sum(counts["failed"].values())
    )
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert len(loaded) == counts["kept"]
    assert {
        "id",
        "question",
        "target",
        "rationale",
        "answer",
        "reply",
        "prompt",
        "completion",
        "meta",
    } <= set(loaded.column_names)
    assert len(
        datasets.load_dataset(str(tmp_path / "out"), "dropped", split="train")
    ) == sum(counts["dropped"].values())
    assert {row["reason"] for row in run.dropped} == set(counts["dropped"])
    assert {v["filter"] for v in run.kept[0]["meta"]["verdicts"]} == {
        "finish_reason",
        "answer_match",
    }


def test_columns_of_the_seed_survive(tmp_path):
    rows = [
        {
            "id": "a",
            "question": "What is 8 + 5 ?",
            "answer": 13,
            "rationale": "mine",
            "tags": ["x"],
            "mixed": 1,
            "nested": {"k": [1]},
        },
        {
            "id": "b",
            "question": "What is 2 + 5 ?",
            "answer": 7,
            "mixed": "one",
            "only_here": 0.5,
        },
    ]
    run = synth.run("cot", rows, teacher="simulated/perfect", output=tmp_path)
    first, second = run.kept
    assert (
        first["id"],
        first["target"],
        first["answer"],
        first["seed_rationale"],
        first["tags"],
    ) == ("a", 13, "13", "mine", ["x"])
    assert (
        first["mixed"],
        first["nested"],
        first["only_here"],
        second["only_here"],
    ) == ("1", '{"k": [1]}', None, 0.5)


def test_a_critic_judges_in_the_line(tmp_path, problems):
    overrides = {"rationale.filters": ["answer_match", {"name": "critic"}]}
    teachers = {
        "teacher": "simulated/mixed:lucky=0.5",
        "critic": "simulated/critic:miss=0,false_alarm=0",
    }
    run = synth.run(
        "cot",
        problems,
        teacher=teachers,
        output=tmp_path / "out",
        overrides=overrides,
    )
    assert run.counts["dropped"]["critic_rejects"] > 5
    marks = [
        json.loads(v["marks"])
        for row in run.kept
        for v in row["meta"]["verdicts"]
        if v["filter"] == "critic"
    ]
    assert all(m["verdict"] == "yes" for m in marks)
    with pytest.raises(WrongUse, match='"critic": PROVIDER/MODEL'):
        synth.run(
            "cot",
            problems,
            teacher="simulated/mixed",
            output=tmp_path / "no",
            overrides=overrides,
        )
    assert not (tmp_path / "no").exists()


def test_refused_key_stops_with_5_and_resumes(tmp_path):
    from aiohttp import web

    rows = [{"question": f"x{n}"} for n in range(40)]
    open_ = [False]

    def answer(body, count):
        return (
            chat("It is one.\n#### 1")
            if open_[0] or count <= 10
            else web.json_response(
                {"error": {"message": "bad key"}}, status=401
            )
        )

    with serving(answer) as server:
        run = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            concurrency=2,
        )
        assert run.exit_code == 5
        assert run.stopped.startswith("key:")
        assert not run.info["complete"]
        assert run.counts["asked"] == run.counts["kept"] == 10
        open_[0] = True
        again = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            concurrency=2,
        )
    assert (
        again.exit_code,
        again.counts["kept"],
        again.info["calls"]["reused"],
    ) == (0, 40, 10)


def test_budget_stops_with_4_below_the_cap(tmp_path):
    rows = [{"question": f"x{n}"} for n in range(40)]
    with serving(
        lambda b, c: chat(
            "It is so.\n#### 1",
            usage={"prompt_tokens": 100, "completion_tokens": 500},
        )
    ) as server:
        run = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            budget=0.01,
            price="1,1",
        )
        assert run.exit_code == 4
        assert 0.008 < run.info["cost"]["usd"] <= 0.01
        assert len(server.bodies) == run.counts["asked"]
        with pytest.raises(WrongUse, match="no known price"):
            synth.run(
                "cot",
                rows,
                teacher="openai/m",
                api_base=server.url,
                output=tmp_path / "x",
                budget=0.01,
            )


def heeding():
    """Tests that were started in the background have these signals ignored, and so would what they start."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def slow_run(tmp_path, rows, beyond):
    """A run in a process of its own against a server of 20 ms, handed over once `beyond` requests have come."""
    source = write(
        tmp_path / "in.jsonl", [{"question": f"x{n}"} for n in range(rows)]
    )

    async def answer(body, count):
        await asyncio.sleep(0.02)
        return chat("It is one.\n#### 1")

    with serving(answer) as server:
        command = [
            sys.executable,
            "-m",
            "synth.cli",
            "run",
            "cot",
            "--input",
            str(source),
            "--output",
            str(tmp_path / "out"),
        ]
        command += [
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            "--concurrency",
            "8",
        ]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heeding,  # noqa: PLW1509
        )
        while len(server.bodies) < beyond:
            time.sleep(0.01)
        yield process, command, server


def test_kill_9_then_the_same_command_asks_only_for_the_rest(tmp_path):
    with slow_run(tmp_path, 300, 120) as (process, command, server):
        process.kill()
        process.communicate()
        assert len(server.bodies) < 300
        assert subprocess.run(command, check=False).returncode == 0
        assert 300 <= len(server.bodies) <= 300 + 8
    assert (
        json.loads((tmp_path / "out" / "run.json").read_text())["counts"][
            "kept"
        ]
        == 300
    )


def test_ctrl_c_publishes_what_is_there(tmp_path):
    with slow_run(tmp_path, 5000, 60) as (process, _, server):
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        info = json.loads((tmp_path / "out" / "run.json").read_text())
        assert process.returncode == 130
        assert (
            info["counts"]["kept"]
            == info["counts"]["asked"]
            == len(server.bodies)
        )
        assert "resumes" in said


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.long),
    ],
)
def test_a_signal_drains_publishes_and_the_same_command_asks_nothing_twice(
    tmp_path, number, code
):
    with slow_run(tmp_path, 200, 60) as (process, command, server):
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        info = json.loads((tmp_path / "out" / "run.json").read_text())
        assert process.returncode == code
        assert (
            info["counts"]["kept"]
            == info["counts"]["asked"]
            == len(server.bodies)
            < 200
        )
        assert "resumes" in said
        assert (
            subprocess.run(
                command, check=False, stderr=subprocess.DEVNULL
            ).returncode
            == 0
        )
        assert len(server.bodies) == 200


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGINT, signal.SIGINT, 130),
        pytest.param(
            signal.SIGTERM, signal.SIGHUP, 143, marks=pytest.mark.long
        ),
    ],
)
def test_a_second_signal_leaves_within_a_second_and_the_journal_is_whole(
    tmp_path, first, second, code
):
    """The last calls never come back, so that the drain would wait for their timeout."""
    source = write(
        tmp_path / "in.jsonl", [{"question": f"x{n}"} for n in range(40)]
    )
    stuck, patient = threading.Event(), [False]

    async def answer(body, count):
        while count > 20 and not patient[0]:
            stuck.set()
            await asyncio.sleep(0.05)
        return chat("It is one.\n#### 1")

    with serving(answer) as server:
        command = [
            sys.executable,
            "-m",
            "synth.cli",
            "run",
            "cot",
            "--input",
            str(source),
            "--output",
            str(tmp_path / "out"),
        ]
        command += [
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            "--concurrency",
            "4",
        ]
        process = subprocess.Popen(
            command,
            stderr=subprocess.DEVNULL,
            preexec_fn=heeding,  # noqa: PLW1509
        )
        assert stuck.wait(60)
        time.sleep(0.3)
        process.send_signal(first)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(second)
        sent = time.monotonic()
        assert process.wait(10) == code
        assert (
            time.monotonic() - sent < 1.0 + 0.5
        )  # half a second for a busy machine
        assert len(list(records(tmp_path / "out" / "journal"))) == 20
        asked, patient[0] = len(server.bodies), True
        assert (
            subprocess.run(
                command, check=False, stderr=subprocess.DEVNULL
            ).returncode
            == 0
        )
        assert len(server.bodies) - asked == 20
    assert (
        json.loads((tmp_path / "out" / "run.json").read_text())["counts"][
            "kept"
        ]
        == 40
    )


def test_an_interrupt_beside_a_running_loop_stops_asking_and_publishes(
    tmp_path,
):
    """As a notebook does: the cell's thread runs a loop and gets the interrupt while the run has a thread of its own."""

    async def answer(body, count):
        await asyncio.sleep(0.02)
        return chat("It is one.\n#### 1")

    async def cell():
        return synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "out",
            concurrency=8,
        )

    rows = [{"question": f"x{n}"} for n in range(5000)]
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where the tests run in the background
    with serving(answer) as server:

        def interrupt():
            while len(server.bodies) < 40:
                time.sleep(0.01)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        run = asyncio.new_event_loop().run_until_complete(cell())
        assert (run.exit_code, run.stopped) == (130, "interrupted")
        assert 0 < run.counts["kept"] == len(server.bodies) < 5000


def test_a_row_that_breaks_a_part_stays_one_row(tmp_path, monkeypatch):
    from synth.filters.answer_match import AnswerMatch

    real = AnswerMatch.verdict
    monkeypatch.setattr(
        AnswerMatch,
        "verdict",
        lambda self, row: 1 / 0 if row["target"] == "boom" else real(self, row),
    )
    rows = [
        {"question": "What is 8 + 5 ?", "target": t} for t in ("13", "boom")
    ]
    run = synth.run("cot", rows, teacher="simulated/perfect", output=tmp_path)
    assert run.counts == {
        "asked": 2,
        "kept": 1,
        "dropped": {},
        "failed": {"error_ZeroDivisionError": 1},
    }
    assert run.exit_code == 3


def test_no_key_is_written_anywhere(tmp_path, monkeypatch):
    key = "sk-canary-abcdef0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with serving(lambda b, c: chat("It is one.\n#### 1")) as server:
        synth.run(
            "cot",
            make_problems(5),
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
        )
    assert not [
        p
        for p in tmp_path.rglob("*")
        if p.is_file() and key.encode() in p.read_bytes()
    ]


def test_replies_that_are_not_whole_say_so_and_refusals_are_named(tmp_path):
    def answer(body, count):
        text = body["messages"][-1]["content"]
        if "cut" in text:
            return chat(
                "so 3",
                choices=[
                    {
                        "index": 0,
                        "message": {"content": "so 3 +"},
                        "finish_reason": "length",
                    }
                ],
            )
        if "held" in text:
            return chat(
                "",
                choices=[
                    {
                        "index": 0,
                        "message": {"content": None},
                        "finish_reason": "content_filter",
                    }
                ],
            )
        if "refuse" in text:
            return chat(
                "",
                choices=[
                    {
                        "index": 0,
                        "message": {"content": None, "refusal": "I cannot"},
                        "finish_reason": "stop",
                    }
                ],
            )
        return (
            chat("")
            if "empty" in text
            else chat("It is so.\n#### 1", model="another")
        )

    rows = [{"question": q} for q in ("cut", "held", "refuse", "empty", "fine")]
    with serving(answer) as server:
        run = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
        )
    assert run.counts["dropped"] == {
        "cut_off": 1,
        "content_filter": 1,
        "refusal": 1,
        "empty_reply": 1,
    }
    assert run.kept[0]["meta"]["teacher"] == "another"


def test_faults_come_and_go_and_nothing_is_lost_or_paid_twice(tmp_path):
    from aiohttp import web

    rng, paid = random.Random(3), []

    def answer(body, count):
        fate = rng.random()
        if fate < 0.1:
            return web.json_response(
                {"error": {"message": "slow down"}},
                status=429,
                headers={"retry-after-ms": "20"},
            )
        if fate < 0.2:
            return web.Response(status=503, text="<html>")
        if fate < 0.25:
            return web.Response(text="not json")
        paid.append(body["messages"][-1]["content"])
        return chat("It is one.\n#### 1")

    rows = [{"question": f"x{n}"} for n in range(200)]
    with serving(answer) as server:
        run = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
        )
    assert run.counts["kept"] == 200 == len(paid) == len(set(paid))
    assert run.info["calls"]["retried"] > 20


def test_a_wait_beyond_patience_stops_the_run_with_5(tmp_path):
    from aiohttp import web

    def answer(body, count):
        return web.json_response(
            {"error": {"message": "tomorrow"}},
            status=429,
            headers={"retry-after": "7200"},
        )

    with serving(answer) as server:
        run = synth.run(
            "cot",
            [{"question": "x"}],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
        )
        assert (run.exit_code, len(server.bodies)) == (5, 1)
        assert "7,200 s" in run.stopped


@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_target_is_met_exactly_and_not_overpaid(tmp_path, concurrency):
    rows = make_problems(400, seed=8)
    run = synth.run(
        "cot",
        rows,
        teacher="simulated/mixed",
        output=tmp_path,
        target=100,
        concurrency=concurrency,
    )
    counts = run.counts
    assert (run.exit_code, counts["kept"], len(run.kept)) == (0, 100, 100)
    assert counts["asked"] == 100 + sum(counts["dropped"].values()) < 250
    assert run.info["calls"]["asked"] <= counts["asked"] + 16
    whole = synth.run(
        "cot", rows, teacher="simulated/mixed", output=tmp_path / "whole"
    )
    assert [row["id"] for row in run.kept] == [row["id"] for row in whole.kept][
        :100
    ]


def test_a_target_beyond_one_draw_a_seed_draws_more_and_pays_for_each_once(
    tmp_path,
):
    rows = make_problems(30, seed=8)
    run = synth.run(
        "cot",
        iter(rows),
        teacher="simulated/mixed",
        output=tmp_path,
        target=100,
    )
    assert (run.exit_code, run.counts["kept"]) == (0, 100)
    keys = [row["meta"]["key"] for row in [*run.kept, *run.dropped]]
    assert len(set(keys)) == len(keys)
    missed = synth.run(
        "cot",
        rows,
        teacher="simulated/mixed",
        output=tmp_path / "x",
        target=100,
        max_draws=2,
    )
    assert (missed.exit_code, missed.counts["asked"]) == (3, 60)
    assert "of 100 rows" in missed.stopped


def test_filters_that_see_all_rows_judge_once_at_the_end(tmp_path):
    rows = [
        {
            "question": f"What is 8 + 5 ? Ann asks it {'again' if n % 2 else 'now'} in the same long words as ever"
        }
        for n in range(6)
    ]
    rows = [{**row, "target": "13", "n": n} for n, row in enumerate(rows)]
    how = {
        "rationale.filters": [
            {"name": "answer_match"},
            {"name": "near_duplicate"},
        ]
    }
    run = synth.run(
        "cot", rows, teacher="simulated/perfect", output=tmp_path, overrides=how
    )
    assert run.counts == {
        "asked": 6,
        "kept": 2,
        "dropped": {"near_duplicate": 4},
        "failed": {},
    }
    for kept in (run.kept, run.dropped):
        assert all(
            [v["filter"] for v in row["meta"]["verdicts"]]
            == ["answer_match", "near_duplicate"]
            for row in kept
        )
    assert [row["n"] for row in run.kept] == sorted(
        row["n"] for row in run.kept
    )
    again = synth.run(
        "cot", rows, teacher="simulated/perfect", output=tmp_path, overrides=how
    )
    assert again.counts == run.counts
    with pytest.raises(WrongUse, match="sees all rows"):
        synth.run(
            "cot",
            rows,
            teacher="simulated/perfect",
            output=tmp_path / "b",
            overrides=how,
            target=3,
        )
