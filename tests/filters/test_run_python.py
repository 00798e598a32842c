"""Programs as rows."""

from __future__ import annotations

import json
import subprocess
import sys

import synth
from synth.filters.run_python import RunPython
from tests.conftest import chat, serving


def test_fenced_programs_with_lists_of_tests_and_timeouts_are_told_apart():
    rows = [
        {
            "completion": "Sure:\n```python\ndef f(x):\n    return x + 1\n```",
            "tests": ["assert f(1) == 2", "assert f(0) == 1"],
        },
        {
            "completion": "```python\ndef f(x):\n    return x\n```",
            "tests": ["assert f(1) == 2"],
        },
        {"completion": "while True: pass", "tests": "pass"},
    ]
    kept, dropped = RunPython(seconds=1).split(rows)
    assert len(kept) == 1
    assert [row["reason"] for row in dropped] == ["tests_fail", "timeout"]
    assert len(RunPython(seconds=1, unknown="keep").split(rows)[0]) == 2


def test_in_a_run_the_teachers_programs_are_tested(tmp_path):
    replies = {"1": "def f(): return 1", "2": "def f(): return 3"}

    def answer(body, count):
        number = body["messages"][-1]["content"].split("\n", 1)[0]
        return chat(f"```python\n{replies[number]}\n```\n#### {number}")

    rows = [
        {"question": n, "target": n, "tests": f"assert f() == {n}"}
        for n in ("1", "2")
    ]
    with serving(answer) as server:
        how = {"rationale.filters": [{"name": "run_python", "field": "reply"}]}
        run = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path,
            overrides=how,
        )
    assert run.counts == {
        "asked": 2,
        "kept": 1,
        "dropped": {"tests_fail": 1},
        "failed": {},
    }


def test_tests_of_any_kind_and_a_program_of_any_size_are_the_rows_own():
    code = "def f(): return 1"
    tests = [
        ["assert f() == 1", 7, None],
        {"a": 1},
        5,
        "assert f() == 1\ud800",
        [["x"]],
    ]
    rows = [{"code": code, "tests": test} for test in tests]
    rows += [
        {"code": "#" * (129 << 20), "tests": "pass"},
        {"code": code + "\0", "tests": "pass"},
        {"code": "\ud800", "tests": "pass"},
    ]
    kept, dropped = RunPython().split(rows)
    assert len(kept) + len(dropped) == len(rows)
    assert [row["tests"] for row in kept] == [
        tests[0],
        tests[1],
        tests[2],
        tests[4],
    ]


def test_the_command_outlives_programs_that_are_after_it(tmp_path):
    after = (
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 10, 9)\nfcntl.fcntl(r, 8, os.getppid())\nfcntl.fcntl(r, 4, os.O_ASYNC)\nos.write(w, b'x')",
        "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
        "import os, signal\nos.killpg(os.getpgid(os.getppid()), signal.SIGKILL)",
        "import ctypes, os\nctypes.CDLL(None).syscall(62, os.getppid(), 9)\nos._exit(0)",
        "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (0, 0))",
        "import os, sys\nsys.stderr.write('no sandbox: none\\n')\nsys.stderr.flush()\nos._exit(97)",
        "import os\nos.kill(os.getpid(), 9)",
    )
    rows = [
        {"id": str(n), "code": code, "tests": "pass"}
        for n, code in enumerate((*after, "print(1)"))
    ]
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    words = [
        "filter",
        "--input",
        tmp_path / "in.jsonl",
        "--output",
        tmp_path / "out.jsonl",
        "--filter",
        "run_python",
    ]
    code = "import sys; from synth.cli import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert [
        json.loads(line)["id"]
        for line in (tmp_path / "out.jsonl").read_text().splitlines()
    ] == [str(len(after))]
