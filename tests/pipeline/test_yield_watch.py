"""A run that brings nothing stops early, says why with examples, and goes on where it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

import synth
from tests.conftest import chat, serving

ROWS = [
    {"question": f"What is {n} + 1 ?", "target": str(n + 1)} for n in range(200)
]


def run(answer, tmp_path, rows=ROWS, **options):
    with serving(answer) as server:
        options = {"concurrency": 4, "same_teacher": True, **options}
        done = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "o",
            **options,
        )
    return done, len(server.bodies)


def number_in(body):
    return int(
        body["messages"][-1]["content"].rpartition("What is ")[2].split()[0]
    )


def wrong(body, count):
    return chat(f"I think so.\n#### {number_in(body) + 70}")


def right(body, count):
    return chat(f"It is so.\n#### {number_in(body) + 1}")


def test_wrong_answers_alone_stop_the_run_with_6_and_three_examples(tmp_path):
    done, asked = run(wrong, tmp_path)
    assert done.exit_code == 6
    # Those in flight come in, and those that wait behind a slow one are there.
    assert 20 <= asked < len(ROWS) / 2
    assert (
        "of the first 20 seeds not one brought a row: 20 of 20 exits are wrong_answer"
        in done.stopped
    )
    for n in range(3):
        assert f"gold '{n + 1}' | answer '{n + 70}'" in done.stopped
        assert f"#### {n + 70}'" in done.stopped
    assert "--keep-going" in done.stopped
    assert "wrong_answer" in (tmp_path / "o" / "README.md").read_text()
    again, more = run(right, tmp_path)
    assert (again.exit_code, more) == (6, 0)  # the same replies say the same
    on, rest = run(right, tmp_path, keep_going=True)
    assert on.exit_code == 0
    assert on.counts["kept"] == 200 - asked
    assert rest == 200 - asked


def test_one_row_among_the_first_is_enough(tmp_path):
    done, asked = run(
        lambda body, count: (right if number_in(body) == 13 else wrong)(
            body, count
        ),
        tmp_path,
    )
    assert (done.exit_code, asked, done.counts["kept"]) == (0, 200, 1)


def test_replies_that_no_parser_reads_and_refused_requests_stop_it_too(
    tmp_path,
):
    done, _ = run(
        lambda body, count: chat("no answer here, sorry, none"), tmp_path / "a"
    )
    assert done.exit_code == 6
    assert "reply ends 'no answer here, sorry, none'" in done.stopped
    assert "--set STEP.parser=NAME" in done.stopped
    refuse = {"error": {"message": "max_tokens is odd", "code": "odd"}}

    odd = lambda body, count: web.json_response(refuse, status=400)  # noqa: E731
    done, _ = run(odd, tmp_path / "b")
    assert done.exit_code in (5, 6)
    assert "max_tokens is odd" in done.stopped


def test_votes_and_mixed_reasons_do_not_stop_a_run(tmp_path):
    def scattered(body, count):
        return chat(f"It is so.\n#### {count}")

    options = {
        "draws": 2,
        "overrides": {
            "rationale.filters": [{"name": "self_consistency", "min_votes": 2}]
        },
    }
    done, asked = run(scattered, tmp_path / "a", **options)
    assert (done.exit_code, asked) == (6, 400)
    assert done.stopped is None
    assert "nothing was kept" in done.info["nothing_kept"]
    half = lambda body, count: (wrong if number_in(body) % 2 else chat)(  # noqa: E731
        *((body, count) if number_in(body) % 2 else ("none",))
    )
    done, asked = run(half, tmp_path / "b")
    assert asked == 200


def test_a_pack_may_say_that_its_yield_is_low(tmp_path):
    import shutil

    from synth.packs.pack import built_in

    pack = shutil.copytree(built_in() / "cot", tmp_path / "pack")
    text = (pack / "pack.yaml").read_text()
    (pack / "pack.yaml").write_text(text + "low_yield: true\n")
    with serving(wrong) as server:
        done = synth.run(
            pack,
            ROWS,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "o",
        )
    assert len(server.bodies) == 200
    assert done.exit_code == 6  # nothing was kept all the same


def test_a_short_run_that_keeps_nothing_says_so_on_the_terminal(tmp_path):
    rows = [{"question": "What is 2 + 3 ?", "target": "70"}]
    (tmp_path / "x.jsonl").write_text(json.dumps(rows[0]) + "\n")
    words = [
        "run",
        "cot",
        "--input",
        str(tmp_path / "x.jsonl"),
        "--output",
        str(tmp_path / "o"),
        "--teacher",
        "simulated/perfect",
    ]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "synth"), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert (
        "nothing was kept: 1 of the first 1 exits are wrong_answer"
        in done.stderr
    )
    assert "gold '70' | answer '5'" in done.stderr
    assert "\n    " in (tmp_path / "o" / "README.md").read_text()
    report = subprocess.run(
        [
            str(Path(sys.executable).parent / "synth"),
            "report",
            str(tmp_path / "o"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "gold" in Path(report.stdout.strip()).read_text()


@pytest.mark.parametrize("target", [1, 5])
def test_a_target_without_any_row_ends_with_6(target, tmp_path):
    done, _ = run(wrong, tmp_path, rows=ROWS[:5], target=target, max_draws=2)
    assert done.exit_code == 6
