"""Does filtering pay? `make study-real`: a real teacher's labels with their natural errors,
filtered in several ways, and what a real student learns from what is left.

A teacher of half a billion parameters labels texts, three draws each. What a student learns from is
then chosen: all first draws; those that people's labels confirm; those of a clear vote; those that
a critic of 1.5 billion parameters accepts; those above a threshold that was calibrated on a hundred
labelled texts. At `equal tokens` every way has spent as many tokens of teacher and critic; at
`equal rows` every student learns from as many rows. The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import synth
from examples.real import models, server
from examples.real.students import choose, file_name, lesson, train
from examples.real.tasks import HERE, TASKS, Task
from synth.calls.journal import records
from synth.core.errors import PotstillError
from synth.filters.critic import Critic
from synth.filters.self_consistency import SelfConsistency
from synth.inputs.seeds import write_jsonl
from synth.statistics.thresholds import NotEnoughEvidence, calibrate

Row = Mapping[str, Any]
DRAWS = 3
# Labelled texts that a threshold is calibrated on; they are in no student's rows.
CALIBRATION = 100
# Eight steps of eight rows.
FEWEST = 64
TARGET_PRECISION = 0.9


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One task, one seed: which texts are labelled, by whom, and in which order rows come."""

    output: Path
    task: Task
    data: Path | None
    seed: int
    rows: int
    tested: int
    teacher: str
    critic: str
    student: str

    @property
    def folder(self) -> Path:
        """Of this task and seed."""
        return self.output / f"{self.task.name}-{self.seed}"

    @cached_property
    def texts(self) -> list[Row]:
        """The texts of this seed: those that are labelled, and before them those that a threshold
        is calibrated on.
        """
        size = self.rows + CALIBRATION
        rows = self.task.rows(self.data)[: -self.tested]
        return random.Random(self.seed).sample(list(rows), size)

    @cached_property
    def held_out(self) -> list[Row]:
        """The same for all seeds."""
        return list(self.task.rows(self.data)[-self.tested :])


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What teacher and critic said of the texts of a seed, in the order of the texts.

    Attributes:
        draws: the labelled rows of each text, by draw; a draw that named no label is missing.
        scores: the critic's, of each text's first draw; 0 to 1.
        label_tokens: in and out, the mean of a call of the teacher.
        critic_tokens: likewise of the critic.
    """

    draws: Sequence[Mapping[int, Row]]
    scores: Sequence[float]
    label_tokens: float
    critic_tokens: float


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Rows that a student learns from, and how they were come by."""

    name: str
    rows: Sequence[Row]

    @property
    def precision(self) -> float:
        """Share of the rows whose label is that of people."""
        right = sum(int(row["answer"] == row["target"]) for row in self.rows)
        return right / max(1, len(self.rows))


def label(plan: Plan) -> synth.Run:
    """Three draws of the teacher on every text."""
    with server.serving(models.fetch(plan.teacher), slots=8) as url:
        return synth.run(
            plan.task.folder,
            [{**row, "place": place} for place, row in enumerate(plan.texts)],
            teacher=f"openai/{plan.teacher}",
            api_base=url,
            api_key_env="",
            overrides={"judge.draws": DRAWS},
            concurrency=8,
            timeout=600.0,
            keep_going=True,
            # A server that is started again listens at another port.
            same_teacher=True,
            output=plan.folder / "run",
        )


def criticise(plan: Plan, rows: Sequence[Row]) -> dict[int, float]:
    """The critic's score of rows, by the place of their text: how likely it finds "yes"."""
    critic_rows = [
        {
            "place": row["place"],
            "question": question_of(row),
            "rule": plan.task.rule,
            "answer": row["answer"],
        }
        for row in rows
    ]
    with server.serving(models.fetch(plan.critic), slots=8) as url:
        critic = Critic(
            teacher=f"openai/{plan.critic}",
            pack=str(HERE / "label_critic"),
            weigh="probability",
            scale={"yes": 1.0, "no": 0.0},
            api_base=url,
            api_key_env="",
            concurrency=8,
            journal=str(plan.folder / "critic"),
        )
        kept, dropped = critic.split(critic_rows)
    return {
        row["place"]: float(row["marks"]["critic"].get("score", 0.0))
        for row in (*kept, *dropped)
    }


def question_of(row: Row) -> str:
    """What a critic reads of a text."""
    if "entity" in row:
        return f"Post: {row['sentence']}\nName: {row['entity']}"
    return f"Sentence: {row['question']}"


def labels(plan: Plan) -> Labels:
    """Everything that teacher and critic say; read from the folder where it was asked before."""
    run = label(plan)
    draws: list[dict[int, Row]] = [{} for _ in plan.texts]
    tokens = []
    for row in run.kept:
        draws[int(row["place"])][int(row["meta"]["draw"])] = row
        meta = row["meta"]
        tokens.append(meta["prompt_tokens"] + meta["completion_tokens"])
    first = [by_draw[0] for by_draw in draws if 0 in by_draw]
    path = plan.folder / "scores.json"
    if not path.is_file():
        path.write_text(json.dumps(criticise(plan, first)))
    scores = {int(k): v for k, v in json.loads(path.read_text()).items()}
    return Labels(
        draws=draws,
        scores=[scores.get(place, 0.0) for place in range(len(draws))],
        label_tokens=sum(tokens) / len(tokens),
        critic_tokens=tokens_of_a_call(plan.folder / "critic"),
    )


def tokens_of_a_call(journal: Path) -> float:
    """Mean tokens, in and out, of the replies of a journal."""
    usages = [json.loads(raw)["usage"] for _, raw in records(journal)]
    tokens = sum(int(usage["total_tokens"]) for usage in usages)
    return tokens / max(1, len(usages))


