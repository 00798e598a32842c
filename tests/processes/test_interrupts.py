"""Signals end work in order; workers answer line by line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap

import pytest

from synth.core.errors import WrongUse
from synth.processes import interrupts, leash
from synth.processes.interrupts import Interrupted, ending, exit_code, raised
from synth.processes.worker import Pool, Worker
from tests.tables import table


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "ended by SIGTERM"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
    ],
)
def test_an_interruption_has_the_exit_code_of_a_shell(number, code, said):
    error = Interrupted(number)
    assert (exit_code(error), str(error)) == (code, said)
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
    assert exit_code(KeyboardInterrupt()) == 130


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
)
def test_signals_raise_while_it_lasts_and_go_their_own_way_after(number):
    # Who started the tests may ignore it: `nohup` does.
    outer = signal.signal(number, signal.default_int_handler)
    try:
        before = {each: signal.getsignal(each) for each in interrupts.ENDING}
        with pytest.raises(Interrupted) as error, raised():
            signal.raise_signal(number)
        after = {each: signal.getsignal(each) for each in interrupts.ENDING}
    finally:
        signal.signal(number, outer)
    assert error.value.exit_code == 128 + number
    assert after == before


def test_a_signal_that_is_ignored_on_purpose_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raised():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_signal_cancels_the_task_and_is_remembered():
    async def work() -> tuple[int, int]:
        with ending(asyncio.current_task(), leaves=False) as handler:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()
                os.kill(os.getpid(), signal.SIGINT)
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.sleep(5)
                asyncio.current_task().uncancel()
        return handler.first, handler.count

    assert asyncio.run(work()) == (signal.SIGTERM, 2)


SERVES = """
    import os, sys, time
    from synth.processes.worker import serve

    def answer(message):
        if message == "die":
            os._exit(3)
        if message == "hang":
            time.sleep(60)
        if message == "print":
            print("noise"); os.write(2, b"noise")
        if message == "pid":
            return os.getpid()
        return {"said": message}

    serve(answer)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("worker") / "serves.py"
    path.write_text(textwrap.dedent(SERVES))
    return str(path)


def test_a_worker_answers_in_order_and_is_started_again(script):
    worker = Worker(script, seconds=20.0)
    try:
        for message in (
            "a",
            "\u00e9\u4e94\n",
            {"x": [1, None]},
            0.5,
            "print",
            "x" * 200_000,
        ):
            assert worker.ask(message) == {"said": message}
        first = worker.ask("pid")
        assert worker.ask("pid") == first
        assert worker.ask("die") is None
        assert worker.ask("pid") not in (first, None)
        worker.seconds = 0.2
        assert worker.ask("hang") is None
        worker.seconds = 20.0
        assert worker.ask("b") == {"said": "b"}
    finally:
        worker.close()
    worker.close()


def test_a_pool_answers_in_the_order_of_its_questions(script):
    pool = Pool(2, script, seconds=20.0)
    assert pool.map(range(9)) == [{"said": n} for n in range(9)]
    assert pool.ask("a") == {"said": "a"}
    assert pool.map([]) == []
    assert pool.size == 2


@pytest.mark.parametrize(
    ("code", "found", "todo"),
    table(
        r"""
'print(\'{"error": "no model", "todo": "Get one."}\')' | 'no model' | 'Get one.'
"raise KeyError('x')" | "KeyError: 'x'" | 'by hand'
"print('hello')" | '' | 'by hand'
"import sys; sys.exit('gone')" | 'gone' | 'by hand'
"print('[1]')" | '' | 'by hand'
"""
    ),
)
def test_a_worker_that_cannot_start_says_why(tmp_path, code, found, todo):
    path = tmp_path / "broken.py"
    path.write_text(code)
    with pytest.raises(WrongUse) as error:
        Worker(str(path)).ask("a")
    message = str(error.value)
    assert message.startswith(f"python {path}: found {found}")
    assert "wanted a process that is ready" in message
    assert todo in message


def test_a_tied_process_becomes_the_script_with_its_arguments(tmp_path):
    path = tmp_path / "shows.py"
    path.write_text("import sys; print(__name__, *sys.argv[1:])")
    process = leash.start(str(path), "a", "b c", stdout=-1)
    assert process.communicate()[0] == b"__main__ a b c\n"
    assert leash.command("x")[0] == sys.executable
