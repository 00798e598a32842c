"""`finetune card`: what a student is, what it learned from and how it was measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from finetune.core.rows import JsonObject
from finetune.data.prompts import RECORD
from finetune.data.rows import is_run
from finetune.students.kinds import kind_of
from finetune.students.scratch import is_scratch
from synth.core.errors import WrongUse, markdown
from synth.inputs.names import not_there
from synth.runs.ownership import read_run

_CARD = "README.md"
_EVALUATION = "evaluation.json"
# In the last line, before the hash of all that stands above it.
_OURS = "<!-- finetune card "
# A line of the card that peft saves beside adapters, for people to fill in.
_UNFILLED = "<!-- Provide a quick summary of what the model is/does. -->"
# Of those of sentence-transformers: its trainers put the tag on top, and people are to write where
# the comment stands.
_TRAINER = "generated_from_trainer"
_NOBODY = "*Lists the people who create the model card, providing recognition"
# Of the record: what has a line of its own, and what says where files lie.
_APART = ("model", "data", "taint", "base")


class Sources(NamedTuple):
    """What a card is made of.

    Attributes:
        train: the student's train.json.
        run: run.json of the rows that it learned from; {} where they are of no run.
        evaluations: evaluation.json of each evaluation.
        license: as the hub spells it; "" where nobody said.
        tag: what the hub calls such students; "" for nothing that it knows.
    """

    train: JsonObject
    run: JsonObject
    evaluations: Sequence[JsonObject]
    license: str
    tag: str = "text-generation"


def make_card(name: str, sources: Sources) -> str:
    """README.md of a student's folder. It names files by their last name alone.

    Args:
        name: of the student.
        sources: what is known of it.
    """
    lines = [
        f"---\n{yaml.safe_dump(_head(sources), sort_keys=False)}---",
        f"# {markdown(name)}",
        "",
        f"Base: {markdown(_name_of(sources.train['model']))}.",
        *_data(sources),
        "",
        "## Training",
        "",
        *_training(sources.train),
        "",
        "## Measured",
        "",
        *_measures(sources),
        "",
    ]
    return "\n".join(lines)


def _head(sources: Sources) -> JsonObject:
    """What the hub reads."""
    head: JsonObject = {
        "library_name": "transformers",
        **({"pipeline_tag": sources.tag} if sources.tag else {}),
        "tags": ["distillation", "potstill"],
    }
    base = str(sources.train["model"])
    if base.count("/") == 1 and not Path(base).exists() and base[0] != ".":
        head["base_model"] = base
    if sources.license:
        head["license"] = sources.license
    return head


def _name_of(model: object) -> str:
    """A model's name: of a folder its last part, of the hub and of scratch the whole."""
    text = str(model)
    if is_scratch(text) or not (Path(text).exists() or text[0] in "/.~"):
        return text
    return Path(text).name


def _data(sources: Sources) -> Iterator[str]:
    """Rows, the run that made them, and who taught."""
    train = sources.train
    rows = f"{train['rows']:,} rows"
    named = markdown(Path(str(train["data"])).name)
    yield f"Data: {rows} of {named}."
    run = sources.run
    if run:
        pack = run["pack"]
        teachers = ", ".join({*map(str, run["settings"]["teachers"].values())})
        yield f"They were made by pack {markdown(pack['name'])} with {markdown(teachers)}."
        yield f"Hash of the rows: `{run.get('content', 'not known')}`."
    for teacher, terms in (run.get("terms") or {}).items():
        said = "; ".join(map(markdown, terms))
        yield f"Training on replies of {markdown(teacher)}: {said}."


def _training(train: JsonObject) -> Iterator[str]:
    """A table of the plain values of the record."""
    yield "| | |"
    yield "|---|---|"
    for name, value in train.items():
        if name in _APART or not isinstance(value, str | int | float):
            continue
        yield f"| {markdown(name)} | {markdown(_spelt(value))} |"


