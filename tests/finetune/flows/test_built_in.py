"""Built-in flows from end to end: a simulated teacher, a student of 96,000 weights, two rounds."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from finetune.flows.loading import flow_names, load
from synth.packs.pack import built_in
from synth.pipeline.preview import check_cases
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import write
from tests.finetune.flows.test_flow import play
from tests.finetune.test_train import finetune
from tests.pipeline.test_run import make_pack

pytestmark = [pytest.mark.slow]

# Just the question: a student of 96,000 parameters reads no instructions.
PACK = {
    "pack.yaml": """
name: bare_star
version: 1
about: Right rationales of the student.
inputs: {question: text, target: text}
steps:
  - name: attempt
    sampling: {temperature: 0.0, max_tokens: 48}
    parser: final_number
    filters: [{name: answer_match, unknown: drop}]
exports:
  sft: {prompt: "{{ question }}\\n", completion: "{{ rationale }}\\n#### {{ answer }}"}
""",
    "attempt.user.j2": "{{ question }}",
}

QUICK = {
    "per_device_train_batch_size": 16,
    "learning_rate": 5e-3,
    "logging_strategy": "no",
}


@pytest.fixture
def problems(tmp_path):
    """(seeds, rows that are held out)."""
    return (
        write(tmp_path / "seeds.jsonl", make_problems(40, seed=3)),
        write(tmp_path / "held.jsonl", make_problems(10, seed=4)),
    )


def bare_star(tmp_path):
    folder = make_pack(tmp_path / "bare", PACK)
    shutil.copy(built_in() / "star" / "flow.yaml", folder)
    return folder


def said(stage="learn", **more):
    return {**{f"{stage}.{name}": one for name, one in QUICK.items()}, **more}


def test_a_flow_trains_and_measures_a_student(tmp_path, problems):
    seeds, held = problems
    out = tmp_path / "out"
    done = play(
        bare_star(tmp_path),
        out,
        seeds,
        inputs={"held_out": str(held)},
        models={"student": "scratch:tiny"},
        teachers={"teacher": "simulated/slips"},
        overrides=said(steps=10, rounds=1, longest=4),
    )
    played = done["rounds"][0]
    assert played["learn"]["steps"] == 10
    assert played["learn"]["rows"] == played["collect"]["kept"]
    assert played["look"]["rows"] == 10
    assert (out / played["learn"]["folder"] / "model.safetensors").is_file()
    assert not list(out.glob("*/*/checkpoints"))
    assert done["complete"]


@pytest.mark.long
def test_star_trains_the_base_anew_with_more_steps_each_round(
    tmp_path, problems
):
    seeds, held = problems
    out = tmp_path / "out"
    done = play(
        bare_star(tmp_path),
        out,
        seeds,
        inputs={"held_out": str(held)},
        models={"student": "scratch:tiny"},
        teachers={"teacher": "simulated/slips"},
        overrides=said(steps=40, growth=1.5, rounds=2, patience=9, longest=48),
    )
    learnt = [played["learn"] for played in done["rounds"]]
    assert [one["steps"] for one in learnt] == [40, 60]
    for one in learnt:
        info = json.loads((out / one["folder"] / "train.json").read_text())
        assert info["model"] == "scratch:tiny"
    # The second round's rationales are the first student's.
    collected = done["rounds"][1]["collect"]["folder"]
    run = json.loads((out / collected / "run.json").read_text())
    teacher = run["settings"]["teachers"]["teacher"]
    assert teacher == f"local/{out / learnt[0]['folder']}"
    assert collected != done["rounds"][0]["collect"]["folder"]
    best = max(
        range(2),
        key=lambda n: done["rounds"][n]["look"]["exact_match"]["share"],
    )
    assert done["best"] == best


@pytest.mark.long
def test_a_flow_with_trainings_survives_kills(tmp_path, problems):
    seeds, held = problems
    folder = bare_star(tmp_path)

    def words(output):
        settings = said(steps=60, rounds=2, patience=9, longest=48)
        return [
            *(sys.executable, "-m", "finetune.cli", "flow", str(folder)),
            *("--input", str(seeds), "--rows", f"held_out={held}"),
            *("--student", "scratch:tiny", "--teacher", "simulated/slips"),
            *("--output", str(output)),
            *(f"--set={name}={one}" for name, one in settings.items()),
        ]

    plain = tmp_path / "plain"
    started = time.monotonic()
    subprocess.run(words(plain), check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - started
    rng = random.Random(5)
    out = tmp_path / "killed"
    for _ in range(10):
        process = subprocess.Popen(words(out), stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.1, 1.0) * seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(words(out), check=True, stdout=subprocess.DEVNULL)
    one = json.loads((plain / "flow.json").read_text())
    two = json.loads((out / "flow.json").read_text())
    assert two["complete"]
    for number, played in enumerate(one["rounds"]):
        for name, result in played.items():
            again = two["rounds"][number][name]
            for fact in ("kept", "steps", "exact_match"):
                assert again.get(fact) == result.get(fact), (number, name, fact)
    assert not list(out.glob("*/*.part"))


def test_packs_inside_the_folders_of_flows_are_sound():
    inside = sorted(built_in().glob("*/*/pack.yaml"))
    assert len(inside) >= 1
    for path in inside:
        check_cases(str(path.parent), {})
        assert (path.parent.parent / "flow.yaml").is_file()


# What the inputs of any flow may have.
ROW = {
    "question": "What is 2 + 3 ?",
    "choices": ["4", "5"],
    "target": "5",
    "rationale": "2 + 3 = 5",
    "trace": "calc(2 + 3) -> 5",
    "event": "PersonX waters the roses",
    "instance": "roses",
    "relation": "xWant",
    "tail": "to rest",
    "text": "All is well .",
    "query": "all well",
    "passage": "All is well .",
    "document": "All is well . Nothing else is .",
    "label": "praise",
    "labels": ["praise", "blame"],
    "concept": "Bees",
    "frame": "are",
    "rest": "small animals",
    "is_correct": True,
    "context": "You are brief .",
    "task": "Sums",
    "domain": "sums",
    "prompt": "2 + 3 =",
    "completion": "5",
    "input": "2 + 3",
    "output": "5",
    "dataset": "sums",
    "description": "Sums of two numbers",
    "prefix": "OSLO, Norway (AP) --",
    "rule": "A king counts five .",
}


@pytest.mark.parametrize("name", flow_names())
def test_every_flow_is_drawn_and_planned(name, tmp_path):
    code, text = finetune("flow", "show", name)
    assert code == 0
    assert name in text
    spec = load(name).spec
    assert spec.paper
    rows = str(write(tmp_path / "rows.jsonl", [ROW, {**ROW, "text": "Bad ."}]))
    words = [
        *("--input", rows, "--student", "scratch:tiny"),
        *(f"--rows={one}={rows}" for one in spec.inputs),
        *(f"--model={one}=scratch:tiny" for one in spec.models),
        *(f"--teacher={one}=openai/gpt-4o-mini" for one in spec.teachers),
        *("--output", str(tmp_path / "out"), "--plan"),
    ]
    code, text = finetune("flow", name, *words)
    assert code == 0, text
    assert f"flow {name}\n" in text
    for stage in spec.stages():
        assert f"  {stage.name} " in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", flow_names())
def test_a_prompt_is_written_once(name):
    """What a pack's export says, or a stage before, is no text of a flow's own again."""
    templates = [
        source
        for stage in load(name).spec.stages()
        for source in (
            *(stage.select.make.values() if stage.select else ()),
            stage.answer or "",
        )
        if len(source) >= 60
    ]
    assert sorted(templates) == sorted({*templates})
