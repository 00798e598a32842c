"""A run in shards ends as one run would: the same bytes, the same money, nothing asked twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.cli.shards import command_words
from synth.core.errors import WrongUse
from synth.runs.publisher import RunFolder
from synth.runs.shard_plan import ShardPlan, plan_file, shard_folder
from tests.conftest import SHARED, chat, serving, write

CORPUS = {
    "rationale.filters": [
        "answer_match",
        {"name": "near_duplicate", "field": "question", "similarity": 0.5},
        {"name": "quota", "by": "target", "most": 30},
    ]
}


def rows_of(count: int, seed: int = 0) -> list[dict]:
    """Questions with numbers, twins among them, and columns of mixed kinds."""
    rng = random.Random(seed)
    rows = [
        {
            "question": f"[{n}] A farmer has {n % 17} cows, {n % 5} dogs and a {rng.choice(('red', 'blue'))} barn.",
            "target": rng.choice(["3", "4"]),
            "size": rng.choice([1, 2.5, None]),
            "tags": rng.choice([[], ["ä"], [2**70]]),
        }
        for n in range(count)
    ]
    return rows + rows[: count // 10]


def answer(body, count):
    """Some replies fail for good, some cannot be read, some are wrong."""
    number = int(body["messages"][-1]["content"].split("[")[-1].split("]")[0])
    if number % 23 == 7:
        error = {"error": {"message": "no such thing"}}
        return web.json_response(error, status=400)
    if number % 11 == 5:
        return chat("I do not know.")
    return chat(f"There are some. [{number}]\n#### {3 + number % 2}")


def run_in_shards(rows, folder: Path, shards: int, how: dict) -> None:
    """Plans a run and makes its shards, one after the other."""
    synth.plan_shards("cot", rows, output=folder, shards=shards, **how)
    for shard in range(shards):
        synth.run("cot", rows, output=folder, shard=shard, **how)


def files_of(folder: Path) -> dict[str, bytes]:
    found = [*folder.glob("d*/*.parquet"), folder / "failed.jsonl"]
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in found
    }


@pytest.mark.parametrize(
    ("shards", "overrides"),
    [
        (1, {}),
        (2, CORPUS),
        (7, {}),
        (7, CORPUS),
        pytest.param(64, CORPUS, marks=pytest.mark.long),
    ],
)
def test_any_number_of_shards_gives_the_bytes_of_one_run(
    tmp_path, shards, overrides
):
    rows = rows_of(120)
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "overrides": overrides,
            "keep_going": True,
        }
        one = synth.run("cot", rows, output=tmp_path / "one", **how)
        asked = len(server.bodies)
        many = tmp_path / "many"
        plan = synth.plan_shards("cot", rows, output=many, shards=shards, **how)
        assert len(server.bodies) == asked, "planning asks nobody"
        assert sum(plan.rows) == len(rows)
        order = list(range(shards))
        random.Random(shards).shuffle(order)
        for shard in order:
            synth.run("cot", rows, output=many, shard=shard, **how)
        assert len(server.bodies) == 2 * asked
        merged = synth.merge(many)
        assert len(server.bodies) == 2 * asked
    assert merged.counts == one.counts
    assert files_of(many) == files_of(tmp_path / "one")
    assert merged.exit_code == one.exit_code
    assert merged.info["cost"] == one.info["cost"]
    assert merged.info["steps"] == one.info["steps"]
    assert merged.info["plan"]["calls"] == one.info["plan"]["calls"]
    assert merged.kept.column_names == one.kept.column_names
    assert len(list(RunFolder(many).rows())) == one.counts["kept"]


def test_real_questions_in_shards_are_those_of_one_run(tmp_path):
    file = SHARED / "gsm8k" / "test.jsonl"
    if not file.is_file():
        pytest.skip("the data is not here")

    def reply(body, count):
        words = body["messages"][-1]["content"].split()
        return chat(f"So it is.\n#### {len(words) % 40}")

    with serving(reply) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "limit": 300,
            "keep_going": True,
            "overrides": {"rationale.filters": ["exact_duplicate"]},
        }
        synth.run("cot", file, output=tmp_path / "one", **how)
        many = tmp_path / "many"
        run_in_shards(file, many, 5, how)
    synth.merge(many)
    assert files_of(many) == files_of(tmp_path / "one")


def command(server, source: Path, output: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "synth.cli", "run", "cot"]
    words += ["--input", str(source), "--output", str(output), "--quiet"]
    words += ["--teacher", "openai/m", "--api-base", server.url, "--keep-going"]
    return [*words, *more]


def test_shards_that_are_killed_lose_nothing_and_pay_once(tmp_path):
    source = write(tmp_path / "rows.jsonl", rows_of(200))
    asked: Counter[str] = Counter()

    def slow(body, count):
        asked[body["messages"][-1]["content"]] += 1
        time.sleep(0.002)
        return answer(body, count)

    with serving(answer) as server:
        subprocess.run(command(server, source, tmp_path / "one"), check=False)
    with serving(slow) as server:
        many = tmp_path / "many"
        words = command(server, source, many)
        subprocess.run([*words, "--shards", "2"], check=True)
        rng = random.Random(5)
        killed = 0
        for shard in range(2):
            process = subprocess.Popen(
                [*words, "--shard", str(shard), "--concurrency", "2"]
            )
            replies = shard_folder(many, shard) / "journal" / "replies.log"
            while process.poll() is None and not (
                replies.is_file() and replies.stat().st_size > 3000
            ):
                time.sleep(0.002)
            time.sleep(rng.random() * 0.02)
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert killed
        with pytest.raises(WrongUse, match="not finished"):
            synth.merge(many)
        for shard in range(2):
            subprocess.run([*words, "--shard", str(shard)], check=False)
        merged = synth.merge(many)
    assert files_of(many) == files_of(tmp_path / "one")
    # What was in flight when a process died is asked again, and what failed for good; twins share
    # one question.
    again = {text: n for text, n in asked.items() if n > 1}
    failed = sum(merged.counts["failed"].values())
    assert len(again) <= 2 * killed + failed


def test_what_is_not_finished_is_said_and_partial_takes_the_rest(tmp_path):
    rows = rows_of(60)
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "keep_going": True,
        }
        plan = synth.plan_shards("cot", rows, output=tmp_path, shards=4, **how)
        with pytest.raises(WrongUse, match="4 of 4 shards"):
            synth.merge(tmp_path, partial_=True)
        for shard in (0, 2):
            synth.run("cot", rows, output=tmp_path, shard=shard, **how)
        with pytest.raises(WrongUse, match=r"2 of 4 .*00001 not run yet"):
            synth.merge(tmp_path)
        some = synth.merge(tmp_path, partial_=True)
        assert some.exit_code == 3
        assert some.counts["asked"] == plan.rows[0] + plan.rows[2]
        assert "2 of 4 shards are not finished" in some.stopped
        assert not some.info["complete"]
        for shard in (1, 3):
            synth.run("cot", rows, output=tmp_path, shard=shard, **how)
        assert synth.merge(tmp_path).info["complete"]


def test_an_input_that_grew_is_planned_again_and_asked_only_what_is_new(
    tmp_path,
):
    rows = rows_of(60)
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "keep_going": True,
        }
        for upto in (50, 60):
            given = rows[:upto]
            synth.plan_shards("cot", given, output=tmp_path, shards=3, **how)
            if upto == 60:
                with pytest.raises(WrongUse, match="before the input changed"):
                    synth.merge(tmp_path)
            for shard in range(3):
                synth.run("cot", given, output=tmp_path, shard=shard, **how)
            done = synth.merge(tmp_path)
            assert done.counts["asked"] == upto
        failed = sum(done.counts["failed"].values())
        # Failed rows are asked again, each at most once more.
        assert 60 <= len(server.bodies) <= 60 + failed


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"shard": 3}, "from 0 to 2"),
        ({"shard": 0, "shards": 4}, "shards=3"),
        (
            {"shard": 0, "draws": 2},
            "draws: found 2; wanted nothing, as it was planned",
        ),
        (
            {"shard": 0, "seed": 7},
            "seed: found 7; wanted nothing, as it was planned",
        ),
        (
            {"shard": 0, "overrides": CORPUS},
            r"overrides=rationale.filters: found .*wanted nothing, as it was",
        ),
        ({}, "Add shard=K"),
    ],
)
def test_what_does_not_fit_the_plan_is_refused_before_a_call(
    tmp_path, more, text
):
    rows = rows_of(20)
    with serving(answer) as server:
        how = {"teacher": "openai/m", "api_base": server.url}
        synth.plan_shards("cot", rows, output=tmp_path, shards=3, **how)
        with pytest.raises(WrongUse, match=text):
            synth.run("cot", rows, output=tmp_path, **how, **more)
        with pytest.raises(WrongUse, match="as it was planned"):
            synth.run("star", rows, output=tmp_path, shard=0, **how)
        assert not len(server.bodies)


def test_other_plans_are_refused(tmp_path):
    rows = rows_of(20)
    how = {"teacher": "simulated/perfect", "output": tmp_path / "out"}
    synth.plan_shards("cot", rows, shards=3, **how)
    with pytest.raises(WrongUse, match="planned in 3 shards"):
        synth.plan_shards("cot", rows, shards=4, **how)
    with pytest.raises(WrongUse, match="target, shards"):
        synth.plan_shards(
            "cot",
            rows,
            shards=3,
            target=5,
            teacher="simulated/perfect",
            output=tmp_path / "other",
        )
    with pytest.raises(WrongUse, match=r"no shards/plan\.json"):
        synth.merge(tmp_path / "nowhere")
    with pytest.raises(WrongUse, match="Did you mean"):
        synth.plan_shards("cot", rows, shards=3, limits=4, **how)


def test_a_shard_of_another_teacher_is_refused_before_a_call(tmp_path):
    rows = rows_of(30)
    with serving(answer) as server:
        how = {"api_base": server.url, "keep_going": True, "output": tmp_path}
        synth.plan_shards("cot", rows, shards=2, teacher="openai/m", **how)
        with pytest.raises(WrongUse, match=r"openai/other.*openai/m"):
            synth.run("cot", rows, shard=1, teacher="openai/other", **how)
        assert not server.bodies


def test_shards_that_are_not_joined_are_said_to_be_so(tmp_path):
    synth.plan_shards(
        "cot",
        rows_of(5),
        output=tmp_path,
        shards=2,
        teacher="simulated/perfect",
    )
    for words in (["report"], ["export", "--to", "sft", "--output", "x"]):
        words.insert(1, str(tmp_path))
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 2
        assert "synth merge" in done.output


def test_rows_that_somebody_took_away_are_missed(tmp_path):
    rows = rows_of(30)
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "keep_going": True,
        }
        run_in_shards(rows, tmp_path, 2, how)
    file = shard_folder(tmp_path, 1) / "data" / "train-00000.parquet"
    whole = file.read_bytes()
    file.unlink()
    with pytest.raises(WrongUse, match=r"as their run\.json say"):
        synth.merge(tmp_path)
    file.write_bytes(whole[:-40])
    with pytest.raises(WrongUse, match="Run the same"):
        synth.merge(tmp_path)


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"{}", b'{"rows": [1], "kinds": {"a": ["Thing"]}}', b"\xff"],
)
def test_a_broken_plan_is_refused(tmp_path, text):
    plan_file(tmp_path).parent.mkdir()
    plan_file(tmp_path).write_bytes(text)
    with pytest.raises(WrongUse, match=r"plan\.json"):
        ShardPlan.read(tmp_path)


def test_the_cap_of_all_shards_together_holds(tmp_path):
    rows = rows_of(100)
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "price": "1,1000",
            "keep_going": True,
            "overrides": {"rationale.sampling.max_tokens": 8},
        }
        free = synth.run("cot", rows, output=tmp_path / "free", **how)
        half = free.info["cost"]["usd"] / 2
        many = tmp_path / "many"
        how["budget"] = half
        synth.plan_shards("cot", rows, output=many, shards=4, **how)
        spent = 0.0
        for shard in range(4):
            part = synth.run("cot", rows, output=many, shard=shard, **how)
            spent += part.info["cost"]["usd"]
    assert 0 < spent <= half
    for budget in (None, 2 * half):
        with pytest.raises(WrongUse, match="budget: found"):
            synth.run(
                "cot", rows, output=many, shard=0, **{**how, "budget": budget}
            )


def test_replies_of_shards_serve_other_runs_and_are_counted(tmp_path):
    rows = rows_of(40)
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "keep_going": True,
        }
        many = tmp_path / "many"
        run_in_shards(rows, many, 3, how)
        asked = len(server.bodies)
        again = synth.run(
            "cot", rows, output=tmp_path / "again", reuse=[str(many)], **how
        )
        assert len(server.bodies) == asked + sum(
            again.counts["failed"].values()
        )
    counted = CliRunner().invoke(main, ["journal", str(many)])
    lines = again.folder / "all.jsonl"
    words = ["journal", str(many), "--output", str(lines)]
    assert CliRunner().invoke(main, words).exit_code == 0
    keys = {json.loads(line)["key"] for line in lines.open()}
    assert len(keys) == 40 - sum(again.counts["failed"].values())
    assert f"replies: {len(keys):,};" in counted.output


@pytest.mark.long
def test_a_script_for_slurm_runs_its_shards(tmp_path):
    source = write(tmp_path / "my rows.jsonl", rows_of(30))
    place = tmp_path / "it's here"
    with serving(answer) as server:
        words = command(server, source, place)
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        subprocess.run(
            ["synth", *words[3:], "--shards", "2"], check=True, env=env
        )
        options = ["--parallel", "2", "--sbatch=--partition=cpu"]
        made = CliRunner().invoke(main, ["slurm", str(place), *options])
        assert made.exit_code == 0
        assert "#SBATCH --array=0-1%2\n" in made.output
        assert "#SBATCH --partition=cpu\n" in made.output
        script = tmp_path / "job.sh"
        script.write_text(made.output)
        for task in "01":
            done = subprocess.run(
                ["bash", str(script)],
                env={**env, "SLURM_ARRAY_TASK_ID": task},
                check=False,
            )
            assert done.returncode in (0, 3)
    joined = CliRunner().invoke(main, ["merge", str(place)])
    assert joined.exit_code == 3, "some rows fail here"
    assert "| asked | | 33 |" in joined.output


def test_options_of_sbatch_hold_no_commands(tmp_path):
    write(tmp_path / "rows.jsonl", rows_of(5))
    words = ["run", "cot", "--input", str(tmp_path / "rows.jsonl"), "--shards"]
    words += [
        "2",
        "--teacher",
        "simulated/perfect",
        "--output",
        str(tmp_path / "o"),
    ]
    assert CliRunner().invoke(main, words).exit_code == 0
    for bad in ("--x=1\nrm y", "rm", "--x=$(rm)", "--x=`rm`", "--x=a;rm"):
        done = CliRunner().invoke(
            main, ["slurm", str(tmp_path / "o"), f"--sbatch={bad}"]
        )
        assert done.exit_code == 2


def test_a_plan_that_python_made_has_no_script(tmp_path):
    synth.plan_shards(
        "cot",
        rows_of(5),
        output=tmp_path,
        shards=2,
        teacher="simulated/perfect",
    )
    done = CliRunner().invoke(main, ["slurm", str(tmp_path)])
    assert done.exit_code == 2
    assert "SLURM_ARRAY_TASK_ID" in done.output


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("run a --shards 3 --shard 1 -x", "run a -x"),
        ("run a --shard=1 --shards=3", "run a"),
        ("run a --shards", "run a"),
        ("run a", "run a"),
    ],
)
def test_words_that_name_shards_are_left_out(words, kept):
    assert command_words(words.split()) == kept.split()


def test_a_shards_rows_say_where_they_stood(tmp_path):
    rows = [{"question": f"[{n}] ?", "target": "3"} for n in range(12)]
    with serving(answer) as server:
        how = {
            "teacher": "openai/m",
            "api_base": server.url,
            "keep_going": True,
        }
        synth.plan_shards("cot", rows, output=tmp_path, shards=2, **how)
        places = []
        for shard in range(2):
            run = synth.run("cot", rows, output=tmp_path, shard=shard, **how)
            failed = (run.folder / "failed.jsonl").read_text().splitlines()
            for row in [*run.kept, *run.dropped, *map(json.loads, failed)]:
                assert row["question"] == f"[{row['input_position']}] ?"
                places.append(row["input_position"])
    assert sorted(places) == list(range(12))
