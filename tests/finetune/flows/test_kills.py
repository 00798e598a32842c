"""Flows that are killed come to the same result, pay for no reply twice, and keep their budget by the teacher's own count."""

from __future__ import annotations

import json
import random
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from finetune.flows.loading import flow_names, load
from synth.core.records import canonical_json
from synth.teachers.base import Settings
from synth.teachers.simulated import Simulated
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import chat, serving, write
from tests.finetune.flows.killing import Forks, forks, left
from tests.finetune.flows.playing import quick
from tests.pipeline.test_run import make_pack

pytestmark = [pytest.mark.slow, pytest.mark.long]

# Dollars of a call of 11 tokens at 1 and 7 at 2 dollars a million.
PRICE = 25e-6
# A call may be answered and not yet be written down for so long.
WRITING = 0.5


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    with forks(tmp_path_factory.mktemp("forks")) as made:
        yield made


class Teacher:
    """Answers alike whatever was asked before, and remembers when each call came."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer
        self.calls: list[tuple[float, bytes]] = []

    def __call__(self, body: dict[str, Any], _: int) -> Any:
        text = canonical_json(body)
        self.calls.append((time.monotonic(), text))
        # In the place of the number of the call.
        return self.answer(body, zlib.crc32(text) % 9973)

    def counted(self) -> Counter[bytes]:
        return Counter(text for _, text in self.calls)

    def again(self, whole: Counter[bytes], killed: list[float]) -> list[bytes]:
        """Calls beyond those of a flow that was not killed, of which no twin was under way at a kill."""
        beyond = []
        for text, count in (self.counted() - whole).items():
            times = [at for at, other in self.calls if other == text]
            near = sum(
                any(kill - WRITING <= at <= kill for kill in killed)
                for at in times
            )
            if count > near:
                beyond.append(text)
        return beyond


class Scenario(Exception):
    """How the test of a system plays it."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__()
        self.name, self.folder, self.answer, self.source = given
        self.steps = more.pop("steps", 2)
        self.overrides = more.pop("overrides", {})
        self.models = dict(more.pop("models", {}))
        self.student = self.models.pop("student", "scratch:tiny")
        # Here each teacher has the name of its role.
        more.pop("names", None)
        self.inputs = more


def star(problems: list[dict[str, Any]]) -> Scenario:
    simulated = Simulated("slips", Settings())

    def teach(body: dict[str, Any], count: int) -> Any:
        texts = [str(message["content"]) for message in body["messages"]]
        return chat(simulated.answer(texts, count % 5).completion.text)

    return Scenario(
        "star",
        None,
        teach,
        problems[:8],
        overrides={
            "rounds": 2,
            "longest": 4,
            "steps": 2,
            "patience": 9,
            # A student that draws says something else each time that it is asked.
            "collect.attempt.temperature": 0.0,
            "collect.rationalize.temperature": 0.0,
        },
        held_out=problems[8:10],
    )


def two_teachers(body: dict[str, Any], _: int) -> Any:
    return chat(f"As {body['model']} says so .")


# Systems whose test has a teacher that says something else each time that it is asked the same, or
# in whose runs a local model draws.
DRAWING = {"mined_paraphrases", "right_and_wrong"}


def scenario_of(name: str, folder: Path, monkeypatch: Any) -> Scenario:
    """What the system's own test plays."""
    if name == "star":
        return star(make_problems(10, seed=3))
    module = import_module(f"tests.finetune.flows.test_{name}")
    if name == "many_teachers":
        rows = module.ROWS
        return Scenario(
            name,
            None,
            two_teachers,
            rows[:4],
            held_out=rows[4:],
            examples=module.EXAMPLES,
        )

    def told(*given: Any, **more: Any) -> None:
        raise Scenario(*given, **more)

    monkeypatch.setattr(module, "play_system", told)
    tests = [
        part for key, part in vars(module).items() if key.startswith("test_")
    ]
    for test in tests:
        if "play_system" in test.__code__.co_names:
            with pytest.raises(Scenario) as caught:
                test(folder)
            return caught.value
    raise AssertionError(f"no test plays {name}")


def words_of(played: Scenario, folder: Path, url: str) -> list[object]:
    """The command of a scenario."""
    spec = load(played.name).spec
    settings = {**quick(played.name, played.steps), **played.overrides}
    files = {
        key: write(folder / f"{key}.jsonl", list(rows))
        for key, rows in played.inputs.items()
    }
    source = write(folder / "input.jsonl", list(played.source))
    return [
        "flow", played.name, "--input", source, "--output", folder / "out",
        "--student", played.student, "--budget", 1.0,
        *(word for key, path in files.items() for word in ("--rows", f"{key}={path}")),
        *(word for key, model in played.models.items() for word in ("--model", f"{key}={model}")),
        *(
            word
            for role in spec.teachers
            for word in (
                "--teacher", f"{role}=openai/{role}", "--api-base", f"{role}={url}", "--price", f"{role}=1,2",
            )
        ),
        *(f"--set={key}={value}" for key, value in settings.items()),
    ]  # fmt: skip


def begun(output: Path) -> Callable[[], bool]:
    return output.exists


