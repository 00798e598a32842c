"""Pools that grow while a run goes: later rows see what came of earlier ones, the same on every rerun."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest
import yaml
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

import synth
from synth.core.errors import WrongUse
from synth.packs.choice_schema import PoolSpec
from synth.packs.library import Library
from synth.packs.pack import Pack
from synth.packs.pool import Pool
from synth.packs.templates import Templates
from synth.pipeline.plan import make_plan
from synth.pipeline.prepare import prepare
from synth.pipeline.preview import render_first
from tests.conftest import chat, rest_long, serving, write
from tests.pipeline.killed import asked_until_killed, command, published
from tests.pipeline.test_run import make_pack

PACK = """
name: events
version: 1
about: Events like those before.
inputs: {topic: text}
constants: {first: [a bird sings, a dog barks]}
retrieve: {pool: events, choose: all, show: "{{ event }}", into: shown}
pools:
  events: {of: first, add: {event: "{{ head }}"}, every: 3, distinct: event, near: 0.9}
steps:
  - name: write
    sampling: {max_tokens: 20}
    parser: {name: whole, into: head}
exports:
  sft: {prompt: "An event:", completion: " {{ head }}"}
"""
FILES = {
    "pack.yaml": PACK,
    "write.user.j2": "{{ topic }}: {{ shown | join('; ') }}",
}
TOPICS = [{"id": f"t{n}", "topic": f"t{n}"} for n in range(10)]
FIRST = ["a bird sings", "a dog barks"]


def told(body, count=0):
    """What a teacher says depends on the topic alone."""
    topic = body["messages"][-1]["content"].partition(":")[0]
    return chat(f"{topic} happens here")


def shown(body):
    topic, _, listed = body["messages"][-1]["content"].partition(": ")
    return topic, listed.split("; ")


def run_pool(
    tmp_path, answer=told, out="out", files=FILES, rows=TOPICS, **more
):
    folder = make_pack(tmp_path / "pack", files)
    with serving(answer) as server:
        done = synth.run(
            folder,
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / out,
            same_teacher=True,
            **more,
        )
        return done, server.bodies


def test_each_row_sees_what_came_of_the_whole_batches_before_it(tmp_path):
    done, bodies = run_pool(tmp_path)
    assert done.counts["kept"] == 10
    seen = dict(map(shown, bodies))
    for number in range(10):
        before = [f"t{n} happens here" for n in range(number // 3 * 3)]
        assert seen[f"t{number}"] == [*FIRST, *before]
    again, more = run_pool(tmp_path)
    assert more == []
    assert again.counts == done.counts


def test_late_replies_change_nothing(tmp_path):
    """The first row of each batch is the last one to come back."""

    async def slow(body, count):
        import asyncio

        number = int(shown(body)[0][1:])
        await asyncio.sleep(0.2 if number % 3 == 0 else 0)
        return told(body)

    run_pool(tmp_path)
    _, bodies = run_pool(tmp_path, slow, out="slow")
    assert len(bodies) == 10
    assert published(tmp_path / "slow") == published(tmp_path / "out")


def test_a_shorter_input_is_the_beginning_of_the_whole(tmp_path):
    run_pool(tmp_path, rows=TOPICS[:5], out="few")
    done, bodies = run_pool(tmp_path, reuse=[tmp_path / "few"])
    assert done.counts["kept"] == 10
    assert len(bodies) == 5


def test_a_row_that_the_pool_has_leaves(tmp_path):
    def answer(body, count):
        topic = shown(body)[0]
        said = {
            "t1": "A Bird  sings",
            "t4": "t0 happens here",
            "t5": "it happens that t2 and t3 meet",
            "t7": "it happens that t2 and t3 meet again",
        }
        return chat(said.get(topic) or told(body)["choices"][0]["message"]["content"])  # fmt: skip

    done, bodies = run_pool(tmp_path, answer)
    assert done.counts["dropped"] == {"in_pool": 3}
    assert {row["id"] for row in done.dropped} == {"t1", "t4", "t7"}
    assert set(done.dropped["detail"]) == {"pool events"}
    last = dict(map(shown, bodies))["t9"]
    assert len(last) == len(FIRST) + 6


@pytest.mark.parametrize("kill_at", rest_long([5, 2, 9], 0))
def test_a_run_that_is_killed_asks_what_it_would_have_asked(tmp_path, kill_at):
    folder = make_pack(tmp_path / "pack", FILES)
    rows = write(tmp_path / "rows.jsonl", TOPICS)
    words = ["--teacher", "openai/m", "--concurrency", "1"]
    whole = command(folder, rows, tmp_path / "whole", *words)
    broken = command(folder, rows, tmp_path / "broken", *words)
    all_bodies = asked_until_killed(told, whole, 0)
    before = asked_until_killed(told, broken, kill_at)
    after = asked_until_killed(told, broken, 0)
    # The request that was under way when the run was killed is sent again, and no other one.
    assert sorted(map(json.dumps, before[:-1] + after)) == sorted(
        map(json.dumps, all_bodies)
    )
    assert published(tmp_path / "broken") == published(tmp_path / "whole")


def test_a_pool_does_not_grow_over_a_call_that_failed(tmp_path):
    run_pool(tmp_path, out="whole")
    broken = threading.Event()
    broken.set()

    def answer(body, count):
        if broken.is_set() and shown(body)[0] == "t4":
            return web.json_response({"error": {"message": "no"}}, status=400)
        return told(body)

    done, bodies = run_pool(tmp_path, answer)
    assert done.exit_code == 5
    assert "pool: 1 calls failed, and the next 4 rows" in str(done.stopped)
    assert done.counts["kept"] == 5
    assert len(bodies) == 6
    # Who goes on all the same has a pool without it.
    other, bodies = run_pool(
        tmp_path, answer, out="other", keep_going=True, reuse=[tmp_path / "out"]
    )
    assert other.counts["kept"] == 9
    assert "t4 happens here" not in dict(map(shown, bodies))["t9"]
    broken.clear()
    done, bodies = run_pool(tmp_path, answer)
    assert done.counts["kept"] == 10
    assert len(bodies) == 5
    assert published(tmp_path / "out") == published(tmp_path / "whole")


def test_an_input_that_ends_with_a_failed_call_ends_as_any_other(tmp_path):
    def answer(body, count):
        if shown(body)[0] == "t2":
            return web.json_response({"error": {"message": "no"}}, status=400)
        return told(body)

    done, _ = run_pool(tmp_path, answer, rows=TOPICS[:3])
    assert done.exit_code == 3
    assert done.stopped is None


def test_demonstrations_are_drawn_from_a_pool(tmp_path):
    spec = yaml.safe_load(PACK)
    del spec["retrieve"]
    spec["steps"][0]["demonstrations"] = {
        "pool": "events",
        "choose": "random",
        "most": 4,
        "reply": "{{ event }}",
    }
    spec["pools"]["events"] = {
        "of": "first",
        "add": {"topic": "{{ topic }}", "event": "{{ head }}"},
        "every": 2,
    }
    spec["constants"]["first"] = [{"topic": "x", "event": "a bird sings"}]
    files = {"pack.yaml": yaml.dump(spec), "write.user.j2": "{{ topic }}:"}
    done, bodies = run_pool(tmp_path, files=files)
    assert done.counts["kept"] == 10
    for body in bodies:
        *turns, question = [m["content"] for m in body["messages"]]
        number = int(re.findall(r"\d", question)[0])
        assert len(turns) == 2 * min(4, 1 + number // 2 * 2)
        for asked, said in zip(turns[::2], turns[1::2], strict=True):
            topic = asked.partition(":")[0]
            assert said == (
                "a bird sings" if topic == "x" else f"{topic} happens here"
            )
            assert topic == "x" or int(topic[1:]) < number // 2 * 2


def test_with_a_target_no_more_is_drawn(tmp_path):
    done, bodies = run_pool(tmp_path, target=4)
    assert done.counts["kept"] == 4
    assert len(bodies) <= 6
    done, bodies = run_pool(tmp_path, out="many", target=40)
    assert done.exit_code == 3
    assert len(bodies) == 10


def test_a_plan_and_a_preview_see_what_a_pool_starts_with(tmp_path):
    folder = make_pack(tmp_path / "pack", FILES)
    rows = write(tmp_path / "rows.jsonl", TOPICS)
    shown_first = render_first(str(folder), str(rows), {})
    assert shown_first.endswith("t0: a bird sings; a dog barks")
    config = synth.RunConfig(teachers={"teacher": "openai/m"})
    plan = make_plan(prepare(folder, rows, tmp_path / "none", config))
    assert plan.steps[0].calls == 10


def test_the_user_names_what_a_pool_starts_with(tmp_path):
    spec = yaml.safe_load(PACK)
    del spec["pools"]["events"]["of"]
    files = {**FILES, "pack.yaml": yaml.dump(spec)}
    mine = write(tmp_path / "mine.jsonl", [{"event": "my own one"}])
    _, bodies = run_pool(
        tmp_path, files=files, overrides={"pools.events.file": str(mine)}
    )
    assert dict(map(shown, bodies))["t0"] == ["my own one"]
    _, bodies = run_pool(tmp_path, files=files, out="empty")
    assert dict(map(shown, bodies))["t0"] == [""]
    wrong = write(tmp_path / "wrong.jsonl", [{"evnt": "my own one"}])
    with pytest.raises(WrongUse, match="Did you mean evnt"):
        run_pool(
            tmp_path, files=files, overrides={"pools.events.file": str(wrong)}
        )


WRONG = [
    ({"of": "frist"}, "Did you mean first?"),
    ({"add": {"event": "{{ haed }}"}}, "Did you mean head?"),
    ({"add": {}}, "pools.events.add"),
    ({"distinct": "topic"}, "a column of `add`"),
    ({"near": 2}, "less than or equal to 1"),
    ({"every": 0}, "greater than or equal to 1"),
    ({"of": "first", "file": "first.jsonl"}, "one place of the first rows"),
    ({"add": {"event": "{{ head }}", "n": "1"}}, "a constant: a list"),
    ({"likeness": "cosine"}, "rouge_l"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=str)
def test_a_pool_that_cannot_be_is_found_when_the_pack_is_read(
    tmp_path, change, says
):
    spec = yaml.safe_load(PACK)
    spec["pools"]["events"] |= change
    folder = make_pack(
        tmp_path / "pack", {**FILES, "pack.yaml": yaml.dump(spec)}
    )
    with pytest.raises(WrongUse) as caught:
        Pack.load(folder)
    assert says in str(caught.value), str(caught.value)
    assert "pack.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    "file", ["/etc/passwd", "../first.jsonl", "link.jsonl"]
)
def test_a_pool_of_a_stranger_starts_with_its_own_file_alone(tmp_path, file):
    write(tmp_path / "first.jsonl", [{"event": "secret"}])
    spec = yaml.safe_load(PACK)
    del spec["pools"]["events"]["of"]
    spec["pools"]["events"]["file"] = file
    folder = make_pack(
        tmp_path / "pack", {**FILES, "pack.yaml": yaml.dump(spec)}
    )
    (folder / "link.jsonl").symlink_to(tmp_path / "first.jsonl")
    with pytest.raises(WrongUse, match=r"--set pools\.events\.file=FILE"):
        Library(Pack.load(folder))


def test_a_pool_that_nothing_fills_is_known(tmp_path):
    folder = make_pack(
        tmp_path / "pack",
        {**FILES, "pack.yaml": PACK.replace("pool: events", "pool: evens")},
    )
    with pytest.raises(WrongUse, match="Did you mean events"):
        Pack.load(folder)


def test_long_replies_are_compared_in_no_time():
    spec = PoolSpec(add={"text": "{{ text }}"}, distinct="text", near=0.9)
    template = Templates().compile("{{ text }}", "here")
    pool = Pool(spec, [], {"text": template})
    started = time.process_time()
    assert pool.offer({"text": "a b " * 100_000})
    assert not pool.offer({"text": "b a " * 100_000})
    assert time.process_time() - started < 5


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=3), max_size=12),
    st.integers(1, 4),
    st.booleans(),
)
def test_what_a_question_sees_is_decided_by_its_place_alone(
    replies, every, distinct
):
    spec = PoolSpec(
        add={"text": "{{ text }}"},
        every=every,
        distinct="text" if distinct else None,
    )
    template = Templates().compile("{{ text }}", "here")
    pool = Pool(spec, [], {"text": template})
    for number, texts in enumerate(replies):
        before = [one for few in replies[: number // every * every] for one in few]  # fmt: skip
        wanted = list(dict.fromkeys(before)) if distinct else before
        assert [row["text"] for row in pool.seen] == wanted
        entered = [pool.offer({"text": text}) for text in texts]
        assert distinct or all(entered)
        assert pool.left(number + 1) == ((number + 1) % every == 0)
