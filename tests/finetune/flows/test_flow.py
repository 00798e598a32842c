"""A flow plays its stages once, goes on where it was stopped, and spends no more than it may."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from finetune.cli.flows import _trainings
from finetune.flows import stages
from finetune.flows.artifacts import given_rows
from finetune.flows.loading import load
from finetune.flows.planning import describe
from finetune.flows.player import FlowConfig, Player, check_reach
from synth.core.errors import NothingKept, WrongUse
from tests.conftest import chat, serving, write
from tests.pipeline.test_run import make_pack

ASK = """
name: ask
version: 1
about: Answers.
inputs: {question: text}
steps:
  - name: answer
    sampling: {max_tokens: 20}
    parser: {name: whole, into: answer}
    filters: [{name: length, field: answer, unit: words, least: 1, most: 3}]
exports:
  sft: {prompt: "{{ question }}\\n", completion: "{{ answer }}"}
"""
# Two questions for each round: those of the input, then what was answered about them.
FLOW = """
name: grow
version: 1
about: Asks, asks about the answers, and keeps what is short.
teachers: {teacher: Answers.}
values: {rounds: 3}
pools:
  questions: {start: input, add: [next.rows], distinct: question}
rounds:
  most: "{{ rounds }}"
  measure: seen.count
  stages:
    - name: asked
      run: ask
      from: questions
    - name: short
      filter: [{name: length, field: answer, unit: words, most: 2}]
      from: asked.kept
    - name: next
      select:
        make: {question: "{{ row.question }} {{ row.answer }}"}
        only: true
      from: short.kept
    - name: seen
      select: {group: "all", make: {questions: "{{ rows | length }}"}, only: true}
      from: [questions, next.rows]
"""


def folder_of(path: Path, flow: str = FLOW, **packs: str) -> Path:
    path.mkdir(parents=True)
    (path / "flow.yaml").write_text(flow)
    for name, text in {"ask": ASK, **packs}.items():
        make_pack(
            path / name,
            {"pack.yaml": text, "answer.user.j2": "{{ question }}"},
        )
    return path


def answered(body, count):
    """One word where the question has an even number of letters, four words else."""
    question = body["messages"][-1]["content"]
    return chat("yes" if len(question) % 2 == 0 else "one two three four")


def config(folder, output, source, url="", **more):
    options = {"teachers": {"teacher": "openai/m"}, **more}
    run = {"api_base": {"": url}, "price": {"": "1,2"}} if url else {}
    return FlowConfig(
        flow=load(folder, more.get("overrides")),
        inputs={"input": str(source), **options.pop("inputs", {})},
        models=options.pop("models", {}),
        output=output,
        run={**run, **options.pop("run", {})},
        **options,
    )


def play(*args, **more):
    return Player(config(*args, **more), _trainings()).play()


@pytest.fixture
def source(tmp_path):
    rows = [{"question": f"q{'x' * n}"} for n in range(8)]
    return write(tmp_path / "rows.jsonl", rows)


def test_rounds_grow_a_pool_and_are_played_once(tmp_path, source):
    folder = folder_of(tmp_path / "grow")
    with serving(answered) as server:
        done = play(folder, tmp_path / "out", source, server.url)
        calls = len(server.bodies)
        again = play(folder, tmp_path / "out", source, server.url)
        assert len(server.bodies) == calls
    assert done["complete"]
    assert again == done
    # Four of eight questions are even: "q", "qxx" are odd.
    first = done["rounds"][0]
    assert (first["asked"]["kept"], first["short"]["kept"]) == (4, 4)
    # Each round adds what the one before made: no question is asked twice.
    asked = [body["messages"][-1]["content"] for body in server.bodies]
    assert Counter(Counter(asked).values()) == {1: len(set(asked))}
    assert [played["asked"]["asked"] for played in done["rounds"]] == [
        8,
        12,
        16,
    ]
    assert done["ended"] == "3 rounds"
    assert "seen.count by round" in (tmp_path / "out/README.md").read_text()


def test_a_changed_stage_is_played_again_and_those_before_it_are_not(
    tmp_path, source
):
    folder = folder_of(tmp_path / "grow")
    with serving(answered) as server:
        play(folder, tmp_path / "out", source, server.url)
        calls = len(server.bodies)
        path = folder / "flow.yaml"
        path.write_text(path.read_text().replace("most: 2}]", "most: 1}]"))
        done = play(folder, tmp_path / "out", source, server.url)
        assert len(server.bodies) == calls
        pack = folder / "ask" / "answer.user.j2"
        pack.write_text("Please: {{ question }}")
        play(folder, tmp_path / "out", source, server.url)
        assert len(server.bodies) > calls
    assert done["complete"]
    kept = sorted((tmp_path / "out" / "round0").glob("asked-*"))
    assert len(kept) == 2  # what the first ones made stays


def test_a_folder_that_was_moved_goes_on_from_anywhere(
    tmp_path, source, monkeypatch
):
    folder = folder_of(tmp_path / "grow")
    monkeypatch.chdir(tmp_path)
    with serving(answered) as server:
        play(folder, Path("out"), source, server.url)
        calls = len(server.bodies)
        elsewhere = tmp_path / "else"
        elsewhere.mkdir()
        moved = (tmp_path / "out").rename(elsewhere / "moved é")
        monkeypatch.chdir(elsewhere)
        # The stage behind the run is played anew, out of what the run left.
        path = folder / "flow.yaml"
        path.write_text(path.read_text().replace("most: 2}]", "most: 1}]"))
        assert play(folder, moved, source, server.url)["complete"]
        assert play(folder, Path(moved.name), source, server.url)["complete"]
        assert len(server.bodies) == calls
    assert not list(tmp_path.glob("out*"))


def test_one_budget_holds_for_all_runs(tmp_path, source):
    folder = folder_of(tmp_path / "grow")
    # 11 tokens in at $1, 7 out at $2 a million: 25 millionths a call, 51 at most.
    price = 25e-6
    with serving(answered) as server:
        with pytest.raises(stages.Unfinished) as stopped:
            play(
                folder, tmp_path / "out", source, server.url, budget=9.5 * price
            )
        assert stopped.value.exit_code == 4
        spent = len(server.bodies) * price
        assert spent <= 9.5 * price
        state = json.loads((tmp_path / "out/flow.json").read_text())
        assert not state["complete"]
        assert state["usd"] == pytest.approx(spent)
        done = play(folder, tmp_path / "out", source, server.url, budget=1.0)
    assert done["complete"]
    assert done["usd"] == pytest.approx(len(server.bodies) * price)
    asked = [body["messages"][-1]["content"] for body in server.bodies]
    assert len(asked) == len(set(asked))


def test_rounds_end_where_no_rows_are_left(tmp_path, source):
    flow = FLOW.replace("from: questions", "from: previous.next or input")
    folder = folder_of(tmp_path / "grow", flow)

    def tired(body, count):
        question = body["messages"][-1]["content"]
        return chat("a b c") if "yes yes" in question else answered(body, count)

    with serving(tired) as server:
        done = play(
            folder,
            tmp_path / "out",
            source,
            server.url,
            overrides={"rounds": 9},
        )
    assert done["complete"]
    assert len(done["rounds"]) == 3
    # What is asked in the fourth round is answered in three words.
    assert done["ended"] == "asked (round3): no rows to read"


def test_a_reference_leads_some_rounds_back(tmp_path, source):
    stage = """
    - name: older
      select: {make: {round: "{{ round }}", before: "{{ row.round | default(-1) }}"}}
      from: previous2.older or input
