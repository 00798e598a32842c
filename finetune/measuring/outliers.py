"""How well a student's surprise tells texts of its own kind from others (Wu et al.,
arXiv:2211.11300).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.core.json_files import write_json, write_whole
from finetune.core.own_files import MEASURED, check_folder
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.prompts import Prompt, of_student
from finetune.measuring.likelihoods import Surprise, pairs_of, surprises
from synth.core.errors import WrongUse
from synth.statistics.intervals import auc, auc_interval

# Per cent of the texts of the student's kind that are let through.
_LET_THROUGH = 95
SCORES = "scores.jsonl"


@dataclass(frozen=True, kw_only=True)
class OutliersConfig:
    """What to measure.

    Attributes:
        model: the student.
        inside: rows of what it was trained for, and not trained on.
        outside: rows of other things.
        output: where evaluation.json and scores.jsonl go.
        teacher: whose surprise is taken away; None for the student's alone.
    """

    model: str
    inside: str
    outside: str
    output: Path
    teacher: str | None = None


def run(config: OutliersConfig) -> JsonObject:
    """Scores each text by the student's ln of perplexity, and with a teacher by ln of student's /
    teacher's perplexity too; measures how well each score tells the two files apart.

    Returns:
        The content of OUTPUT/evaluation.json: `perplexity` and maybe `ratio`, see `separation`.

    Raises:
        WrongUse: rows without a text, or a text without a token.
    """
    check_folder(config.output, (SCORES,), ("model", "teacher", "texts"))
    kinds = {"inside": config.inside, "outside": config.outside}
    places: list[tuple[str, int]] = []
    prompts: list[Prompt] = []
    texts: list[str] = []
    for kind, source in kinds.items():
        read = pairs_of(list(rows.load(source)), f"--{kind} {source}")
        prompts += read[0]
        texts += read[1]
        places += [(kind, number) for number in range(len(read[1]))]
    template = of_student(config.model)
    models = [config.model]
    if config.teacher is not None:
        models.append(config.teacher)
    by_model = [surprises(one, prompts, texts, template) for one in models]
    found: list[JsonObject] = []
    for (kind, number), *pair in zip(places, *by_model, strict=True):
        where = f"--{kind} {kinds[kind]} row {number + 1}"
        found.append({"kind": kind, "row": number, **scores(pair, where)})
    outside = [one["kind"] == "outside" for one in found]
    names = (
        ["perplexity"] if config.teacher is None else ["perplexity", "ratio"]
    )
    info: JsonObject = {
        "model": config.model,
        "teacher": config.teacher,
        "texts": len(texts),
    }
    for name in names:
        values = [float(one[name]) for one in found]
        info[name] = separation(values, outside)
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(config.output / MEASURED, info)
    lines = "".join(json.dumps(one) + "\n" for one in found)
    write_whole(config.output / SCORES, lines)
    return info


def scores(surprise: Sequence[Surprise], where: str) -> dict[str, float]:
    """Scores of one text, in nats a token of the student.

    Args:
        surprise: the student's, maybe the teacher's behind it.
        where: the row, for messages.

    Returns:
        `perplexity`, ln of it, and with a teacher `ratio`: the nats of the student less those of
        the teacher. Of two models of one tokenizer that is ln of the ratio of their perplexities.

    Raises:
        WrongUse: a text without a token.

    Example:
        >>> scores([Surprise(2.0, 4), Surprise(1.0, 6)], "row 1")
        {'perplexity': 2.0, 'ratio': 0.5}
    """
    student, *teachers = surprise
    if not student.tokens:
        raise WrongUse(
            where, "a text without a token", "a text", "Leave the row out."
        )
    made = {"perplexity": student.mean}
    for teacher in teachers:
        made["ratio"] = (student.total - teacher.total) / student.tokens
    return made


def separation(
    values: Sequence[float], outside: Sequence[bool]
) -> dict[str, float]:
    """How well a score tells texts apart, of which those from outside should score higher.

    Args:
        values: of both kinds.
        outside: whether each is from outside; some are, and some are not.

    Returns:
        auroc, 0 to 1, how likely one from outside scores higher, with low and high (Newcombe's
        95 % interval); far95, the share of those from outside that a cut lets through which lets
        95 % of the others through; inside and outside, the mean scores.

    Raises:
        WrongUse: texts of one kind alone.

    Example:
        >>> told = separation([1.0, 2.0, 3.0, 2.5, 4.0], [False, False, False, True, True])
        >>> round(told["auroc"], 4), told["far95"]
        (0.8333, 0.5)
    """
    pairs = list(zip(values, outside, strict=True))
    ours = sorted(value for value, is_outside in pairs if not is_outside)
    others = [value for value, is_outside in pairs if is_outside]
    if not ours or not others:
        raise WrongUse(
            "--inside, --outside",
            f"{len(ours)} and {len(others)} texts",
            "some of both",
            "Bring rows of both kinds.",
        )
    area = auc(values, outside)
    low, high = auc_interval(area, len(others), len(ours))
    # The lowest score that, itself included, at least so many do not exceed.
    let_through = -(-_LET_THROUGH * len(ours) // 100)
    cut = ours[let_through - 1]
    through = sum(value <= cut for value in others)
    return {
        "auroc": area,
        "low": low,
        "high": high,
        "far95": through / len(others),
        "inside": sum(ours) / len(ours),
        "outside": sum(others) / len(others),
    }
