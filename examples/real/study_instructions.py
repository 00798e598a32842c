"""Which instructions out of nothing are worth their dollars? `python -m
examples.real.study_instructions --data D`: three recipes spend as much on the same teacher, and the
same student learns from what each of them made.

Self-Instruct writes after its own twelve instructions, about the domains of `persona_tasks`;
`persona_tasks` writes what a drawn population would ask; `evol_instruct` makes the twelve harder.
None of them needs an instruction of the user's. D holds what people judged: `pandalm`, pairs of
replies of which one is preferred, and `palm_cot`, questions with choices. What was made, trained or
measured is kept in `--output`: the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click

import synth
from examples.real import models, server
from examples.real.students import train
from synth.cli.numbers import Number, Whole
from synth.core.errors import (
    BudgetReached,
    PotstillError,
    WrongUse,
)
from synth.exports.base import pack_of, write_rows
from synth.exports.sft import Sft
from synth.inputs.made.sampling import made_rows
from synth.inputs.seeds import read_rows
from synth.local_models.scores import losses
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder
from synth.statistics.paired import mean_interval

Row = dict[str, Any]
# A prompt in the student's chat template, and a reply.
Asked = tuple[str, str]
# A number an item of a held-out set, by measure.
Measured = Mapping[str, Sequence[float]]

# Dollars per million tokens in and out.
PRICE = "1,4"
SLOTS = 4
# Pairs that a student reads in one message: a minute or two on a busy core.
PART = 64
NLL = "nats a token of the preferred reply"
LIKELIER = "preferred reply likelier"
RIGHT = "questions answered right"
BEFORE = "before"
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made, learnt and measured.

    Attributes:
        dollars: that each recipe may spend, at PRICE.
        steps: of the optimiser, for every student.
        batch: rows of a step.
        length: tokens of a row; what is longer is cut.
        learning_rate: at its highest, behind the warm-up.
        pairs: of pandalm, each of another instruction.
        questions: of commonsense_qa.
    """

    teacher: str
    student: str
    dollars: float
    steps: int
    batch: int
    length: int
    learning_rate: float
    pairs: int
    questions: int


def made_people() -> list[Row]:
    """The population that `persona_tasks` makes."""
    spec = Pack.load("persona_tasks").spec.seeds
    if spec is None:
        raise ValueError("persona_tasks makes no rows")
    return list(made_rows(spec))


def domains() -> list[Row]:
    """The domains of the same population, in its order."""
    return [{"id": row["id"], "domain": row["domain"]} for row in made_people()]


def first_instructions() -> list[Row]:
    """The twelve that Self-Instruct begins with."""
    first = Pack.load("self_instruct").spec.constants["first"]
    return [{"instruction": text} for text in first]


# Recipe -> all rows that it may use.
RECIPES: dict[str, Callable[[], list[Row]]] = {
    "self_instruct": domains,
    "persona_tasks": made_people,
    "evol_instruct": first_instructions,
}


class Sets(NamedTuple):
    """The held-out sets.

    Attributes:
        pairs: of an instruction, the reply that two or three of three people prefer, and the other.
        questions: with their choices and the right one.
    """

    pairs: Sequence[Row]
    questions: Sequence[Row]


def preferred(data: Path) -> list[Row]:
    """A pair of each instruction of pandalm on which two people agree, in an order of its own."""
    rows = list(read_rows(data / "pandalm" / "dev.jsonl"))
    random.Random(0).shuffle(rows)
    pairs: dict[str, Row] = {}
    for row in rows:
        votes = [row[f"annotator{number}"] for number in (1, 2, 3)]
        winner = max(votes, key=votes.count)
        if votes.count(winner) < 2 or not winner:
            continue
        replies = [str(row["response1"]), str(row["response2"])]
        question = f"{row['instruction']}\n{row['input']}".strip()
        pair = {
            "question": question,
            "preferred": replies[winner - 1],
            "other": replies[2 - winner],
        }
        if all(replies):
            pairs.setdefault(question, pair)
    return list(pairs.values())


