"""Many servers of one model: who is asked, what comes when one dies, and that a run does not show it."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from contextlib import ExitStack

import pytest
from aiohttp import web

import synth
from synth.calls.endpoints import read_endpoints
from synth.calls.fleet import Fleet, Member
from synth.core.errors import WrongUse
from synth.core.records import Request
from synth.teachers.base import Settings
from tests.conftest import chat, serving

ROWS = [
    {"question": f"What is {n} + 2 ?", "target": str(n + 2)} for n in range(200)
]


def solved(body):
    """The right answer, the same of every server."""
    text = body["messages"][-1]["content"]
    number = int(text.split("What is ")[1].split(" ")[0])
    return chat(
        f"{number} and 2 make {number + 2}. The answer is {number + 2}."
    )


def server_of(seconds, slots=10**6):
    """An answer that takes so long, on a server with so many slots."""
    gate = {}

    async def answer(body, _):
        free = gate.setdefault("free", asyncio.Semaphore(slots))
        async with free:
            await asyncio.sleep(seconds)
        return solved(body)

    return answer


def ran(output, endpoints, rows=ROWS, **options):
    return synth.run(
        "cot",
        rows,
        teacher="openai/m",
        endpoints=str(endpoints),
        output=output,
        **options,
    )


def know(fleet):
    """As if all had been asked what they take."""
    for member in fleet._members.values():
        member.is_known = True


def published(folder):
    files = sorted((folder / "data").glob("*"))
    assert files
    return [path.read_bytes() for path in files]


def test_endpoints_are_urls_or_lists_of_them(tmp_path):
    assert read_endpoints("http://a:1/v1, http://b:2/v1/,http://a:1/v1") == [
        "http://a:1/v1",
        "http://b:2/v1",
    ]
    (tmp_path / "job1").write_text("# node 7\n127.0.0.1:8000\n\n")
    (tmp_path / "job2").write_text("http://gpu2:9000/v1")
    (tmp_path / ".job3.swp").write_text("nonsense")
    both = ["http://127.0.0.1:8000/v1", "http://gpu2:9000/v1"]
    assert read_endpoints(str(tmp_path)) == both
    assert read_endpoints(str(tmp_path / "job1")) == both[:1]
    assert read_endpoints("[::1]:8000") == ["http://[::1]:8000/v1"]
    for wrong in ("gpu1", "ftp://a/v1", "http://user:pass@a/v1", "a:1;b:2"):
        with pytest.raises(WrongUse, match="--endpoints"):
            read_endpoints(wrong)


def test_lists_are_read_as_people_and_jobs_write_them(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfgpu1:1 # node 7\r\n\r\n \t\r\n")
    (tmp_path / "b").write_text("gpu2:2, http://gpu3:3/v1\n#gpu4:4\ngpu5:")
    said = []
    assert read_endpoints(str(tmp_path), said.append) == [
        "http://gpu1:1/v1",
        "http://gpu2:2/v1",
        "http://gpu3:3/v1",
    ]
    assert len(said) == 1
    assert "'gpu5:'" in said[0]
    (tmp_path / "c").write_text("x" * 100_000)
    read_endpoints(str(tmp_path), said.append)
    assert "100,000 characters" in said[-1]
    assert len(said[-1]) < 300
    with pytest.raises(WrongUse, match="100,000 characters"):
        read_endpoints(str(tmp_path / "c"), said.append)


def refusal(status, message):
    return lambda *_: web.json_response(
        {"error": {"message": message}}, status=status
    )


def body(content, **more):
    return lambda *_: web.Response(body=content, **more)


# What a server of a fleet says where another one is well.
ILL = {
    "an error": refusal(500, "boom"),
    "an error with status 200": refusal(200, "overloaded"),
    "another place": body(b"<html>", status=404, content_type="text/html"),
    "another model": refusal(404, "The model `m` does not exist."),
    "another key": refusal(401, "bad key"),
    "smaller settings": refusal(400, "max_tokens is too large"),
    "a page": body(b"<html><title>Login</title>", content_type="text/html"),
    "garbage": body(b"\x00\xff\xfe"),
    "half a body": body(b'{"choices": [{"index": 0, "mess'),
    "nothing": body(b""),
    "a list": body(b"[1, 2]", content_type="application/json"),
    "no choice": body(b'{"choices": []}', content_type="application/json"),
    "a loop": body(
        b"", status=302, headers={"Location": "/v1/chat/completions"}
    ),
}


@pytest.mark.parametrize("name", ILL)
def test_a_server_that_is_ill_costs_no_row_and_is_soon_left_alone(
    tmp_path, capsys, name
):
    with serving(ILL[name]) as ill, serving(server_of(0.002)) as well:
        done = ran(
            tmp_path / "o",
            f"{ill.url},{well.url}",
            rows=ROWS[:60],
            concurrency=8,
        )
        assert done.counts["kept"] == 60
        assert len(well.bodies) == 60
        if name != "smaller settings":
            # It may be that this server alone takes less, or the request that asks for too much.
            assert len(ill.bodies) <= 16
    said = capsys.readouterr().err
    refuses_all = name in ("another place", "another model", "another key")
    assert (f"{ill.url} is passed over" in said) == (
        refuses_all or name == "a loop"
    )


def test_a_fleet_whose_servers_all_refuse_stops(tmp_path):
    answer = refusal(401, "bad key")
    with serving(answer) as one, serving(answer) as two:
        done = ran(tmp_path / "o", f"{one.url},{two.url}", concurrency=4)
    assert done.exit_code == 5
    assert len(one.bodies) + len(two.bodies) <= 8


def test_a_server_that_names_another_model_is_said(tmp_path, capsys):
    def other(request, _):
        return {**solved(request), "model": "another"}

    with serving(other) as one, serving(server_of(0.0)) as two:
        ran(tmp_path / "o", f"{one.url},{two.url}", rows=ROWS[:40])
    said = capsys.readouterr().err
    assert "answers as" in said
    assert "'another'" in said


def test_faults_in_a_row_count_and_a_reply_ends_the_row():
    member = Member("u", None, None)
    for _ in range(2):
        member.faulted(time.monotonic())
    member.came(100.0)
    for _ in range(2):
        member.faulted(time.monotonic())
    assert member.absent_until == 0.0
    member.faulted(time.monotonic())
    assert member.absent_until > time.monotonic()


def test_a_run_over_many_servers_is_that_of_one(tmp_path):
    with ExitStack() as stack:
        one = stack.enter_context(serving(server_of(0.0)))
        alone = synth.run(
            "cot",
            ROWS,
            teacher="openai/m",
            api_base=one.url,
            output=tmp_path / "one",
        )
        many = [
            stack.enter_context(serving(server_of(0.002 * n))) for n in range(4)
        ]
        done = ran(tmp_path / "many", ",".join(s.url for s in many))
        assert done.counts == alone.counts
        assert done.counts["kept"] == len(ROWS)
        assert published(tmp_path / "many") == published(tmp_path / "one")
        asked = sum(len(server.bodies) for server in many)
        assert asked == len(ROWS)
        assert all(server.bodies for server in many)
        # No URL stands where replies are compared: one server of them may go on alone.
        again = synth.run(
            "cot",
            ROWS,
            teacher="openai/m",
            api_base=one.url,
            output=tmp_path / "many",
        )
        assert again.info["calls"]["asked"] == 0


@pytest.mark.long
def test_a_server_that_is_faster_gets_more(tmp_path):
    rows = [
        {**row, "id": f"{n}/{row['question']}"}
        for n in range(8)
        for row in ROWS
    ]
    with ExitStack() as stack:
        # Four slots each: 160, 80 and 40 replies a second.
        speeds = [0.025, 0.05, 0.1]
        servers = [
            stack.enter_context(serving(server_of(s, 4))) for s in speeds
        ]
        ran(
            tmp_path / "o",
            ",".join(s.url for s in servers),
            rows=[
                {**row, "question": f"{row['question']} {n}"}
                for n, row in enumerate(rows)
            ],
            concurrency=48,
        )
        shares = [len(server.bodies) / len(rows) for server in servers]
    for share, speed in zip(shares, speeds, strict=True):
        wanted = (1 / speed) / sum(1 / s for s in speeds)
        assert share == pytest.approx(wanted, rel=0.15)


def test_a_slow_server_holds_few_calls_and_none_of_its_slots_is_idle(tmp_path):
    counts = {"slow": 0, "quick": 0}
    held = []

    def counted(name, seconds):
        """Four slots, and a note of how many calls are there whenever a slow one begins."""
        inner = server_of(seconds, 4)

        async def answer(body, number):
            counts[name] += 1
            if name == "slow":
                held.append(counts["slow"])
            try:
                return await inner(body, number)
            finally:
                counts[name] -= 1

        return answer

    # 400 and 20 replies a second.
    slow, quick = counted("slow", 0.2), counted("quick", 0.01)
    rows = [
        {"question": f"What is {n} + 2 ?", "target": str(n + 2)}
        for n in range(1200)
    ]
    with serving(slow) as one, serving(quick) as two:
        ran(tmp_path / "o", f"{one.url},{two.url}", rows, concurrency=32)
    later = held[len(held) // 2 :]
    mean = sum(later) / len(later)
    # By their number it would be 16, by their speed alone 1 or 2.
    assert 3.5 < mean < 10


def test_weights_are_the_roots_of_speeds():
    fleet = Fleet("m", Settings(endpoints="http://a:1/v1,http://b:1/v1"), 8)
    know(fleet)
    now = time.monotonic()
    for member, tokens in zip(
        fleet._members.values(), (100.0, 900.0), strict=True
    ):
        member.begin(1.0)
        member.speed.passed(now + 1.0, busy=True)
        member.speed.did(tokens)
    fleet._seconds = 0.001
    fleet._weigh(now + 1.0)
    slow, quick = (member.weight for member in fleet._members.values())
    assert quick / slow == pytest.approx(3.0, rel=0.01)
    request = Request(model="m", messages=({"role": "user", "content": "x"},))
    a, b = fleet._members.values()
    # Of two that are free the faster one is asked, and with twice as much to do still.
    a.outstanding = b.outstanding = 0.0
    assert fleet._choose(request, 1.0, set()) is b
    other = Request(
        model="m",
        messages=({"role": "user", "content": "y"},),
        seed_id="other",
    )
    a.outstanding, b.outstanding = 10.0, 20.0
    assert fleet._choose(other, 1.0, set()) is b
    a.outstanding = 5.0
    assert fleet._choose(other, 1.0, set()) is b  # its home
    a.outstanding, b.outstanding = 0.0, 1000.0
    assert fleet._choose(other, 1.0, set()) is a


def test_servers_come_and_go_and_nothing_is_lost_or_asked_again(tmp_path):
    folder = tmp_path / "servers"
    folder.mkdir()
    stop = threading.Event()
    answered = []

    def life(number):
        """A server that lives for a moment, again and again."""
        draw = random.Random(number)
        while not stop.is_set():
            with serving(server_of(0.01)) as server:
                place = folder / f"job{number}"
                place.write_text(f"127.0.0.1:{server.port}\n")
                stop.wait(draw.uniform(0.3, 1.2))
            answered.append(len(server.bodies))

    threads = [threading.Thread(target=life, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        rows = [
            {"question": f"What is {n} + 2 ?", "target": str(n + 2)}
            for n in range(600)
        ]
        done = ran(tmp_path / "o", folder, rows=rows, concurrency=16)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert done.counts["kept"] == len(rows)
    assert not done.counts["failed"]
    again = ran(tmp_path / "o", folder, rows=rows)
    assert again.info["calls"]["asked"] == 0


def test_a_dead_endpoint_is_left_alone_and_its_calls_count_once(tmp_path):
    with serving(server_of(0.005)) as alive:
        dead = "http://127.0.0.1:9/v1"
        done = ran(tmp_path / "o", f"{dead},{alive.url}")
        assert done.counts["kept"] == len(ROWS)
        assert done.info["calls"]["asked"] == len(ROWS)
        assert len(alive.bodies) == len(ROWS)


def test_a_refusal_for_load_sends_calls_elsewhere(tmp_path):
    def busy(_, __):
        return web.json_response(
            {"error": {"message": "slow down"}},
            status=429,
            headers={"Retry-After": "30"},
        )

    with serving(busy) as full, serving(server_of(0.0)) as free:
        start = time.monotonic()
        done = ran(tmp_path / "o", f"{full.url},{free.url}")
        assert done.counts["kept"] == len(ROWS)
        assert time.monotonic() - start < 20
        assert len(free.bodies) == len(ROWS)


def test_draws_of_a_sample_go_to_one_server(tmp_path):
    with ExitStack() as stack:
        servers = [
            stack.enter_context(serving(server_of(0.02))) for _ in range(3)
        ]
        ran(
            tmp_path / "o",
            ",".join(s.url for s in servers),
            rows=ROWS[:30],
            draws=4,
            concurrency=24,
        )
        homes = {}
        for number, server in enumerate(servers):
            for body in server.bodies:
                prompt = json.dumps(body["messages"])
                homes.setdefault(prompt, set()).add(number)
    together = sum(len(places) == 1 for places in homes.values())
    assert together == len(homes)


def test_a_server_that_hangs_gets_no_more_calls():
    fleet = Fleet("m", Settings(endpoints="http://a:1/v1,http://b:1/v1"), 8)
    know(fleet)
    slow, quick = fleet._members.values()
    fleet._seconds = 0.1
    slow.begin(1.0)
    slow.calls[1] = time.monotonic() - 60
    quick.begin(1000.0)
    request = Request(model="m", messages=({"role": "user", "content": "x"},))
    assert fleet._choose(request, 1.0, set()) is quick
    assert fleet._choose(request, 1.0, {quick.url}) is slow


def test_absences_grow_and_calls_that_fail_together_count_once():
    member = Member("u", None, None)
    member.missed(time.monotonic())
    first = member.absent_until
    member.missed(member._missed_at - 1)
    assert member.absent_until == first
    member.missed(time.monotonic())
    assert member.absent_until - member._missed_at == pytest.approx(1.0)
    member.came(100.0)
    assert member.absent_until == 0.0


@pytest.mark.parametrize("budget", [None, 5.0])
def test_under_a_budget_calls_of_unknown_fate_are_counted(tmp_path, budget):
    def cut(_, __):
        raise asyncio.CancelledError  # the connection ends without a reply

    with serving(cut) as server, serving(server_of(0.0)) as well:
        done = ran(
            tmp_path / "o",
            f"{server.url},{well.url}",
            rows=ROWS[:40],
            budget=budget,
            price="1,1",
        )
    assert done.counts["kept"] == 40
    lost = len(server.bodies)
    assert lost > 0
    retried = done.info["calls"]["retried"]
    assert retried == 0 if budget is None else retried >= lost


def test_what_is_no_list_does_no_harm_while_a_run_goes(tmp_path):
    folder = tmp_path / "servers"
    folder.mkdir()
    (folder / "a").write_text("127.0.0.1:8000")
    fleet = Fleet("m", Settings(endpoints=str(folder)), 8)
    (folder / "core").write_bytes(b"\xff\x00\xfe not a list")
    (folder / "b").write_text("127.0.0.1:8001\nnonsense\n")
    fleet._read_at = -10.0
    fleet._look()
    assert sorted(fleet._members) == [
        "http://127.0.0.1:8000/v1",
        "http://127.0.0.1:8001/v1",
    ]
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    fleet._read_at = -10.0
    fleet._look()
    assert len(fleet._members) == 2
    many = ",".join(f"http://gpu{n}:8000/v1" for n in range(400))
    assert len(read_endpoints(many)) == 400


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"endpoints": "nowhere"}, "nowhere"),
        (
            {"endpoints": "http://a:1/v1", "api_base": "http://b:1/v1"},
            "one of them",
        ),
        ({"endpoints": {"critic": "http://a:1/v1"}}, "critic"),
        ({"endpoints": "http://a:1/v1", "batch": True}, "batch=True"),
        (
            {"endpoints": "http://a:1/v1", "teacher": "simulated/slips"},
            "openai/MODEL",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_call(
    tmp_path, options, found
):
    with pytest.raises(WrongUse, match=found):
        synth.run(
            "cot",
            ROWS[:2],
            **{"teacher": "openai/m", "output": tmp_path / "o", **options},
        )
