"""The commands as a user runs them: output, exit codes, messages."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from synth.cli import main
from tests.conftest import chat, serving, write

TEACHER = ["--teacher", "simulated/mixed"]


def synth(*args):
    result = CliRunner().invoke(main, [str(a) for a in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_help_is_quick_and_names_the_commands():
    started = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-m", "synth.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (
        time.perf_counter() - started < 3
    )  # the bar is 0.3 s on a quiet machine; this only catches a heavy import
    for command in (
        "list",
        "show",
        "check",
        "plan",
        "run",
        "export",
        "filter",
        "report",
    ):
        assert command in out


def test_every_command_stands_in_one_section_of_the_help():
    from finetune.cli import main as finetune_main

    for group in (main, finetune_main):
        out = CliRunner().invoke(group, ["--help"]).output
        assert "..." not in out.partition("\n")[2]
        listed = [
            command.name
            for commands in group.sections.values()
            for command in commands
        ]
        shown = [name for name, one in group.commands.items() if not one.hidden]
        assert sorted(listed) == sorted(shown)


def test_a_plan_for_scripts_is_json(problems):
    words = [
        "--input",
        problems,
        "--teacher",
        "openai/gpt-4o-mini",
        "--draws",
        "4",
    ]
    code, out = synth("plan", "cot", *words, "--json")
    assert code == 0
    assert json.loads(out) | {
        "calls": 240,
        "completion_tokens": 122_880,
    } == json.loads(out)


def test_rows_come_in_by_one_name_in_both_commands():
    from finetune.cli import main as finetune_main

    for name in (
        "sft",
        "evaluate",
        "teach",
        "mix",
        "score-lists",
        "evaluate-retriever",
    ):
        out = CliRunner().invoke(finetune_main, [name, "--help"]).output
        assert "--data, --input" in out, name


def test_packs_show_check_plan(problems):
    assert "distill_step_by_step" in synth("list", "packs")[1]
    assert synth("packs")[1] == synth("list", "packs")[1]
    code, out = synth("show", "cot", "--input", problems)
    assert code == 0
    assert "answer_match" in out.casefold().replace(
        "answermatch", "answer_match"
    )
    assert "how many" in out
    code, out = synth("check", "cot", "--input", problems)
    assert (code, "60 rows, all usable" in out) == (0, True)
    code, out = synth(
        "plan",
        "cot",
        "--input",
        problems,
        "--teacher",
        "openai/gpt-4o-mini",
        "--draws",
        "4",
    )
    assert code == 0
    assert "at most 240 calls" in out
    assert "at most 122,880 out" in out


def test_run_export_filter_report(tmp_path, problems):
    out = tmp_path / "run"
    code, said = synth(
        "run",
        "cot",
        "--input",
        problems,
        "--output",
        out,
        "--draws",
        4,
        *TEACHER,
    )
    assert code == 0
    assert "| asked | | 240 |" in said
    assert (
        "240 reused"
        in synth(
            "run",
            "cot",
            "--input",
            problems,
            "--output",
            out,
            "--draws",
            4,
            *TEACHER,
        )[1]
    )
    kept = json.loads((out / "run.json").read_text())["counts"]["kept"]
    for target, rows in (
        ("sft", kept),
        ("multitask", 2 * kept),
        ("sft:completion=#### {{ answer }}", kept),
    ):
        assert (
            synth(
                "export", out, "--to", target, "--output", tmp_path / "x.jsonl"
            )[0]
            == 0
        )
        assert len((tmp_path / "x.jsonl").read_text().splitlines()) == rows
    code, said = synth(
        "filter",
        "--input",
        out,
        "--output",
        tmp_path / "f.jsonl",
        "--filter",
        "arithmetic_steps",
        "--filter",
        "per_seed:most=1",
    )
    assert code == 0
    assert "over_quota" in said
    first = json.loads((tmp_path / "f.jsonl").read_text().splitlines()[0])
    assert first["marks"]["arithmetic_steps"]["keep"] is True
    assert all(
        json.loads(line)["reason"]
        for line in (tmp_path / "f.dropped.jsonl").read_text().splitlines()
    )
    code, said = synth("journal", out, "--output", tmp_path / "raw.jsonl")
    assert (code, "replies: 240" in said) == (0, True)
    assert (
        len(
            json.loads((tmp_path / "raw.jsonl").read_text().splitlines()[0])[
                "key"
            ]
        )
        == 64
    )
    assert synth("report", out)[0] == 0
    assert "wrong_answer" in (out / "report.html").read_text()


def test_filter_reads_completions_with_a_parser(tmp_path):
    rows = [
        {"question": "q", "completion": f"#### {a}", "target": "4", "mine": [1]}
        for a in (4, 4, 5)
    ] + [{"question": "q", "completion": "?"}]
    path = write(tmp_path / "in.jsonl", rows)
    code, _ = synth(
        "filter",
        "--input",
        path,
        "--output",
        tmp_path / "o.jsonl",
        "--filter",
        "self_consistency:min_votes=2",
        "--filter",
        "answer_match",
    )
    assert code == 0
    kept = [
        json.loads(line)
        for line in (tmp_path / "o.jsonl").read_text().splitlines()
    ]
    assert [
        {k: v for k, v in row.items() if k != "marks"} for row in kept
    ] == rows[:2]
    assert kept[0]["marks"]["read"] == {"rationale": "", "answer": "4"}
    reasons = sorted(
        json.loads(line)["reason"]
        for line in (tmp_path / "o.dropped.jsonl").read_text().splitlines()
    )
    assert reasons == ["minority_answer", "no_answer_marker"]


def test_an_answer_beside_a_completion_is_the_gold_where_there_is_no_target(
    tmp_path,
):
    rows = [
        {"question": "q", "completion": f"so #### {a}", "answer": "4"}
        for a in (4, 5)
    ]
    code, _ = synth(
        "filter",
        "--input",
        write(tmp_path / "in.jsonl", rows),
        "--output",
        tmp_path / "o.jsonl",
        "--filter",
        "answer_match",
    )
    assert code == 0
    kept, dropped = (
        [
            json.loads(line)
            for line in (tmp_path / name).read_text().splitlines()
        ]
        for name in ("o.jsonl", "o.dropped.jsonl")
    )
    assert [
        {k: v for k, v in row.items() if k != "marks"} for row in kept
    ] == rows[:1]
    assert (dropped[0]["answer"], dropped[0]["reason"]) == ("4", "wrong_answer")


BAD = {
    "missing file": (["--input", "{tmp}/none.jsonl"], "no such file"),
    "empty file": (["--input", "{tmp}/empty.jsonl"], "no rows"),
    "broken JSON": (["--input", "{tmp}/broken.jsonl"], "broken.jsonl:2"),
    "missing field": (["--input", "{tmp}/nofield.jsonl"], "field 'question'"),
    "wrong parameter": (
        [
            "--input",
            "{ok}",
            "--set",
            "rationale.filters=[{name: length, leest: 2}]",
        ],
        "Did you mean least",
    ),
    "wrong step": (
        ["--input", "{ok}", "--set", "rational.draws=2"],
        "Did you mean rationale",
    ),
    "wrong role": (
        ["--input", "{ok}", "--teacher", "critic=simulated/critic"],
        "role 'critic'",
    ),
    "wrong set": (["--input", "{ok}", "--set", "rationale"], "STEP.key=value"),
    "unknown price": (["--input", "{ok}", "--budget", "1"], "--price"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_exits_with_2_and_makes_no_call(case, tmp_path, problems):
    for name, text in {
        "empty": "",
        "broken": '{"question": "a"}\n{"question": "b"\n',
        "nofield": '{"questoin": "a"}\n',
    }.items():
        (tmp_path / f"{name}.jsonl").write_text(text)
    args, says = BAD[case]
    args = [
        a.replace("{tmp}", str(tmp_path)).replace("{ok}", str(problems))
        for a in args
    ]
    with serving(lambda body, count: chat("It is so.\n#### 1")) as server:
        code, said = synth(
            "run",
            "cot",
            "--output",
            tmp_path / "out",
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            *args,
        )
        assert server.bodies == []
    assert code == 2, said
    assert says in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "coot", "--teacher", "simulated/mixed"], "Did you mean cot"),
        (["run", "cot"], "at least one teacher"),
        (["run", "cot", "--teacher", "openai/gpt-4o-mini"], "OPENAI_API_KEY"),
        (["run", "cot", "--teacher", "gpt-4o-mini"], "PROVIDER/MODEL"),
        (["run", "cot", "--teacher", "simulated/nobody"], "preset"),
        (["run", "cot", "--teacher", "replay/none.jsonl"], "no such file"),
        (
            ["run", "cot", "--teacher", "simulated/mixed", "--limit", "0"],
            "--limit",
        ),
        (
            ["run", "cot", "--teacher", "simulated/mixed", "--drawz", "2"],
            "--draws",
        ),
    ],
)
def test_wrong_use_exits_with_2(args, says, tmp_path, problems):
    code, said = synth(*args, "--input", problems, "--output", tmp_path / "out")
    assert code == 2, said
    assert says in said
    assert not (tmp_path / "out" / "run.json").exists()


def test_export_and_filter_refuse_what_they_cannot_use(tmp_path, problems):
    assert (
        synth(
            "export", tmp_path, "--to", "sft", "--output", tmp_path / "x.jsonl"
        )[0]
        == 2
    )
    code, said = synth(
        "filter",
        "--input",
        problems,
        "--output",
        tmp_path / "x.jsonl",
        "--filter",
        "answer_match",
    )
    assert (code, "completion" in said) == (2, True)
    code, said = synth(
        "filter",
        "--input",
        problems,
        "--output",
        tmp_path / "x.jsonl",
        "--filter",
        "anser_match",
    )
    assert (code, "Did you mean answer_match" in said) == (2, True)


def test_failed_rows_exit_with_3(tmp_path, problems):
    first = json.loads(problems.read_text().splitlines()[0])
    replay = write(
        tmp_path / "r.jsonl",
        [
            {
                "question": first["question"],
                "completion": f"It is so.\n#### {first['target']}",
            }
        ],
    )
    code, _ = synth(
        "run",
        "cot",
        "--input",
        problems,
        "--output",
        tmp_path / "o",
        "--teacher",
        f"replay/{replay}",
    )
    assert code == 3
    failed = [
        json.loads(line)
        for line in Path(tmp_path / "o" / "failed.jsonl")
        .read_text()
        .splitlines()
    ]
    assert len(failed) == 59
    assert {row["reason"] for row in failed} == {"not_recorded"}


def test_serial_asks_one_at_a_time(tmp_path, problems):
    flying = [0, 0]

    async def answer(body, count):
        flying[0] += 1
        flying[1] = max(flying)
        await asyncio.sleep(0.005)
        flying[0] -= 1
        return chat("It is so.\n#### 1")

    with serving(answer) as server:
        args = [
            "--output",
            tmp_path / "o",
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            "--limit",
            10,
            "--serial",
        ]
        assert (
            synth("run", "cot", "--input", problems, *args)[0] == 6
        )  # not one answer is right
    assert flying == [0, 1]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("rationale.temperature=0.25", "temperature"), ("temperature=0.25", "temperature"), ("sampling.temperature=0.25", "temperature"),
        ("rationale.sampling.temperature=0.25", "temperature"), ("max_tokens=25", "max_tokens"), ("rationale.top_p=0.25", "top_p"),
    ],
)  # fmt: skip
def test_near_misses_of_set_do_what_they_mean(said, key, tmp_path, problems):
    with serving(lambda body, count: chat("It is so.\n#### 1")) as server:
        run = (
            "--input",
            problems,
            "--output",
            tmp_path / "o",
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            "--limit",
            1,
        )
        synth("run", "cot", *run, "--set", said)
    assert server.bodies[0][key] in (0.25, 25)


@pytest.mark.parametrize(
    ("pack", "said", "says"),
    [
        ("cot", "rationale.max_token=5", "--set rationale.max_token: found key"), ("cot", "max_token=5", "Did you mean max_tokens"),
        ("cot", "rationale.sampling.temprature=1", "Did you mean temperature"), ("cot", "rationale.filter.x=1", "Did you mean filters"),
        ("cot", "rationale.filters.answer_matc.tolerance=1", "Did you mean answer_match"), ("cot", "rational.temperature=1", "Did you mean rationale"),
        ("cot", "rationale=5", "--set rationale.KEY=VALUE"), ("cot", "rationale.temperature=hot", "--set rationale.temperature: found 'hot'"),
        ("cot", "rationale.sampling=3", "--set rationale.sampling: found 3"), ("cot", "rationale.draws=x", "--set rationale.draws: found 'x'"),
        ("socratic", "temperature=1", "Name the step: decompose.temperature, solve.temperature"),
    ],
)  # fmt: skip
def test_other_near_misses_of_set_say_what_was_meant(pack, said, says):
    code, out = synth("check", pack, "--set", said)
    assert code == 2
    assert says in out


def test_draws_name_their_step(tmp_path):
    rows = write(
        tmp_path / "x.jsonl", [{"question": "What is 2 + 3 ?", "target": "5"}]
    )
    run = (
        "plan",
        "socratic",
        "--input",
        rows,
        "--teacher",
        "simulated/perfect",
    )
    code, out = synth(*run, "--draws", "solve=2", "--draws", "conclude=3")
    assert code == 0, out
    for bad, says in (
        ("solv=2", "Did you mean solve"),
        ("0", "from 1 on"),
        ("x=y", "a whole number"),
    ):
        code, out = synth(*run, "--draws", bad)
        assert code == 2
        assert says in out
    code, out = synth(*run, "--draws", "2", "--draws", "solve=2")
    assert code == 2


def test_the_terminal_names_the_folder_and_the_next_command(tmp_path, problems):
    code, out = synth(
        "run",
        "cot",
        "--input",
        problems,
        "--output",
        tmp_path / "o",
        "--teacher",
        "simulated/perfect",
        "--limit",
        2,
    )
    assert code == 0
    assert f"rows -> {tmp_path / 'o'}; next: synth report" in out


def test_a_filter_that_could_judge_no_row_is_said(tmp_path):
    rows = [{"question": f"What is {n} + 2 ?"} for n in range(6)]
    rows[0]["target"] = "2"
    for name, given in (("some", rows), ("none", rows[1:])):
        source = write(tmp_path / f"{name}.jsonl", given)
        words = [
            *("run", "cot", "--input", str(source), "--quiet"),
            *("--teacher", "simulated/perfect"),
            *("--output", str(tmp_path / name)),
        ]
        said = CliRunner().invoke(main, words).output
        note = "answer_match could judge none of its 5 rows"
        assert (note in said) == (name == "none")
        info = json.loads((tmp_path / name / "run.json").read_text())
        assert info["judged"]["answer_match"] == {
            "rows": len(given),
            "unknown": 5,
        }
