"""Formulas are compared in a process that may hang, grow or die without harm."""

from __future__ import annotations

import time

import pytest

from synth.core.errors import WrongUse
from synth.processes.worker import Pool, Worker
from synth.verifiers import algebra as module
from synth.verifiers.algebra import Algebra

SAME = [
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"), ("(x+1)^2", "x^2+2x+1"), (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"(-\infty, 3]", r"(-\infty,3]"), ("26 apples", "26"), ("1,2", r"\{2,1\}"), ("3 1/2", r"\frac{7}{2}"), (r"\sin^2 x + \cos^2 x", "1"),
]  # fmt: skip
OTHER = [
    ("x+1", "x-1"),
    (r"\sqrt{2}", r"\sqrt{3}"),
    ("25", "26"),
    (r"\frac{x}{2}", "2x"),
]
# Each was seen to hang, or to be called wrong after a timeout, where it ran in the caller's own process.
PATHOLOGICAL = [
    r"\binom{1000000}{500000}", "(" * 300 + "1" + ")" * 300, r"\sin(" * 40 + "x" + ")" * 40, "9^9^9^9", "100000!", "10^{10^{10}}",
    "{" + ",".join(map(str, range(140))) + "}", "+".join(["x^2"] * 120), r"\int_0^1 " * 30 + "x", "x" * 500,
]  # fmt: skip


@pytest.fixture(scope="module")
def verifier():
    return Algebra(seconds=2.0)


@pytest.mark.parametrize("pair", SAME)
def test_equal_formulas(verifier, pair):
    assert verifier.verify(*pair)
    assert verifier.verify(*reversed(pair))


@pytest.mark.parametrize("pair", OTHER)
def test_other_formulas(verifier, pair):
    assert verifier.verify(*pair) is False


@pytest.mark.parametrize(
    "text",
    [
        *PATHOLOGICAL[:1],
        *(
            pytest.param(text, marks=pytest.mark.long)
            for text in PATHOLOGICAL[1:]
        ),
    ],
    ids=range(len(PATHOLOGICAL)),
)
def test_pathological_formulas_are_unknown_at_worst(text):
    quick = Algebra(seconds=0.5)
    quick.pool.ask({"answer": "x", "gold": "x"})  # warm
    started = time.monotonic()
    assert quick.verify(text, r"\sqrt{7}") in (None, False)
    assert time.monotonic() - started < 30
    assert quick.verify(
        "x+x", "2x"
    )  # the next pair is answered as if nothing had been


def test_values_start_no_process(monkeypatch):
    monkeypatch.setattr(module, "Pool", None)
    assert Algebra().verify_all(
        [("26", "$26.00"), ("bus", "Bus."), ("1", "2")]
    ) == [True, True, False]


def test_a_worker_that_takes_too_long_or_dies_is_replaced(tmp_path):
    script = tmp_path / "odd.py"
    script.write_text(
        "import json, os, sys, time\nprint('{\"ready\": true}', flush=True)\n"
        "for line in sys.stdin:\n    said = json.loads(line)\n"
        "    if said == 'die': os._exit(3)\n    if said == 'sleep': time.sleep(60)\n    print(json.dumps([said, os.getpid()]), flush=True)\n"
    )
    worker = Worker(str(script), seconds=0.5)
    first = worker.ask(1)[1]
    assert worker.ask(2) == [2, first]
    assert worker.ask("sleep") is None
    second = worker.ask(3)[1]
    assert second != first
    assert worker.ask("die") is None
    assert worker.ask(4)[1] not in (first, second)
    assert [
        said for said, _ in Pool(2, str(script), seconds=5).map(range(20))
    ] == list(range(20))


def test_a_worker_that_cannot_start_says_why(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise ValueError('no such luck')\n")
    with pytest.raises(WrongUse, match="no such luck"):
        Worker(str(script)).ask(1)