def _spelt(value: str | float) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _measures(sources: Sources) -> Iterator[str]:
    """A table of measures with their intervals, and what the teachers may have seen."""
    if not sources.evaluations:
        yield "Nothing: `finetune evaluate` does it."
    else:
        yield "| data | measure | value | 95 % interval | rows |"
        yield "|---|---|---:|---|---:|"
    for told in sources.evaluations:
        data = markdown(Path(str(told["data"])).name)
        for name, value, low, high in _values(told):
            between = f"{low:.3f} to {high:.3f}"
            yield f"| {data} | {markdown(name)} | {value:.3f} | {between} | {told['rows']:,} |"
    yield ""
    yield from _taint(sources)


def _values(told: JsonObject) -> Iterator[tuple[str, float, float, float]]:
    """(measure, value, low, high) of one evaluation."""
    share = told["exact_match"]
    yield "exact_match", share["share"], share["low"], share["high"]
    for name, found in told["measures"].items():
        if found["value"] is not None and "low" in found:
            yield name, found["value"], found["low"], found["high"]


def _taint(sources: Sources) -> Iterator[str]:
    """What is known of contamination."""
    names = sources.train.get("taint") or []
    if not names:
        yield "Nobody said that a teacher had seen data that it is measured on (`--taint`)."
        return
    yield f"The teachers may have seen {markdown(', '.join(names))}."
    for told in sources.evaluations:
        if told.get("tainted"):
            data = markdown(Path(str(told["data"])).name)
            yield f"The figures on {data} say little: it is among them."


def describe_student(
    student: Path, evaluations: Sequence[Path], license_id: str = ""
) -> Path:
    """Writes README.md into a student's folder; returns its path.

    Args:
        student: its folder, with train.json.
        evaluations: folders of `finetune evaluate` of this student.
        license_id: as the hub spells it; "" for none.

    Raises:
        WrongUse: no record of a training, an evaluation of another model, or a README that
            somebody wrote.
    """
    train = _read(student / RECORD, "a student's folder")
    read = []
    for folder in evaluations:
        told = _read(folder / _EVALUATION, "a folder of `finetune evaluate`")
        _check_same(folder, told, student)
        read.append(told)
    card = student / _CARD
    _check_ours(card)
    data = Path(str(train["data"]))
    run = read_run(data) if is_run(data) else {}
    name = student.resolve().name
    kind = kind_of(str(student))
    tag = kind.tag if kind else Sources.tag
    text = make_card(name, Sources(train, run, read, license_id, tag))
    card.write_text(_signed(text), encoding="utf-8")
    return card


def _read(path: Path, wanted: str) -> JsonObject:
    try:
        content: JsonObject = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise not_there(str(path), str(path), wanted) from error
    except (OSError, ValueError) as error:
        raise WrongUse(
            str(path),
            f"no record ({type(error).__name__})",
            wanted,
            "Check the path.",
        ) from error
    return content


def _check_same(folder: Path, told: JsonObject, student: Path) -> None:
    """Raises WrongUse where an evaluation is of another model."""
    measured = Path(str(told["model"]))
    if measured.resolve() != student.resolve():
        raise WrongUse(
            f"--evaluation {folder}",
            f"an evaluation of {measured.name}",
            f"one of {student.name}",
            "Give the folder of this student's evaluation.",
        )


def _signed(text: str) -> str:
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text}{_OURS}{mark} -->\n"


def _check_ours(card: Path) -> None:
    """Raises WrongUse where a README is neither ours as we wrote it nor one of a
    library that nobody filled in.
    """
    if not card.is_file():
        return
    text = card.read_text(encoding="utf-8", errors="replace")
    above, _, _ = text.rpartition(_OURS)
    is_of_trainer = _TRAINER in text and _NOBODY in text
    if text == _signed(above) or _UNFILLED in text or is_of_trainer:
        return
    raise WrongUse(
        str(card),
        "a README that somebody wrote",
        "none, or one of `finetune card`",
        "Move it elsewhere first: its words would be lost.",
    )
