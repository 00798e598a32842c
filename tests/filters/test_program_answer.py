"""What program_answer does beyond its laws."""

from __future__ import annotations

from synth.filters.program_answer import ProgramAnswer


def test_a_function_a_variable_or_the_last_line_is_the_answer():
    programs = [
        "def solution():\n    return 6 * 7",
        "answer = 42",
        "print('so')\nprint(84 / 2)",
        "result = '42 apples'",
    ]
    kept, dropped = ProgramAnswer().split(
        [{"code": code, "target": "42"} for code in programs]
    )
    assert not dropped
    assert len(kept) == 4


def test_files_are_out_of_reach():
    assert (
        ProgramAnswer()
        .judge({"code": "ans = open('/etc/hostname').read()", "target": "42"})
        .reason
        == "program_fails"
    )