def arms(said: Labels) -> Iterator[Arm]:
    """What each way of choosing leaves, where all have spent the tokens of one draw a text."""
    held = range(CALIBRATION)
    places = range(CALIBRATION, len(said.draws))
    first = [said.draws[n][0] for n in places if 0 in said.draws[n]]
    yield Arm(name="unfiltered", rows=first)
    right = [row for row in first if row["answer"] == row["target"]]
    yield Arm(name="answer filter", rows=right)
    yield Arm(
        name="vote of three", rows=voted(said, places[: len(places) // DRAWS])
    )
    share = said.label_tokens / (said.label_tokens + said.critic_tokens)
    seen = [n for n in places if 0 in said.draws[n]][
        : round(share * len(places))
    ]
    yield Arm(
        name="critic",
        rows=[said.draws[n][0] for n in seen if said.scores[n] > 0.5],
    )
    least = threshold(said, [n for n in held if 0 in said.draws[n]])
    yield Arm(
        name="critic, calibrated",
        rows=[said.draws[n][0] for n in seen if said.scores[n] >= least],
    )


def voted(said: Labels, places: Sequence[int]) -> list[Row]:
    """One row of each text whose draws have a clear winner."""
    rows = [row for n in places for row in said.draws[n].values()]
    kept, _ = SelfConsistency().split(rows)
    by_place: dict[int, Row] = {}
    for row in kept:
        by_place.setdefault(row["place"], row)
    return list(by_place.values())


def threshold(said: Labels, places: Sequence[int]) -> float:
    """The calibrated one; where no precision can be promised, the score of the best tenth."""
    scores = [said.scores[n] for n in places]
    right = [
        said.draws[n][0]["answer"] == said.draws[n][0]["target"] for n in places
    ]
    try:
        return calibrate(scores, right, target_precision=TARGET_PRECISION).least
    except NotEnoughEvidence:
        return sorted(scores)[-max(1, len(scores) // 10)]


def of_equal_size(chosen: Sequence[Arm], seed: int) -> Iterator[Arm]:
    """The arms with as many rows as the smallest has, taken at random; arms of so few that a
    student learns nothing are left out.
    """
    large = [arm for arm in chosen if len(arm.rows) >= FEWEST]
    size = min(len(arm.rows) for arm in large)
    for arm in large:
        rows = random.Random(seed).sample(list(arm.rows), size)
        yield Arm(name=arm.name, rows=rows)


def learnt(plan: Plan, arm: Arm, kind: str) -> dict[str, Any]:
    """What a student of an arm's rows does on held-out texts; once measured, kept in a file."""
    folder = plan.folder / f"{kind}-{file_name(arm.name)}"
    path = folder.with_suffix(".json")
    if not path.is_file():
        data = folder.with_suffix(".jsonl")
        write_jsonl(data, [lesson(plan.task, row) for row in arm.rows])
        student = train(folder, data, models.student(plan.student), plan.seed)
        hits, tested = choose(student, plan.task, plan.held_out)
        result = {
            "rows": len(arm.rows),
            "precision": arm.precision,
            "hits": hits,
            "tested": tested,
        }
        path.write_text(json.dumps(result))
        # Half a gigabyte a student; what it does is known now.
        for weights in folder.rglob("*.safetensors"):
            weights.unlink()
    measured: dict[str, Any] = json.loads(path.read_text())
    sys.stderr.write(
        f"{plan.task.name} {plan.seed} {kind} {arm.name}: {measured}\n"
    )
    return measured


def study(plan: Plan) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind, arm, what was measured) of one task and seed."""
    chosen = list(arms(labels(plan)))
    for arm in chosen:
        yield "equal tokens", arm.name, learnt(plan, arm, "tokens")
    for arm in of_equal_size(chosen, plan.seed):
        yield "equal rows", arm.name, learnt(plan, arm, "rows")


def table(measured: Mapping[tuple[str, str, str], Sequence[Row]]) -> str:
    """Markdown: a line for each task, kind and arm, with the share of every seed."""
    out = [
        "| task | at | rows from | rows | right among them | right on held-out, by seed | mean |",
        "|---|---|---|---:|---:|---|---:|",
    ]
    for (task, kind, arm), results in measured.items():
        shares = [result["hits"] / result["tested"] for result in results]
        count = len(results)
        cells = (
            task,
            kind,
            arm,
            f"{sum(result['rows'] for result in results) / count:.0f}",
            f"{sum(result['precision'] for result in results) / count:.2f}",
            " ".join(f"{share:.3f}" for share in shares),
            f"{sum(shares) / count:.3f}",
        )
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)


def main() -> None:
    """Reads the command line; prints the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/study-real"))
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=["reviews"]
    )
    parser.add_argument(
        "--data", type=Path, help="a folder with wnut17, for entities"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--tested", type=int, default=400)
    parser.add_argument("--teacher", choices=models.MODELS, default="qwen-0.5b")
    parser.add_argument("--critic", choices=models.MODELS, default="qwen-1.5b")
    parser.add_argument(
        "--student", choices=models.MODELS, default="smollm2-135m"
    )
    options = vars(parser.parse_args())
    names = options.pop("tasks")
    seeds = options.pop("seeds")
    measured: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    try:
        for seed in seeds:
            for name in names:
                plan = Plan(task=TASKS[name], seed=seed, **options)
                plan.folder.mkdir(parents=True, exist_ok=True)
                for kind, arm, result in study(plan):
                    measured[name, kind, arm].append(result)
            text = table(measured)
            (options["output"] / "table.md").write_text(text + "\n")
            print(text, flush=True)
    except PotstillError as error:
        raise SystemExit(f"examples.real.study: {error}") from error


if __name__ == "__main__":
    main()
