"""Ranking of a teacher's texts over a student's, by likelihood alone (PLaD, arXiv:2406.02886)."""

from __future__ import annotations

from typing import cast

from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.odd_cells import first_misfit
from finetune.data.row_numbers import LARGEST, beyond, is_usable
from finetune.objectives.objectives import Ranking
from finetune.recipes import sft
from finetune.settings import TrainConfig
from synth.core.errors import WrongUse


def run(
    config: TrainConfig,
    *,
    margin: float = 1.0,
    normalise: bool = False,
    likelihood: float = 0.1,
) -> JsonObject:
    """Trains on `prompt`, `chosen`, `rejected` and, where there is one, `margin`: how much better
    the chosen text is.

    Args:
        config: data, model, output, fields of the TRL config; a batch counts pairs.
        margin: see `objectives.Ranking`; a pair's own `margin` multiplies it.
        normalise: see there.
        likelihood: see there.

    Returns:
        The content of OUTPUT/train.json.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; a margin that is not above 0,
            or two equal texts.
    """
    import datasets  # noqa: PLC0415 - a second of imports

    pairs = [
        dict(row) for row in rows.preference_rows(config.data, also=("margin",))
    ]
    margins = [pair.get("margin") for pair in pairs]
    place = first_misfit(margins, _is_margin)
    if place is not None:
        raise _no_margin(
            margins[place], f"--input {config.data} row {place + 1}"
        )
    for number, pair in enumerate(pairs, 1):
        _check(pair, f"--input {config.data} row {number}")
    sided = [
        {
            "prompt": pair["prompt"],
            "completion": pair[side],
            **({"tools": pair["tools"]} if pair.get("tools") else {}),
        }
        for pair in pairs
        for side in ("chosen", "rejected")
    ]
    given = {
        "weights": [
            sign * float(pair.get("margin") or 1.0)
            for pair in pairs
            for sign in (1, -1)
        ],
        "task_numbers": [0] * len(sided),
        "ids": [str(number) for number in range(len(pairs)) for _ in range(2)],
    }
    return sft.fit(
        config,
        datasets.Dataset.from_list(sided),
        (
            given,
            Ranking(margin=margin, normalise=normalise, likelihood=likelihood),
        ),
    )


def _is_margin(gap: object) -> bool:
    return gap is None or (is_usable(gap) and cast("float", gap) > 0)


def _no_margin(gap: object, where: str) -> WrongUse:
    todo = "Leave out pairs whose texts are equally good."
    if gap != 0:
        todo = beyond(gap)
    return WrongUse(
        where,
        f"margin = {gap!r:.80}",
        f"a number above 0, at most {LARGEST:g}",
        todo,
    )


def _check(pair: JsonObject, where: str) -> None:
    if pair["chosen"] == pair["rejected"]:
        raise WrongUse(
            where,
            "chosen and rejected are the same text",
            "two texts",
            "Leave the pair out.",
        )
