"""Every command ends with a documented exit code and one message, whatever the machine does."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.cli.command_group import CommandGroup, as_ours
from synth.core.errors import Stopped
from synth.processes.interrupts import Interrupted
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import rest_long, write

DOCUMENTED = {0, 2, 3, 4, 5, 6, 130}
LONG = "a" * 300


@pytest.fixture
def made(tmp_path):
    """A folder with an input and a run over it."""
    rows = make_problems(40, seed=3)
    write(tmp_path / "in.jsonl", rows)
    synth.run("cot", rows, teacher="simulated/mixed", output=tmp_path / "run")
    return tmp_path


def command(folder, words, redirect):
    """(exit code, words said) of a command in a process of its own."""
    line = f'"$0" -m synth.cli "$@" {redirect}'
    env = {**os.environ, "PYTHONPATH": str(Path(synth.__file__).parent.parent)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, sys.executable, *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr + done.stdout


@contextlib.contextmanager
def full_disk(limit):
    """Files may grow up to `limit` bytes and no further."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def told(words):
    """(exit code, words said) of a command in this process."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), (
        done.exception
    )
    assert done.exit_code in DOCUMENTED
    return done.exit_code, done.output


def run_words(folder, output="out"):
    return [
        "run",
        "cot",
        "--input",
        str(folder / "in.jsonl"),
        "--teacher",
        "simulated/mixed",
        "--output",
        str(folder / output),
        "--quiet",
    ]


@pytest.mark.parametrize("limit", [0, 300, 1 << 10, 4 << 10, 8 << 10, 12 << 10])
def test_a_full_disk_at_any_stage_of_a_run_loses_nothing(made, limit):
    with full_disk(limit):
        code, words = told(run_words(made))
    assert code == 5, words
    kept = (
        (made / "out" / "journal" / "replies.log").read_bytes().count(b"\n")
        if (made / "out" / "journal" / "replies.log").exists()
        else 0
    )
    assert told(run_words(made))[0] == 0
    info = json.loads((made / "out" / "run.json").read_text())
    assert info["calls"]["asked"] + info["calls"]["reused"] == 40
    assert info["calls"]["reused"] >= kept - 1  # the last line may be torn


@pytest.mark.parametrize(
    "error",
    rest_long(
        [
            OSError(28, "No space left on device"),
            RuntimeError("odd"),
            OSError(122, "Disk quota exceeded"),
            MemoryError(),
        ],
        2,
    ),
)
@pytest.mark.parametrize("stage", ["_table", "content_of", "make_card"])
def test_what_breaks_a_publication_ends_the_run_with_5_and_the_old_one_stands(
    made, monkeypatch, error, stage
):
    target = {
        "_table": "synth.runs.columns.pa.Table.from_pylist",
        "content_of": "synth.runs.publisher.content_of",
        "make_card": "synth.pipeline.run.make_card",
    }[stage]

    def broken(*args, **more):
        raise error

    before = (made / "run" / "run.json").read_bytes()
    rows = make_problems(45, seed=3)
    with monkeypatch.context() as patched:
        if stage == "_table":
            patched.setattr("synth.runs.publisher.Columns.table", broken)
        else:
            patched.setattr(target, broken)
        with pytest.raises(Stopped) as stopped:
            synth.run(
                "cot", rows, teacher="simulated/mixed", output=made / "run"
            )
    assert stopped.value.exit_code == 5
    assert (made / "run" / "run.json").read_bytes() == before
    done = synth.run(
        "cot", rows, teacher="simulated/mixed", output=made / "run"
    )
    assert done.counts["asked"] == 45
    assert done.info["calls"]["asked"] == 0


@pytest.mark.parametrize(
    "words",
    [["export", "run", "--to", "sft", "--output", "x.jsonl"], ["export", "run", "--to", "sft", "--output", "x"], ["report", "run"], ["journal", "run", "--output", "j.jsonl"]],
)  # fmt: skip
def test_a_full_disk_leaves_no_half_file(made, words):
    (made / "x.jsonl").write_text("before")
    with full_disk(1 << 10):
        assert (
            told(
                [
                    str(made / word)
                    if word in ("run", "x", "x.jsonl", "j.jsonl")
                    else word
                    for word in words
                ]
            )[0]
            == 5
        )
    assert (made / "x.jsonl").read_text() == "before"
    assert not [path.name for path in made.rglob(".potstill-*")]
    assert not [
        path.name
        for path in made.rglob("*")
        if path.name in ("j.jsonl", "train.parquet", "report.html")
    ]


@pytest.mark.parametrize(
    ("redirect", "code"),
    rest_long([(">/dev/full 2>&-", 5), ("2>/dev/full | head -c 1 >/dev/null", 0), ("<&- >&- 2>&-", 0)]),
)  # fmt: skip
def test_a_reader_who_leaves_changes_nothing(made, redirect, code):
    assert command(made, run_words(made)[:-1], redirect)[0] == code
    assert json.loads((made / "out" / "run.json").read_text())["complete"]
    lines = (made / "out" / "journal" / "replies.log").read_bytes().splitlines()
    assert len(lines) == 40
    assert all(
        line[8:9] == b" " for line in lines
    )  # nothing else was written into the journal


def test_few_files_may_be_open(made):
    line = [
        "--input",
        "in.jsonl",
        "--teacher",
        "simulated/mixed",
        "--output",
        "few",
    ]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 64; "$0" -m synth.cli run cot "$@"', sys.executable, *line], cwd=made, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(synth.__file__).parent.parent)},
    )  # fmt: skip
    assert done.returncode in {0, 5}, done.stderr


def test_a_pipe_that_nobody_writes_into_is_given_up(made, monkeypatch):
    monkeypatch.setattr("synth.inputs.seeds.PIPE_SECONDS", 0.1)
    for name in ("pipe.jsonl", "named"):
        os.mkfifo(made / name)
        code, words = told(
            [
                "run",
                "cot",
                "--input",
                made / name,
                "--teacher",
                "simulated/mixed",
                "--output",
                made / "o",
            ]
        )
        assert code == 2
        assert "nobody wrote" in words
    assert (
        told(
            [
                "run",
                "cot",
                "--input",
                "/dev/null",
                "--teacher",
                "simulated/mixed",
                "--output",
                made / "o",
            ]
        )[0]
        == 2
    )


def test_a_pipe_is_read_once(made):
    os.mkfifo(made / "pipe")
    writer = threading.Thread(
        target=lambda: (made / "pipe").write_bytes(
            (made / "in.jsonl").read_bytes()
        )
    )
    writer.start()
    words = [
        "run",
        "cot",
        "--input",
        made / "pipe",
        "--teacher",
        "simulated/mixed",
        "--output",
        made / "o",
        "--quiet",
    ]
    assert told(words)[0] == 0
    writer.join()
    assert (
        json.loads((made / "o" / "run.json").read_text())["counts"]["asked"]
        == 40
    )


def test_long_names(made):
    (made / LONG[:240]).mkdir()
    for words in (
        [
            "run",
            "cot",
            "--input",
            made / "in.jsonl",
            "--teacher",
            "simulated/mixed",
            "--output",
            made / LONG,
        ],
        [
            "run",
            "cot",
            "--input",
            f"{made / LONG}.jsonl",
            "--teacher",
            "simulated/mixed",
            "--output",
            made / "o",
        ],
        [
            "run",
            LONG,
            "--input",
            made / "in.jsonl",
            "--teacher",
            "simulated/mixed",
            "--output",
            made / "o",
        ],
        [
            "run",
            "cot",
            "--input",
            made / "in.jsonl",
            "--teacher",
            f"replay/{LONG}.jsonl",
            "--output",
            made / "o",
        ],
        ["export", made / LONG, "--to", "sft", "--output", made / "x.jsonl"],
        [
            "export",
            made / "run",
            "--to",
            "sft",
            "--output",
            made / f"{LONG}.jsonl",
        ],
        ["report", made / LONG],
        ["journal", made / LONG],
        ["show", LONG],
    ):
        assert told(words)[0] == 2
    assert (
        told(
            [
                "export",
                made / "run",
                "--to",
                "sft",
                "--output",
                made / f"{LONG[:249]}.jsonl",
            ]
        )[0]
        == 0
    )


BROKEN = {
    "cut": b'{"pack": {"name"', "empty": b"", "binary": b"\x80\x00\xff" * 99, "list": b"[]", "null": b"null", "kinds": b'{"pack": 3, "counts": [], "settings": null}',
    "counts": b'{"pack":{"name":"a","about":"b","hash":"c"},"settings":{"set":{},"teachers":{}},"counts":{"asked":1,"kept":0,"dropped":{"a":"b"},"failed":{}}}',
    "deep": b"[" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_run_json_is_named_and_mended_by_the_same_command(made, how):
    before = (made / "run" / "run.json").read_bytes()
    (made / "run" / "run.json").write_bytes(BROKEN[how])
    for words in (
        ["export", made / "run", "--to", "sft", "--output", made / "x.jsonl"],
        ["report", made / "run"],
    ):
        code, said = told(words)
        assert code == 2
        assert "run.json" in said
    assert (
        told(
            [
                "plan",
                "cot",
                "--input",
                made / "in.jsonl",
                "--teacher",
                "simulated/mixed",
                "--reuse",
                made / "run",
            ]
        )[0]
        == 0
    )
    assert (
        told(
            [
                "run",
                "cot",
                "--input",
                made / "in.jsonl",
                "--teacher",
                "simulated/mixed",
                "--output",
                made / "run",
                "--quiet",
            ]
        )[0]
        == 0
    )
    assert (
        json.loads((made / "run" / "run.json").read_bytes())["counts"]
        == json.loads(before)["counts"]
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"PAR1", b"\x00\xff" * 999, b"PAR1" + b"\x00" * 99 + b"PAR1"],
)
def test_a_broken_parquet_file_is_named(made, content):
    file = made / "run" / "data" / "train-00000.parquet"
    file.write_bytes(content)
    for words in (
        ["export", made / "run", "--to", "sft", "--output", made / "x.jsonl"],
        ["report", made / "run"],
        [
            "plan",
            "cot",
            "--input",
            made / "run",
            "--teacher",
            "simulated/mixed",
        ],
    ):
        code, said = told(words)
        assert code == 2
        assert "train-00000.parquet" in said


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet", "yaml"])
def test_files_that_are_no_text(made, ending):
    path = made / f"odd.{ending}"
    path.write_bytes(b"\xff\xfe\x00\x81" * 500)
    for words in (
        [
            "run",
            "cot",
            "--input",
            path,
            "--teacher",
            "simulated/mixed",
            "--output",
            made / "o",
        ],
        [
            "run",
            "cot",
            "--input",
            made / "in.jsonl",
            "--teacher",
            f"replay/{path}",
            "--output",
            made / "o",
        ],
        [
            "filter",
            "--input",
            path,
            "--output",
            made / "f.jsonl",
            "--filter",
            "length",
        ],
    ):
        assert (
            told(words)[0] in (2, 6)
        )  # some bytes are a text in an encoding of their own, with nothing in it


def test_a_filter_over_a_field_that_cannot_exist_is_refused_before_a_call(made):
    for spec in (
        {"name": "length", "field": "ratoinale"},
        {"name": "answer_match", "answer": "result"},
        {"name": "near_duplicate", "field": "text"},
        {"name": "pii", "fields": ["question", "nope"]},
    ):
        code, words = told(
            [
                "run",
                "cot",
                "--input",
                made / "in.jsonl",
                "--teacher",
                "simulated/mixed",
                "--output",
                made / "o",
                "--set",
                f"rationale.filters={json.dumps([spec])}",
            ]
        )
        assert code == 2, words
        assert "field" in words
        assert not (made / "o").exists()
    assert (
        told(
            [
                "filter",
                "--input",
                made / "in.jsonl",
                "--output",
                made / "f.jsonl",
                "--filter",
                "length:field=nope",
            ]
        )[0]
        == 2
    )


def test_other_faults_of_the_system_have_a_code():
    assert as_ours(OSError(24, "Too many open files")).exit_code == 5
    assert as_ours(OSError(5, "Input/output error", "x")).exit_code == 5
    assert as_ours(OSError(30, "Read-only file system", "x")).exit_code == 2
    assert (
        as_ours(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd")).exit_code
        == 2
    )
    assert as_ours(MemoryError()).exit_code == 5
    with pytest.raises(KeyError):
        as_ours(KeyError("a fault of ours"))


@pytest.mark.parametrize(
    ("interrupt", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (Interrupted(signal.SIGTERM), 143, "ended by SIGTERM"),
    ],
)
def test_an_interrupt_amid_an_import_is_one(interrupt, code, words):
    """Whoever imports wraps it, and so does Python where a class is being made."""

    class Name:
        def __set_name__(self, owner: type, name: str) -> None:
            raise interrupt

    @click.group(cls=CommandGroup)
    def commands() -> None: ...

    @commands.command()
    def load() -> None:
        try:
            type("Made", (), {"name": Name()})
        except Exception as error:
            raise RuntimeError("Failed to import it") from error

    done = CliRunner().invoke(commands, ["load"])
    assert (done.exit_code, done.stderr) == (code, f"commands: {words}\n")
