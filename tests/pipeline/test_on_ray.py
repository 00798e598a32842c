"""A run on Ray: what needs no Ray, and, where it is installed, whole runs whose processes are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import synth
from synth.cli import main
from synth.core import optional
from synth.pipeline import on_ray
from synth.runs.publisher import RunFolder
from tests.conftest import ROOT, serving, write
from tests.pipeline.test_shards import CORPUS, answer, files_of, rows_of

PAGE = (ROOT / "docs" / "ray.md").read_text()
HERE = ["run", "cot", "--teacher", "simulated/mixed"]
WITH_RAY = pytest.mark.skipif(not find_spec("ray"), reason="Ray is not here")


def test_without_ray_the_extra_is_named_before_anything_is_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    words = [*HERE, "--input", "nowhere", "--output", str(tmp_path / "run")]
    done = CliRunner().invoke(main, [*words, "--on", "ray"])
    assert done.exit_code == 2
    assert "pip install 'potstill[ray]'" in done.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "2"], "need --on ray"),
        (["--num-gpus", "1"], "need --on ray"),
        (["--ray-address", "auto"], "need --on ray"),
        (["--on", "ray", "--shard", "0"], "--on ray and --shard"),
        (["--on", "dask"], "'dask' is not 'ray'"),
    ],
)
def test_options_of_a_cluster_stand_together(tmp_path, problems, words, said):
    more = ["--input", str(problems), "--output", str(tmp_path / "run")]
    done = CliRunner().invoke(main, [*HERE, *more, *words])
    assert done.exit_code == 2
    assert said in done.output


class Ill:
    """A Ray that does not begin."""

    def __init__(self, error):
        self.error = error
        self.ended = False

    def is_initialized(self):
        return False

    def init(self, *_, **__):
        raise self.error

    def shutdown(self):
        self.ended = True


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ([], Exception("timed out during startup.\nLong"), "did not begin"),
        (["--ray-address", "h:1"], ConnectionError("no"), "h:1, where no"),
        (["--ray-address", "h"], ValueError("no port"), "(no port)"),
    ],
)
def test_a_ray_that_does_not_begin_is_said(
    problems, monkeypatch, more, error, says
):
    ray = Ill(error)
    monkeypatch.setattr(on_ray, "optional", lambda *_: ray)
    words = [*HERE, "--input", str(problems), "--output", f"{problems}.run"]
    done = CliRunner().invoke(main, [*words, "--on", "ray", "--quiet", *more])
    assert done.exit_code == (2 if more else 5)
    assert says in done.output
    assert "Long" not in done.output
    assert ray.ended


def test_what_the_page_shows_are_options_that_exist():
    known = {
        name for option in main.commands["run"].params for name in option.opts
    }
    (job,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    spec = yaml.safe_load(job)["spec"]
    pods = spec["rayClusterSpec"]
    assert (
        pods["workerGroupSpecs"][0]["template"]
        == pods["headGroupSpec"]["template"]
    )
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for text in (spec["entrypoint"], script.partition(" -- ")[2]):
        assert "synth run" in text
        assert set(re.findall(r"--[a-z-]+", text)) <= known
    table = re.findall(r"^\| `(--[a-z-]+).*\|$", PAGE, re.MULTILINE)
    assert set(table) <= known
    assert len(table) >= 6


def questions(server) -> set[str]:
    """What was asked since the last call; a twin of a question that failed may be asked or not."""
    asked = {body["messages"][-1]["content"] for body in server.bodies}
    assert len(server.bodies) <= len(asked) + 1
    del server.bodies[:]
    return asked


def shell(command: str, folder: Path, code: int = 0) -> str:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr[-2000:]
    return done.stdout + done.stderr


@WITH_RAY
@pytest.mark.long
def test_the_pages_commands_run(tmp_path, problems):
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for command in re.findall(r"^\$ (.*)", block, re.MULTILINE):
            shell(command, tmp_path)
    asked = RunFolder(tmp_path / "runs" / "ray").run["counts"]["asked"]
    assert asked == len(problems.read_text().splitlines())
    # On one machine, what the page's script does on each node of an allocation.
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    line = script.replace("\\\n", " ").strip().splitlines()[-1]
    line = line.removeprefix("srun ").replace(
        "openai/gpt-4o-mini", "simulated/mixed"
    )
    line = line.replace("--budget 500", "").replace(
        "runs/ray", "runs/allocation"
    )
    env = "head=127.0.0.1 SLURM_JOB_NUM_NODES=1 SLURM_CPUS_PER_TASK=2"
    shell(f"export {env}; {line}", tmp_path)
    ends = [
        files_of(tmp_path / "runs" / name) for name in ("ray", "allocation")
    ]
    assert ends[0] == ends[1]


@WITH_RAY
@pytest.mark.long
def test_a_run_on_ray_gives_the_bytes_of_one_and_asks_as_much(tmp_path):
    rows = rows_of(150)
    source = write(tmp_path / "rows.jsonl", rows)
    with serving(answer) as server:
        how = {"api_base": server.url, "keep_going": True}
        one = synth.run(
            "cot",
            rows,
            teacher="openai/m",
            output=tmp_path / "one",
            overrides=CORPUS,
            **how,
        )
        asked = questions(server)
        corpus = "rationale.filters=[answer_match, {name: near_duplicate, field: question, similarity: 0.5}, {name: quota, by: target, most: 30}]"
        command = (
            f"python -m synth.cli run cot --input {source} --output many --teacher openai/m "
            f"--api-base {server.url} --keep-going --quiet --set '{corpus}' "
            "--on ray --workers 2 --shards 5"
        )
        shell(command, tmp_path, code=one.exit_code)
        assert questions(server) == asked
        assert files_of(tmp_path / "many") == files_of(tmp_path / "one")


@WITH_RAY
@pytest.mark.long
def test_a_target_is_met_over_all_shards_and_with_more_draws(
    tmp_path, problems
):
    command = (
        f"python -m synth.cli run cot --input {problems} --output {{}} --teacher simulated/mixed "
        "--on ray --workers 2 --shards 3 --quiet --target {}"
    )
    for target in (20, 75):
        folder = f"run-{target}"
        shell(command.format(folder, target), tmp_path)
        assert synth_rows(tmp_path / folder) == target
        # Nothing is left to do: Ray does not even start.
        again = shell(command.format(folder, target), tmp_path)
        assert "calls: 0 asked" in again


def synth_rows(folder: Path) -> int:
    return len(list(RunFolder(folder).rows()))


@WITH_RAY
@pytest.mark.long
def test_a_signal_ends_the_shards_in_order_and_the_command_goes_on(tmp_path):
    from examples import bench_ray, bench_server

    source = write(
        tmp_path / "q.jsonl", [bench_server.question(n) for n in range(800)]
    )
    output = tmp_path / "run"
    with bench_server.teacher(0.1) as url:
        command = bench_ray.words(url, source, output, *bench_ray.on_ray())
        process = subprocess.Popen(command)
        assert bench_ray.begun(process.pid, process)
        while len(bench_server.asked(url)) < 100:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        asked = bench_server.asked(url)
        assert len(asked) == asked.total()
        assert synth_rows(output) == len(asked), "what came in is published"
        subprocess.run(command, check=True)
        assert bench_server.asked(url).total() == 800
    assert synth_rows(output) == 800


@WITH_RAY
@pytest.mark.long
def test_ten_kills_lose_no_row_and_cross_no_cap(tmp_path):
    from examples.bench_ray import AT_ONCE, kills

    figures = kills(tmp_path, 10, seed=1, rows=2500)
    assert figures.kills.total() == 10
    assert (figures.lost, figures.differing, figures.hung) == (0, 0, 0)
    assert figures.over_the_cap == 0
    assert figures.most_repeated <= AT_ONCE


@WITH_RAY
@pytest.mark.long
def test_who_was_stopped_comes_back_to_nothing(tmp_path):
    from examples.bench_ray_shares import zombie

    figures = zombie(tmp_path)
    before = figures["asked twice before it went on"]
    assert before <= 8
    assert figures["asked twice in all"] <= before + 1
    assert figures["as of one process"]
    assert figures["exit code"] == 0


@WITH_RAY
@pytest.mark.long
@pytest.mark.parametrize("more", [(), ("--rpm", "600")])
def test_four_workers_share_the_rate_of_a_server(tmp_path, more):
    from examples.bench_ray_shares import rate

    figures = rate(tmp_path, 600, 10.0, *more)
    assert figures["late"] == 0
    assert figures["of the rate"] >= 0.9