@pytest.mark.parametrize("name", flow_names())
def test_a_flow_that_is_killed_once_comes_to_the_same(
    name, tmp_path, monkeypatch, forked
):
    played = scenario_of(name, tmp_path, monkeypatch)
    teacher = Teacher(played.answer)
    rng = random.Random(name)
    out = tmp_path / "out"
    with serving(teacher) as server:
        words = words_of(played, tmp_path, server.url)
        seconds = forked.run(words)
        whole, asked = left(out), teacher.counted()
        out.rename(tmp_path / "plain")
        teacher.calls.clear()
        # Later commands find files in the system's memory, and end sooner than the first one.
        moment = rng.uniform(0.05, 0.8) * seconds
        while not forked.kill(words, begun(out), moment):
            shutil.rmtree(out)
            teacher.calls.clear()
            moment *= 0.7
        killed = [time.monotonic()]
        forked.run(words)
    if name in DRAWING:
        assert left(out).keys() == whole.keys()
    else:
        assert left(out) == whole
    assert teacher.again(asked, killed) == []
    # The flow knows of every call that the teacher had: one of unknown fate counts at its most.
    paid = sum(teacher.counted().values()) * PRICE
    assert paid <= json.loads((out / "flow.json").read_text())["usd"] + 1e-6
    assert not list(out.glob("*/*.part"))


def stage_of(output: Path, name: str) -> Callable[[], bool]:
    return lambda: any(output.glob(f"before/{name}-*"))


# Of twelve calls, of two whose fate a kill leaves open and of the next one, each at its most.
BUDGET = 12 * PRICE + 3 * 270e-6

ASK = """
name: ask
version: 1
about: Answers.
inputs: {question: text}
steps:
  - name: answer
    sampling: {max_tokens: 20}
    parser: {name: whole, into: answer}
exports:
  sft: {prompt: "{{ question }}\\n", completion: "{{ answer }}"}
"""
# A stage of each kind, each of which takes a moment.
KINDS = """
name: kinds
version: 1
about: A stage of each kind.
teachers: {teacher: Answers.}
before:
  - {name: run, run: ask, from: input}
  - {name: filter, filter: [{name: length, field: answer, unit: words, most: 9}], from: run.kept}
  - {name: export, export: sft, from: run}
  - name: select
    select: {make: {prompt: "{{ row.question }}\\n", completion: "{{ row.answer }}", target: "5"}}
    from: filter.kept
  - {name: mix, mix: {select: 1, export: 1}}
  - {name: train, train: sft, from: select, student: student, set: {max_steps: 6, per_device_train_batch_size: 4}}
  - {name: answer, answer: "{{ row.prompt }}", from: select, student: train, set: {max_new_tokens: 8}}
  - {name: evaluate, evaluate: final_number, from: select, student: train, set: {max_new_tokens: 8}}
  - name: other
    select: {make: {completion: "{{ row.reply }} ."}}
    from: answer
  - {name: pair, pair: question, from: select, other: other, order: unlike}
  - {name: search, search: {columns: [prompt], skip: [target]}, from: select, other: other}
  - {name: domains, domains: question, from: select, student: train, models: {teacher: train}}
  - {name: apportion, apportion: question, from: select, other: domains, count: 40}
"""


# Seconds within which a stage is killed once its folder is there; of others, a moment.
LONG = {
    "domains": 0.3,
    "run": 0.25,
    "train": 1.0,
    "answer": 0.3,
    "evaluate": 0.3,
}


@pytest.fixture(scope="module")
def kinds(tmp_path_factory, forked):
    """A flow of all kinds of stages, played: (its command, its folder, what it left, its teacher)."""
    folder = tmp_path_factory.mktemp("kinds")
    flow = folder / "kinds"
    flow.mkdir()
    (flow / "flow.yaml").write_text(KINDS)
    make_pack(
        flow / "ask", {"pack.yaml": ASK, "answer.user.j2": "{{ question }}"}
    )
    rows = [{"question": f"What is {n} + 1 ?"} for n in range(12)]

    def slow(body: dict[str, Any], _: int) -> Any:
        time.sleep(0.02)
        return chat(f"{len(body['messages'][-1]['content'])} is it")

    teacher = Teacher(slow)
    with serving(teacher) as server:
        words = [
            "flow", flow, "--input", write(folder / "rows.jsonl", rows), "--output", folder / "out",
            "--student", "scratch:tiny", "--teacher", "openai/m", "--api-base", server.url,
            "--price", "1,2", "--budget", BUDGET, "--concurrency", 2,
            "--set", "train.save_strategy=steps", "--set", "train.save_steps=2",
        ]  # fmt: skip
        forked.run(words)
        asked = teacher.counted()
        yield words, folder / "out", (left(folder / "out"), asked), teacher


@pytest.mark.parametrize(
    "kind",
    [
        "run",
        "filter",
        "export",
        "select",
        "mix",
        "train",
        "answer",
        "evaluate",
        "pair",
        "search",
        "domains",
        "apportion",
    ],
)
def test_ten_kills_amid_a_kind_of_stage_change_nothing(
    kind, kinds, forked: Forks
):
    words, out, (whole, asked), teacher = kinds
    rng = random.Random(kind)
    moment = LONG.get(kind, 0.005)
    killed: list[float] = []
    amid = 0
    for _ in range(10):
        # The stage, and what it has left, as if it had never been played.
        for path in out.glob(f"before/{kind}-*"):
            shutil.rmtree(path)
        teacher.calls.clear()
        amid += forked.kill(
            words, stage_of(out, kind), rng.uniform(0.0, moment)
        )
        killed.append(time.monotonic())
        forked.run(words)
        assert left(out) == whole
        if kind == "run":
            assert teacher.again(asked, killed) == []
            spent = sum(teacher.counted().values())
            assert spent <= sum(asked.values()) + 2
            assert spent * PRICE <= BUDGET
        else:
            assert teacher.calls == []
    assert amid >= 3
    assert not list(out.glob("*/*.part"))