def questions(data: Path) -> list[Row]:
    """Questions of commonsense_qa whose choices differ, in an order of their own."""
    rows = [
        row
        for row in read_rows(data / "palm_cot" / "commonsense_qa_train.jsonl")
        if len({*row["choices"]}) == len(row["choices"])
    ]
    random.Random(0).shuffle(rows)
    return rows


def held_out(data: Path, plan: Plan) -> Sets:
    """Both sets, in the sizes of the plan.

    Raises:
        WrongUse: a set is missing, or smaller than that.
    """
    found = {"--pairs": preferred(data), "--questions": questions(data)}
    wanted = (plan.pairs, plan.questions)
    for (name, rows), count in zip(found.items(), wanted, strict=True):
        if len(rows) < count:
            raise WrongUse(
                f"{name} {count}",
                f"{len(rows)} in {data}",
                "as many as are wanted",
                f"Give {name} {len(rows)}.",
            )
    pairs, asked = found.values()
    return Sets(pairs[: plan.pairs], asked[: plan.questions])


def settle(plan: Plan, output: Path) -> None:
    """Keeps the plan in the folder of the study.

    Raises:
        WrongUse: the folder holds results of another one.
    """
    path = output / PLAN
    now = asdict(plan)
    if not path.is_file():
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(now, indent=1), encoding="utf-8")
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        name = changed[0]
        raise WrongUse(
            f"--{name.replace('_', '-')} {now[name]}",
            f"{path} with {before.get(name)}",
            "the options that the study began with",
            "Give them again, or another --output.",
        )


def make(name: str, plan: Plan, output: Path) -> Row:
    """What a recipe came to: counts, tokens and dollars; its rows lie in NAME.jsonl. Once made, it
    is not made again.

    Raises:
        WrongUse: the run ended before its rows or its dollars did, or brought no row.
    """
    path = output / f"{name}.json"
    if path.is_file():
        made: Row = json.loads(path.read_text(encoding="utf-8"))
        return made
    with server.serving(models.fetch(plan.teacher), slots=SLOTS) as url:
        run = ask(name, plan, output / "runs" / name, url)
    if run.exit_code not in (0, BudgetReached.exit_code):
        raise WrongUse(
            str(run.folder),
            f"{len(run.kept)} rows, and {run.stopped or run.counts['failed']}",
            "rows, and a run that ends where its rows or its dollars do",
            "See whether the server still runs, then start the study again.",
        )
    folder = RunFolder(run.folder)
    count = write_rows(
        Sft().rows(folder, pack_of(folder)), output / f"{name}.jsonl"
    )
    made = {"rows": count, "counts": run.counts, **run.info["cost"]}
    path.write_text(json.dumps(made), encoding="utf-8")
    return made


def ask(name: str, plan: Plan, folder: Path, url: str) -> synth.Run:
    """The run of a recipe, until its dollars or its rows end."""
    roles = Pack.load(name).roles
    return synth.run(
        name,
        RECIPES[name](),
        teacher=dict.fromkeys(roles, f"openai/{plan.teacher}"),
        api_base=url,
        api_key_env="",
        budget=plan.dollars,
        price=PRICE,
        concurrency=SLOTS,
        timeout=900.0,
        patience=1800.0,
        keep_going=True,
        # A server that is started again listens at another port.
        same_teacher=True,
        output=folder,
    )


