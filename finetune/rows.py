"""Rows on disk -> the columns that a trainer reads. A run folder, an exported folder or file, or a dataset name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

from synth.errors import WrongUse
from synth.pairs import make_pairs
from synth.tables import load_parquet

_BUILDERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def is_run(path: str | Path) -> bool:
    """Whether a path is a folder that `synth run` wrote."""
    return (Path(path) / "run.json").is_file()


def load(source: str | Path, part: str = "data") -> Any:
    """A `datasets.Dataset` of a run folder's part, a file, a folder of files, or a dataset of the hub.

    Raises:
        WrongUse: nothing readable there, or no rows.
    """
    import datasets  # noqa: PLC0415 - a second of imports

    path = Path(source)
    if is_run(path):
        found = load_parquet(path / part)
    elif path.is_file() and path.suffix in _BUILDERS:
        found = datasets.load_dataset(_BUILDERS[path.suffix], data_files=str(path), split="train")
    else:
        found = _named(str(source), datasets)
    if len(found) == 0:
        raise WrongUse(str(source), "no rows", "at least one row", "Look at the run's tally for why rows were dropped.")
    return found


def _named(source: str, datasets: Any) -> Any:
    try:
        return datasets.load_dataset(source, split="train")
    except Exception as error:
        todo = "Give a folder of `synth run` or `synth export`, a .jsonl or .parquet file, or a dataset name."
        raise WrongUse(f"--data {source}", f"nothing to read ({type(error).__name__}: {error})", "rows", todo) from error


def with_columns(source: str | Path, wanted: tuple[str, ...]) -> Any:
    """The rows of a source, once it has the wanted columns; others stay.

    Raises:
        WrongUse: a column is missing.
    """
    found = load(source)
    columns(found, wanted, source)
    return found


def columns(rows: Any, wanted: tuple[str, ...], source: str | Path) -> Any:
    """The rows with only the wanted columns.

    Raises:
        WrongUse: a column is missing.
    """
    missing = [name for name in wanted if name not in rows.column_names]
    if missing:
        todo = "Write them with `synth export DIR --to sft` (or preference)."
        raise WrongUse(f"--data {source}", f"columns {', '.join(rows.column_names)}", f"columns {', '.join(wanted)}", todo)
    return rows.select_columns(list(wanted))


def sft_rows(source: str | Path) -> Any:
    """`prompt` and `completion`, or `messages`, or `text`: what SFTTrainer reads."""
    rows = load(source)
    for shape in (("prompt", "completion"), ("messages",), ("text",)):
        if set(shape) <= set(rows.column_names):
            return rows.select_columns(list(shape))
    return columns(rows, ("prompt", "completion"), source)


def taint(source: str | Path) -> list[str]:
    """What the teachers of these rows may have been trained on, as the rows say; [] where they say nothing."""
    found = load(source)
    if "meta" not in found.column_names:
        return []
    return sorted({name for meta in found["meta"] for name in ((meta or {}).get("taint") or ())})


def weighting(source: str | Path) -> dict[str, list[Any]] | None:
    """`weight`, `task` and `id` of each row, where a file has a weight or a task; None where all rows count alike.

    Raises:
        WrongUse: a weight that is no number.
    """
    rows = load(source)
    if is_run(source) or not {"weight", "task"} & set(rows.column_names):
        return None
    count = len(rows)
    weights = [1.0] * count if "weight" not in rows.column_names else list(rows["weight"])
    wrong = next(
        (n for n, weight in enumerate(weights) if isinstance(weight, bool) or not isinstance(weight, int | float) or isnan(weight)), None
    )
    if wrong is not None:
        raise WrongUse(f"--data {source} row {wrong + 1}", f"weight = {weights[wrong]!r}", "a number", "Correct the row.")
    tasks = ["" if name is None else str(name) for name in rows["task"]] if "task" in rows.column_names else [""] * count
    ids = [str(value) for value in rows["id"]] if "id" in rows.column_names else [str(n) for n in range(count)]
    return {"weights": weights, "tasks": tasks, "ids": ids}


def labelled_rows(source: str | Path) -> Any:
    """`prompt`, `completion`, `label`: what KTOTrainer reads."""
    return columns(load(source), ("prompt", "completion", "label"), source)


def preference_rows(source: str | Path, also: tuple[str, ...] = ()) -> Any:
    """`prompt`, `chosen`, `rejected` (and other columns where they are there): as they stand, or paired from a run's rows."""
    if not is_run(source):
        found = load(source)
        more = tuple(name for name in also if name in found.column_names)
        return columns(found, ("prompt", "chosen", "rejected", *more), source)
    import datasets  # noqa: PLC0415

    pairs = list(make_pairs(load(source), _rows_or_none(source)))
    if not pairs:
        todo = "Run with more --draws, so that one seed has right and wrong ones."
        raise WrongUse(f"--data {source}", "no seed with a kept and a wrong draw", "at least one pair", todo)
    return datasets.Dataset.from_list(pairs).select_columns(["prompt", "chosen", "rejected"])


def _rows_or_none(source: str | Path) -> Iterable[dict[str, Any]]:
    try:
        found: Iterator[dict[str, Any]] = iter(load(source, "dropped"))
    except WrongUse:
        return []
    return found


def texts(rows: Any) -> list[str]:
    """All text of training rows, for building a tokenizer."""
    return [_plain(value) for row in rows for value in row.values()]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(str(m.get("content", "")) for m in value)
