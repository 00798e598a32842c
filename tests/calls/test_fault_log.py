"""Calls that brought no reply are counted by second, and shown over time."""

from __future__ import annotations

import json
from collections import Counter

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.calls import fault_log
from synth.calls.fault_log import FaultLog
from synth.core.errors import TeacherBusy
from synth.view import pace
from synth.view.pace import Faults
from tests.conftest import chat, serving

ROWS = [{"question": f"What is {n} + 1 ?"} for n in range(8)]


def test_refusals_of_a_run_stand_in_its_journal_and_replies_do_not(tmp_path):
    def answer(body, count):
        if count <= 3:
            return web.json_response({"error": {"message": "slow"}}, status=429)
        if count == 4:
            return web.json_response({"error": {"message": "oh"}}, status=503)
        return chat("Well. #### 4")

    with serving(answer) as server:
        done = synth.run(
            "cot",
            ROWS,
            teacher="openai/m",
            output=tmp_path / "out",
            api_base=server.url,
        )
    assert done.counts["kept"] == 8
    path = tmp_path / "out" / "journal" / "faults.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    sums = Counter()
    for line in path.read_text().splitlines():
        counts = json.loads(line)
        assert counts.pop("at") > 1.7e9
        sums.update(counts)
    assert sums.total() == done.info["calls"]["retried"] == 4
    assert sums["rate_limit"] == 3
    faults = Faults(path)
    faults.look()
    assert set(faults.curves()) == set(sums)


def test_a_disk_that_is_full_loses_figures_and_no_run(tmp_path):
    log = FaultLog(tmp_path / "gone")
    log.add(TeacherBusy("rate_limit", "slow"))
    log.flush()
    assert not (tmp_path / "gone").exists()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20000),
            st.dictionaries(
                st.sampled_from(["rate_limit", "timeout", "server_error"]),
                st.integers(1, 50),
            ),
        ),
        max_size=40,
    ),
    st.integers(0, 5),
)
def test_every_call_is_in_the_curve_however_long_the_run(
    tmp_path_factory, seconds, broken
):
    """The area below each curve is the number of its calls, whatever the width of a bucket."""
    path = tmp_path_factory.mktemp("faults") / fault_log.NAME
    seconds.sort(key=lambda one: one[0])
    lines = [
        json.dumps({"at": 1764230400 + at, **counts}) for at, counts in seconds
    ]
    lines.insert(broken % (len(lines) + 1), '{"at": "soon", "rate')
    faults = Faults(path)
    faults.look()
    for line in lines:
        with path.open("a") as file:
            file.write(line + "\n")
        faults.look()
    sums = Counter()
    for _, counts in seconds:
        sums.update(counts)
    curves = faults.curves()
    assert set(curves) == {kind for kind, count in sums.items() if count}
    for kind, points in curves.items():
        assert len(points) <= pace._MOST_POINTS + 1
        area = sum(height for _, height in points) * faults.width / 60
        assert abs(area - sums[kind]) < 1e-6 * sums[kind]
