"""A probe that reads off a student's hidden state, without a draw, whether its draws would mean one
thing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finetune.core.arrays import (
    LabelArray,
    ShareArray,
    StateArray,
    StatesByLayer,
    WeightArray,
)
from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.label_counts import Labelled, check_both_kinds, numbered
from finetune.data.prompts import Prompt, of_student
from finetune.data.shapes import check_asked, read_label
from finetune.measures.base import by_question, reply_of
from finetune.measuring.evaluate import prompt_of
from finetune.recipes.frozen_critic import parts_of
from finetune.scoring import calibration
from finetune.scoring.hidden_probe import FILE, At, Reader, fit, shares
from synth.core import registry
from synth.core.aio import run_async
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.filters.semantic_entropy import SemanticEntropy
from synth.runs.marks import mark
from synth.statistics.intervals import auc, auc_interval

# Penalties that are tried on the questions for calibration.
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_BOTH_KINDS = (
    "questions whose draws mean one thing, and others",
    "Draw more often or hotter: `finetune evaluate --draws 10 --temperature 1`.",
)
# No column of a file is called so.
_NUMBER = "\0row"
_MARK = ("semantic_entropy", "entropy")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """What `finetune entropy-probe` is told.

    Attributes:
        data: draws: rows with `prompt` or `question`, `reply` and, where it is known, `right` or
            `is_correct`; several rows a prompt.
        model: the student that drew them, a decoder.
        output: folder for probe.json.
        at: the token whose state is read: the last of the `prompt`, before anything is said, or the
            last of the first draw (`answer`).
        layer: whose state is read, 0 being the embeddings; None for the one that orders the
            questions for calibration best.
        entropy: the filter that measures the draws, semantic_entropy[:key=value,...].
        held_out: share of the questions to measure on; as many more calibrate.
    """

    data: str
    model: str
    output: Path
    at: At = "prompt"
    layer: int | None = None
    entropy: str = "semantic_entropy"
    held_out: float = 0.2


class Asked(NamedTuple):
    """A question with its draws.

    Attributes:
        prompt: that the student was asked.
        reply: the first draw, which stands for the others.
        entropy: of all draws, 0 to 1.
        is_right: whether the first draw is right; None where nobody says.
        row: number of the first draw in the file, from 1.
    """

    prompt: Prompt
    reply: str
    entropy: float
    is_right: bool | None
    row: int


class Fitted(NamedTuple):
    """A probe.

    Attributes:
        layer: whose states it reads.
        weights: [D + 1] of `finetune.scoring.hidden_probe.fit`.
    """

    layer: int
    weights: WeightArray


def run(config: ProbeConfig) -> JsonObject:
    """Trains on part of the questions, chooses layer and penalty and calibrates on another part,
    measures on the rest; writes OUTPUT/probe.json for the filter `cross_encoder` and for `finetune
    evaluate --ranker` (Kossen et al., arXiv:2406.15927).

    Returns:
        questions, cut (the entropy from which on draws count as uncertain), seconds, layer, and
        areas under the ROC curve with 95 % intervals on held-out questions: `entropy` of the probe
        for high against low entropy, and where rows say what is right `correctness` of the same
        probe, `correctness_by_draws` of the draws' own entropy, and `correctness_by_probe` of a
        probe that learnt correctness.

    Raises:
        WrongUse: no draws, entropies or labels that are all alike, no such layer or model.
    """
    started = time.time()
    asked = _asked(config)
    entropies = [one.entropy for one in asked]
    cut = best_split(entropies, f"--input {config.data}")
    certain = np.array(entropies) < cut
    parts = parts_of([str(one.prompt) for one in asked], config.held_out)
    for name, part in zip(("train", "calibrate"), parts[:2], strict=True):
        _check_entropies([asked[n] for n in part], name, cut, config.data)
    template = of_student(config.model)
    reader = Reader(config.model, config.at, template)
    states = reader.states([(one.prompt, one.reply) for one in asked])
    layers = _layers(config, states.shape[1])
    probe = _best(states, certain, parts, layers)
    raw = shares(states[:, probe.layer], probe.weights)
    tune, held = parts[1:]
    curve = calibration.fit(raw[tune].tolist(), certain[tune].tolist(), "platt")
    info = {
        "model": config.model,
        "data": config.data,
        "questions": len(asked),
        "trained": len(parts[0]),
        "cut": round(cut, 4),
        "uncertain": round(1 - float(certain.mean()), 4),
        "at": config.at,
        "layer": probe.layer,
        "layers": states.shape[1],
        "held_out": len(held),
        "entropy": _area(raw[held], certain[held]),
        **_correctness(asked, states, raw, parts, layers),
        "unlabelled": _unlabelled(asked),
        "seconds": round(time.time() - started, 2),
    }
    content = {
        **info,
        "template": template,
        "line_end": all(str(one.prompt).endswith("\n") for one in asked),
        "weights": probe.weights.tolist(),
        "calibration": curve.record(),
    }
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(config.output / FILE, content)
    return info


def _check_entropies(
    taken: Sequence[Asked], aim: str, cut: float, source: str
) -> None:
    """Refuses questions that are all certain, or none of them."""
    listed = [
        Labelled(one.row, round(one.entropy, 4), one.entropy < cut)
        for one in taken
    ]
    more = f"the cut between certain and uncertain is {cut:.4f}"
    where = f"--input {source} entropies"
    check_both_kinds(where, aim, listed, more, _BOTH_KINDS)


def best_split(values: Sequence[float], where: str) -> float:
    """The cut between low and high values with the smallest sum of squared distances to the means
    of both sides; it lies halfway between two values.

    Raises:
        WrongUse: values that are all alike, of which there is no high and no low.

    >>> best_split([0.0, 0.1, 0.2, 0.8, 1.0], "here")
    0.5
    """
    ordered = sorted(values)
    best = float("inf")
    cut = None
    for place in range(1, len(ordered)):
        below = ordered[place - 1]
        above = ordered[place]
        if below == above:
            continue
        error = _squares(ordered[:place]) + _squares(ordered[place:])
        if error < best:
            best = error
            cut = (below + above) / 2
    if cut is None:
        raise WrongUse(
            where,
            f"{len(ordered):,} questions of one and the same entropy, {ordered[0]:.4f}",
            *_BOTH_KINDS,
        )
    return cut


def _squares(values: Sequence[float]) -> float:
    """The sum of squared distances to the mean."""
    table = np.array(values)
    return float(((table - table.mean()) ** 2).sum())


def _asked(config: ProbeConfig) -> list[Asked]:
    """The questions of the rows, in the order of their first draws."""
    where = f"--input {config.data}"
    listed = [dict(row) for row in rows.load(config.data)]
    if not {"prompt", "question"} & set(listed[0]):
        raise WrongUse(
            where,
            f"columns {', '.join(listed[0])}",
            "`prompt` or `question`, and `reply`",
            "Give predictions.jsonl of `finetune evaluate --draws 10`, or a run of draws.",
        )
    each_row(
        listed, lambda number, row: _check_row(row, f"{where} row {number}")
    )
    for number, row in enumerate(listed, 1):
        row["prompt"] = prompt_of(row)
        row[_NUMBER] = number
    groups = list(by_question(listed).values())
    if all(len(draws) == 1 for draws in groups):
        raise WrongUse(
            where,
            "one row a question",
            "several draws of each",
            "Draw more often: `finetune evaluate --draws 10`.",
        )
    entropies = _entropies(groups, config.entropy)
    return [
        Asked(
            draws[0]["prompt"],
            reply_of(draws[0]) or str(draws[0].get("completion") or ""),
            entropy,
            _is_right(draws[0], f"{where} row {draws[0][_NUMBER]}"),
            draws[0][_NUMBER],
        )
        for draws, entropy in zip(groups, entropies, strict=True)
    ]


def _check_row(row: Row, where: str) -> None:
    """Raises WrongUse for a row without a question or a reply, or a question that is neither a text
    nor messages.
    """
    asked = row.get("prompt")
    if asked is None:
        asked = row.get("question")
    has_prompt = asked is not None
    if has_prompt and row.get("reply", row.get("completion")) is not None:
        check_asked(row, where)
        return
    raise WrongUse(
        where,
        "no reply" if has_prompt else "no question",
        "`prompt` or `question`, and `reply`",
        "Correct the row, or take it out.",
    )


def _is_right(row: Row, where: str) -> bool | None:
    for column in ("right", "is_correct"):
        if row.get(column) is not None:
            return read_label(row[column], f"{where} column {column}")
    return None


def _entropies(groups: Sequence[Sequence[Row]], spec: str) -> list[float]:
    """The entropy of each question's draws: what a run marked, where it marked every question, else
    what the filter says.
    """
    marked = [mark(draws[0], _MARK) for draws in groups]
    known = [value for value in marked if value is not None]
    if len(known) == len(groups):
        return known
    part = registry.build("synth.filters", spec, "--entropy")
    if not isinstance(part, SemanticEntropy):
        raise WrongUse(
            f"--entropy {spec}",
            f"the filter {part.name}",
            "semantic_entropy",
            "For example --entropy semantic_entropy:same=entailment,model=M.",
        )
    return run_async(_measured(groups, part))


async def _measured(
    groups: Sequence[Sequence[Row]], part: SemanticEntropy
) -> list[float]:
    doors = part.open_doors() if part.roles() else None
    found = []
    try:
        for draws in groups:
            verdict = (await part.verdicts(draws, doors))[0]
            if "entropy" not in verdict.marks:
                raise WrongUse(
                    "--entropy",
                    f"no word of {part.teacher} on {draws[0]['prompt']!r:.80}",
                    "a comparison of every draw",
                    "Run the command again, with journal=DIR in --entropy.",
                )
            found.append(float(verdict.marks["entropy"]))
    finally:
        if doors is not None:
            await doors.close()
    return found


def _layers(config: ProbeConfig, count: int) -> Sequence[int]:
    """Layers that are tried."""
    if config.layer is None:
        return range(count)
    if not 0 <= config.layer < count:
        raise WrongUse(
            f"--layer {config.layer}",
            f"a student with layers 0 to {count - 1}, 0 being its embeddings",
            "one of them",
            "Leave --layer out to try each.",
        )
    return [config.layer]


def _best(
    states: StatesByLayer,
    labels: LabelArray,
    parts: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> Fitted:
    """The probe of the layer and the penalty that orders the questions for calibration best."""
    train, tune = list(parts[0]), list(parts[1])
    best_area = -1.0
    best = Fitted(layers[0], np.zeros(states.shape[2] + 1))
    for layer in layers:
        of_layer: StateArray = states[:, layer]
        for penalty in PENALTIES:
            weights = fit(of_layer[train], labels[train], penalty)
            scores = shares(of_layer[tune], weights).tolist()
            area = auc(scores, labels[tune].tolist())
            if area > best_area:
                best_area = area
                best = Fitted(layer, weights)
    return best


def _area(scores: ShareArray, labels: LabelArray) -> JsonObject | None:
    """Area under the ROC curve with its interval; None where all labels are alike."""
    right = int(labels.sum())
    wrong = len(labels) - right
    if not right or not wrong:
        return None
    area = auc(scores.tolist(), labels.tolist())
    low, high = auc_interval(area, right, wrong)
    return {
        "auc": round(area, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "questions": len(labels),
    }


def _unlabelled(asked: Sequence[Asked]) -> str:
    """The first draws of which nobody says whether they are right, where others are labelled."""
    rows = [one.row for one in asked if one.is_right is None]
    return numbered(rows) if 0 < len(rows) < len(asked) else ""


def _correctness(
    asked: Sequence[Asked],
    states: StatesByLayer,
    raw: ShareArray,
    parts: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> JsonObject:
    """How well the probe, the draws and a probe of its own foretell which first draws are right."""
    said = [one.is_right for one in asked]
    if None in said:
        return {}
    right = np.array(said, dtype=bool)
    held = list(parts[2])
    by_draws = np.array([-one.entropy for one in asked])
    found = {
        "correctness": _area(raw[held], right[held]),
        "correctness_by_draws": _area(by_draws[held], right[held]),
    }
    if all(0 < right[list(part)].mean() < 1 for part in parts[:2]):
        own = _best(states, right, parts, layers)
        scores = shares(states[:, own.layer], own.weights)
        found["correctness_by_probe"] = _area(scores[held], right[held])
    return found
