"""The filter of system calls, statement by statement, as the kernel would walk it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.sandbox import jail
from synth.sandbox.system_calls import MACHINES, filter_program

OWN = 4711
LOAD, AND, EQUAL, AT_LEAST, SET, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERROR, ASK = 0x7FFF0000, 0x80000000, 0x00050000, 0x7FC00000
NAMES = sorted(MACHINES)
WORD = st.integers(0, 2**64 - 1) | st.integers(0, 64) | st.just(OWN)


def walked(program: list, audit: int, number: int, arguments: list[int]) -> int:
    """What a filter says of a call: classic BPF over `struct seccomp_data`."""
    data = {0: number, 4: audit}
    for place, value in enumerate([*arguments, 0, 0, 0, 0, 0, 0][:6]):
        data[16 + 8 * place] = value & 0xFFFFFFFF
        data[20 + 8 * place] = value >> 32 & 0xFFFFFFFF
    held = at = 0
    while True:
        code, value, yes, no = program[at]
        at += 1
        if code == LOAD:
            held = data[value]
        elif code == AND:
            held &= value
        elif code == RETURN:
            return value
        else:
            holds = {
                EQUAL: held == value,
                AT_LEAST: held >= value,
                SET: bool(held & value),
            }[code]
            at += yes if holds else no


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [True, False])
def test_every_jump_lands_inside_and_every_path_returns(name, threads):
    program = filter_program(MACHINES[name], OWN, threads=threads)
    assert len(program) < 4096
    assert program[-1][0] == RETURN
    for place, (code, value, yes, no) in enumerate(program):
        assert 0 <= value < 2**32
        assert 0 <= yes <= 255
        assert 0 <= no <= 255
        if code in (EQUAL, AT_LEAST, SET):
            assert place + 1 + max(yes, no) < len(program)
        else:
            assert (yes, no) == (0, 0)


@given(
    st.sampled_from(NAMES),
    st.integers(0, 600),
    st.lists(WORD, min_size=6, max_size=6),
)
def test_a_call_that_is_not_listed_is_refused(name, number, arguments):
    machine = MACHINES[name]
    program = filter_program(machine, OWN, threads=True)
    said = walked(program, machine.audit, number, arguments)
    if number not in machine.numbers.values():
        assert said == ERROR | 1
    assert said in (ALLOW, ERROR | 1, ERROR | 11, ERROR | 38)
    assert walked(program, machine.audit ^ 1, number, arguments) == KILL
    assert walked(program, machine.audit, number | 1 << 30, arguments) == KILL


@given(st.sampled_from(NAMES), WORD, WORD)
def test_signals_go_to_the_process_itself_alone(name, process, other):
    machine = MACHINES[name]
    program = filter_program(machine, OWN, threads=True)
    for call in ("kill", "tgkill"):
        number = machine.numbers[call]
        said = walked(program, machine.audit, number, [process, other])
        # The kernel takes 32 bits of a process number.
        assert (said == ALLOW) == (process & 0xFFFFFFFF == OWN)


@given(st.sampled_from(NAMES), WORD)
def test_files_are_opened_to_read_alone(name, flags):
    machine = MACHINES[name]
    program = filter_program(machine, OWN, threads=True)
    number = machine.numbers["openat"]
    said = walked(program, machine.audit, number, [0, 0, flags])
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    if said == ALLOW:
        assert not flags & (writes | os.O_PATH | os.O_TMPFILE & ~os.O_DIRECTORY)
    for allowed in (0, os.O_CLOEXEC, os.O_CLOEXEC | os.O_DIRECTORY):
        assert walked(program, machine.audit, number, [0, 0, allowed]) == ALLOW


def test_another_system_has_no_sandbox(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(jail.Refused, match="no sandbox for darwin"):
        jail.library()


def test_a_stat_by_opening_sees_what_stat_sees(tmp_path):
    (tmp_path / "a").write_text("abc")
    (tmp_path / "link").symlink_to("a")
    code = (
        "import os, sys\n"
        "from synth.sandbox import jail\n"
        "jail.look_by_opening()\n"
        "os.chdir(sys.argv[1])\n"
        "assert os.stat('a').st_size == os.stat('link').st_size == 3\n"
        "with open('a') as file: assert os.stat(file.fileno()).st_size == 3\n"
        "for name in ('none', 'a/b'):\n"
        "    try: os.stat(name)\n"
        "    except (FileNotFoundError, NotADirectoryError): continue\n"
        "    raise SystemExit(name)\n"
        "try: os.stat('link', follow_symlinks=False)\n"
        "except OSError: print('fine')\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("fine\n", "")
