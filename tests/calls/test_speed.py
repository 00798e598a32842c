"""What is learnt of a server's speed, and how soon it is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.calls.speed import Speed, usual_rate


def worked(rate, seconds, memory=10.0):
    """A server that worked so long at so many tokens a second, looked at ten times a second."""
    speed = Speed(0.0, memory)
    for tenth in range(1, int(10 * seconds) + 1):
        speed.passed(tenth / 10, busy=True)
        speed.did(rate / 10)
    return speed


@given(st.floats(1.0, 1e5), st.floats(5.0, 60.0))
def test_a_steady_rate_is_found(rate, seconds):
    found = worked(rate, seconds).rate(usual=rate, trust=0.1)
    assert found == pytest.approx(rate, rel=0.02)


def test_a_server_that_slows_down_is_found_out():
    speed = worked(1000.0, 30.0)
    for second in range(31, 61):
        speed.passed(float(second), busy=True)
        speed.did(100.0)
    # Three memories later a twentieth of what was is left.
    assert 100 < speed.rate(usual=1000.0, trust=0.1) < 200


def test_a_newcomer_is_usual_and_a_silent_one_is_not():
    speed = Speed(0.0)
    assert speed.rate(usual=50.0, trust=2.0) == 50.0
    speed.passed(8.0, busy=True)
    assert speed.rate(usual=50.0, trust=2.0) < 20


def test_idle_seconds_do_not_count_and_the_past_fades():
    speed = worked(10.0, 10.0)
    speed.passed(15.0, busy=False)
    assert speed.rate(usual=1000.0, trust=0.01) == pytest.approx(10, rel=0.5)
    speed.passed(1000.0, busy=False)
    assert speed.rate(usual=1000.0, trust=0.01) == pytest.approx(1000)


def test_what_is_usual_among_servers():
    assert usual_rate([]) == 1.0
    assert usual_rate([Speed(0.0)]) == 1.0
    both = usual_rate([worked(10.0, 30.0), worked(30.0, 30.0)])
    assert both == pytest.approx(20.0, rel=0.02)