"""
    folder = folder_of(tmp_path / "grow", FLOW + stage)
    with serving(answered) as server:
        out = tmp_path / "out"
        done = play(folder, out, source, server.url, overrides={"rounds": 4})
    before = []
    for played in done["rounds"]:
        path = out / played["older"]["folder"] / "rows.jsonl"
        before.append(json.loads(path.read_text().splitlines()[0])["before"])
    assert before == [-1, -1, 0, 1]


def test_a_first_round_that_keeps_nothing_says_so(tmp_path):
    folder = folder_of(tmp_path / "grow")
    odd = write(tmp_path / "odd.jsonl", [{"question": "q"}])
    with serving(answered) as server, pytest.raises(NothingKept, match="asked"):
        play(folder, tmp_path / "out", odd, server.url)


def test_failed_calls_stop_the_flow_and_are_asked_again(tmp_path, source):
    folder = folder_of(tmp_path / "grow")
    down = [True]

    def answer(body, count):
        if down[0] and body["messages"][-1]["content"] == "qx":
            from aiohttp import web

            return web.json_response({"error": {"message": "no"}}, status=400)
        return answered(body, count)

    with serving(answer) as server:
        with pytest.raises(stages.Unfinished, match="1 calls failed"):
            play(folder, tmp_path / "out", source, server.url)
        down[0] = False
        assert play(folder, tmp_path / "out", source, server.url)["complete"]


def test_two_at_a_time_are_refused(tmp_path, source):
    from synth.calls.journal import held

    folder = folder_of(tmp_path / "grow")
    out = tmp_path / "out"
    with serving(answered) as server:
        play(folder, out, source, server.url, overrides={"rounds": 1})
        with held(out / "lock"), pytest.raises(WrongUse, match="another"):
            play(folder, out, source, server.url)


@pytest.mark.parametrize("there", ["file", "other", "users"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, source, there):
    folder = folder_of(tmp_path / "grow")
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        name = "flow.json" if there == "other" else "mine.txt"
        (out / name).write_text('{"flow": "another"}')
    with pytest.raises(WrongUse, match="--output"):
        play(folder, out, source)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"inputs": {"held": "x"}}, "held"),
        ({"teachers": {}}, "none for 'teacher'"),
        ({"teachers": {"teacher": "openai/m", "critic": "openai/m"}}, "critic"),
        ({"models": {"nli": "x"}}, "nli"),
        ({"overrides": {"round": 2}}, "rounds"),
        ({"overrides": {"ask.draws": 2}}, "asked.KEY"),
    ],
)
def test_what_is_given_must_be_what_is_asked_for(
    tmp_path, source, change, match
):
    folder = folder_of(tmp_path / "grow")
    with pytest.raises(WrongUse, match=match):
        play(folder, tmp_path / "out", source, **change)
    assert not (tmp_path / "out").exists()


def test_a_pack_without_cases_is_planned_with_rows_that_are_given(
    tmp_path, source
):
    raw = yaml.safe_load(FLOW)
    raw["pools"]["questions"]["start"] = "begun"
    raw["before"] = [{"name": "begun", "select": {}, "from": "input"}]
    folder = folder_of(tmp_path / "grow", yaml.safe_dump(raw))
    plan = describe(config(folder, tmp_path / "out", source, "http://x"))
    assert "at most 8 rows, at most 8 calls, $" in plan
    other = write(tmp_path / "other.jsonl", [{"text": "a"}])
    with pytest.raises(WrongUse, match="no row given that it could ask about"):
        describe(config(folder, tmp_path / "out", other, "http://x"))


def test_rows_of_a_folder_are_known_by_what_stands_in_it(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write(folder / "a.jsonl", [{"question": "q"}])
    before = given_rows(str(folder))
    moved = folder.rename(tmp_path / "moved")
    assert given_rows(str(moved)).mark == before.mark
    write(moved / "a.jsonl", [{"question": "another"}])
    assert given_rows(str(moved)).mark != before.mark


def test_what_cannot_be_reached_is_said_before_a_call(
    tmp_path, source, monkeypatch
):
    raw = yaml.safe_load(FLOW)
    raw["before"] = [
        {"name": "learn", "train": "sft", "from": "input", "student": "student"}
    ]
    folder = folder_of(tmp_path / "grow", yaml.safe_dump(raw))
    there = {"models": {"student": "scratch:tiny"}}
    check_reach(config(folder, tmp_path / "out", source, "http://x", **there))
    for name, match in (
        ("a model", "PROVIDER/MODEL"),
        ("replay/nowhere.jsonl", "nowhere"),
        ("openai/m", "OPENAI_API_KEY"),
    ):
        reached = {**there, "teachers": {"teacher": name}}
        with pytest.raises(WrongUse, match=match):
            check_reach(config(folder, tmp_path / "out", source, **reached))
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    unknown = config(folder, tmp_path / "out", source, budget=1.0, **there)
    with pytest.raises(WrongUse, match="no known price for openai/m"):
        check_reach(unknown)
    nowhere = {"models": {"student": str(tmp_path / "nowhere")}}
    with pytest.raises(WrongUse, match="no such file or folder"):
        check_reach(config(folder, tmp_path / "out", source, **nowhere))


def test_the_users_settings_reach_packs(tmp_path, source):
    folder = folder_of(tmp_path / "grow")
    said = {"asked.answer.temperature": 0.25, "rounds": 1}
    with serving(answered) as server:
        play(folder, tmp_path / "out", source, server.url, overrides=said)
    assert {body["temperature"] for body in server.bodies} == {0.25}


def words(folder, output, source, url):
    return [
        sys.executable,
        *("-m", "finetune.cli", "flow", str(folder)),
        *("--input", str(source), "--output", str(output)),
        *("--teacher", "openai/m", "--api-base", url),
        *("--price", "1,2", "--budget", "0.01"),
    ]


def left(output):
    """What a flow made, without times and what tells a rerun from a run."""
    rows = {}
    for path in sorted(output.glob("*/*/*.jsonl")):
        rows[str(path.relative_to(output))] = path.read_bytes()
    for path in sorted(output.glob("*/*/data/*")):
        rows[str(path.relative_to(output))] = path.read_bytes()
    return rows


@pytest.mark.long
@pytest.mark.parametrize("kills", [1, 10])
def test_kills_change_nothing_and_no_reply_is_paid_twice(
    tmp_path, source, kills
):
    folder = folder_of(tmp_path / "grow")
    rng = random.Random(kills)

    def slow(body, count):
        time.sleep(0.03)
        return answered(body, count)

    with serving(slow) as server:
        plain = tmp_path / "plain"
        started = time.monotonic()
        subprocess.run(words(folder, plain, source, server.url), check=True)
        seconds = time.monotonic() - started
        whole = left(plain)
        server.bodies.clear()
        out = tmp_path / "killed"
        for _ in range(kills):
            process = subprocess.Popen(
                words(folder, out, source, server.url),
                stdout=subprocess.DEVNULL,
            )
            time.sleep(rng.uniform(0.4, 1.0) * seconds)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        subprocess.run(words(folder, out, source, server.url), check=True)
    assert left(out) == whole
    asked = Counter(body["messages"][-1]["content"] for body in server.bodies)
    # A call under way when the process dies may be asked again, no other.
    again = sum(count - 1 for count in asked.values())
    assert again <= kills * 8
    state = json.loads((out / "flow.json").read_text())
    assert state["complete"]
    assert len(server.bodies) * 25e-6 <= 0.01