def settings(plan: Plan) -> list[object]:
    """Of `finetune sft`; a training that was killed goes on from its last third."""
    return [
        *("--max-steps", plan.steps, "--max-length", plan.length),
        *("--per-device-train-batch-size", plan.batch),
        *(
            "--learning-rate",
            plan.learning_rate,
            "--warmup-steps",
            plan.steps // 10,
        ),
        *("--lr-scheduler-type", "cosine", "--template", "always"),
        *("--dtype", "float32", "--resume", "--save-strategy", "steps"),
        *("--save-steps", max(1, plan.steps // 3), "--save-total-limit", 1),
    ]


def learnt(
    name: str, seed: int, plan: Plan, output: Path, sets: Sets
) -> Measured:
    """What a student of a recipe's rows does on the held-out sets; kept in NAME-SEED.json."""
    folder = output / f"{name}-{seed}"
    if not kept(folder).is_file():
        data = output / f"{name}.jsonl"
        base = models.student(plan.student)
        train(folder, data, base, seed, settings(plan))
    measured = measure(folder, sets, kept(folder))
    # Half a gigabyte a student; what it does is known now.
    shutil.rmtree(folder, ignore_errors=True)
    return measured


def kept(folder: Path) -> Path:
    """Where the measures of a student are."""
    return folder.with_name(f"{folder.name}.json")


def measure(student: Path, sets: Sets, path: Path) -> Measured:
    """The three measures of a student, an item each; read from the path where they are there."""
    if not path.is_file():
        said = scores(student, sets)
        path.write_text(json.dumps(said), encoding="utf-8")
    measured: Measured = json.loads(path.read_text(encoding="utf-8"))
    return measured


def scores(student: Path, sets: Sets) -> Measured:
    """Replies and choices are read behind their prompts in the student's chat template."""
    templated = template_of(student)
    pairs = [
        (templated(row["question"]), row[side])
        for row in sets.pairs
        for side in ("preferred", "other")
    ]
    nats = nats_of(pairs, student)
    first = nats[::2]
    second = nats[1::2]
    choices = [pair for row in sets.questions for pair in options(row)]
    read = [(templated(prompt), choice) for prompt, choice in choices]
    said = nats_of(read, student)
    return {
        NLL: first,
        LIKELIER: [
            float(one < two) for one, two in zip(first, second, strict=True)
        ],
        RIGHT: list(hits(said, sets.questions)),
    }


def options(row: Row) -> list[Asked]:
    """A question that names its choices, with each of them as the reply."""
    choices = row["choices"]
    prompt = (
        f"{row['question']}\nAnswer with one of these: {', '.join(choices)}."
    )
    return [(prompt, choice) for choice in choices]


def hits(nats: Sequence[float], rows: Sequence[Row]) -> Iterator[float]:
    """Of each question, 1 where the choice of the fewest nats a token is the right one, else 0.

    Args:
        nats: of all choices of all rows, in their order.
        rows: with choices and answer.
    """
    start = 0
    for row in rows:
        end = start + len(row["choices"])
        of_row = nats[start:end]
        chosen = row["choices"][of_row.index(min(of_row))]
        yield float(chosen == row["answer"])
        start = end


def template_of(student: Path) -> Callable[[str], str]:
    """A question -> what the student reads before it replies, less the start token, which
    `losses` sets.
    """
    from finetune.data.prompts import rendered  # noqa: PLC0415 - seconds
    from finetune.students.load import load_tokenizer  # noqa: PLC0415

    tokenizer = load_tokenizer(str(student))
    start = str(tokenizer.bos_token or "")

    def templated(question: str) -> str:
        text, _ = rendered(question, tokenizer, "always")
        return text.removeprefix(start)

    return templated


def nats_of(pairs: Sequence[Asked], student: Path) -> list[float]:
    """Mean negative log-likelihood a token of each reply."""
    nats: list[float] = []
    for start in range(0, len(pairs), PART):
        part = pairs[start : start + PART]
        nats += [nll for nll, _ in losses(part, str(student))]
        sys.stderr.write(f"{student.name}: {len(nats)} of {len(pairs)}\n")
    return nats


def over_seeds(students: Sequence[Measured], measure: str) -> list[float]:
    """The mean of each item over the students of a recipe."""
    columns = zip(*(one[measure] for one in students), strict=True)
    return [sum(column) / len(column) for column in columns]


def difference(first: Sequence[float], second: Sequence[float]) -> str:
    """The mean of first less second over the items, with its paired 95 % interval."""
    gaps = [one - two for one, two in zip(first, second, strict=True)]
    low, high = mean_interval(gaps)
    mean = sum(gaps) / len(gaps)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def spent_table(made: Mapping[str, Row]) -> Iterator[str]:
    """Markdown: what each recipe asked, kept and spent."""
    yield "| recipe | rows kept | asked | dropped | tokens in | tokens out | dollars |"
    yield "|---|---:|---:|---|---:|---:|---:|"
    for name, row in made.items():
        dropped = sorted(row["counts"]["dropped"].items())
        reasons = ", ".join(f"{reason} {count}" for reason, count in dropped)
        cells = (
            f"`{name}`",
            f"{row['rows']}",
            f"{row['counts']['asked']}",
            reasons,
            f"{row['prompt_tokens']:,}",
            f"{row['completion_tokens']:,}",
            f"{row['usd']:.4f}",
        )
        yield f"| {' | '.join(cells)} |"


def measured_table(
    before: Measured, students: Mapping[str, Sequence[Measured]]
) -> Iterator[str]:
    """Markdown: each measure before, of each recipe by seed, and the change over the items."""
    yield "| measure | student | by seed | against before (95 % interval) |"
    yield "|---|---|---|---|"
    for measure, items in before.items():
        mean = sum(items) / len(items)
        yield f"| {measure} | {BEFORE} | {mean:.3f} |  |"
        for name, seeds in students.items():
            values = [sum(one[measure]) / len(one[measure]) for one in seeds]
            shown = " ".join(f"{value:.3f}" for value in values)
            change = difference(over_seeds(seeds, measure), items)
            yield f"| {measure} | `{name}` | {shown} | {change} |"


def between_table(
    students: Mapping[str, Sequence[Measured]],
) -> Iterator[str]:
    """Markdown: each two recipes, the mean of their seeds against each other."""
    yield "| measure | first | second | first less second (95 % interval) |"
    yield "|---|---|---|---|"
    names = list(students)
    for measure in (NLL, LIKELIER, RIGHT):
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                gap = difference(
                    over_seeds(students[first], measure),
                    over_seeds(students[second], measure),
                )
                yield f"| {measure} | `{first}` | `{second}` | {gap} |"


def report(
    made: Mapping[str, Row],
    before: Measured,
    students: Mapping[str, Sequence[Measured]],
) -> str:
    """The three tables."""
    parts = [
        spent_table(made),
        measured_table(before, students),
        between_table(students),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def study(plan: Plan, data: Path, output: Path, seeds: Sequence[int]) -> None:
    """Makes, trains and measures; writes the tables after every seed."""
    sets = held_out(data, plan)
    settle(plan, output)
    made = {name: make(name, plan, output) for name in RECIPES}
    click.echo("\n".join(spent_table(made)))
    base = models.student(plan.student)
    before = measure(base, sets, output / f"{BEFORE}.json")
    students: dict[str, list[Measured]] = {name: [] for name in RECIPES}
    for seed in seeds:
        for name, measured in students.items():
            measured.append(learnt(name, seed, plan, output, sets))
        text = report(made, before, students)
        (output / "table.md").write_text(f"{text}\n", encoding="utf-8")
        click.echo(text)


def count_option(name: str, default: int, what: str) -> Callable[..., Any]:
    """An option of a count from 1 up."""
    return click.option(
        name, type=Whole(min=1), default=default, show_default=True, help=what
    )


@click.command(help=__doc__)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="A folder with pandalm and palm_cot.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/study-instructions"),
    show_default=True,
)
@click.option(
    "--teacher",
    type=click.Choice([*models.MODELS]),
    default="qwen-0.5b",
    show_default=True,
)
@click.option(
    "--student",
    type=click.Choice([*models.MODELS]),
    default="smollm2-135m",
    show_default=True,
)
@click.option(
    "--dollars",
    type=Number(min=0, min_open=True),
    default=0.06,
    show_default=True,
    help=f"That each recipe may spend; a million tokens cost {PRICE} in and out.",
)
@click.option(
    "--learning-rate",
    type=Number(min=0, min_open=True),
    default=2e-5,
    show_default=True,
)
@count_option("--seeds", 3, "Trainings of each recipe.")
@count_option("--steps", 60, "Steps of the optimiser.")
@count_option("--batch", 4, "Rows of a step.")
@count_option("--length", 256, "Tokens of a row.")
@count_option("--pairs", 140, "Pairs of replies, held out.")
@count_option("--questions", 200, "Questions with choices, held out.")
def main(data: Path, output: Path, seeds: int, **sizes: Any) -> None:
    """Reads the command line; a missing model, compiler or set is one message."""
    try:
        study(Plan(**sizes), data, output, range(seeds))
    except PotstillError as error:
        raise SystemExit(f"study_instructions: {error}") from error


if __name__ == "__main__":
    main()
