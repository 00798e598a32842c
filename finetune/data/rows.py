"""Rows on disk -> the columns that a trainer reads. A run folder, an exported folder or file, or a
dataset name.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from finetune.core.rows import JsonObject, RowFacts
from finetune.data import shapes
from finetune.data.each_row import each_row
from finetune.data.odd_cells import as_said, first_misfit, told
from finetune.data.prompts import Prompt, text_of
from finetune.data.row_numbers import LARGEST, beyond, is_usable
from synth.cli.command_group import say
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.inputs.files import is_remote, shown
from synth.inputs.hub import settle_hub
from synth.inputs.names import is_a_path, near
from synth.inputs.readers import rows_of
from synth.runs.folder import load_parquet
from synth.runs.pairing import make_pairs, why_no_pair
from synth.runs.shard_plan import check_joined

if TYPE_CHECKING:
    from types import ModuleType

    from datasets import Dataset

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The columns that exports write, of which commands want some.
_EXPORTS = {
    "sft": {"prompt", "completion"},
    "preference": {"prompt", "chosen", "rejected"},
    "labelled": {"prompt", "completion", "label", "weight"},
    "multitask": {"prompt", "completion", "task"},
    "faded": {"context", "prompt", "completion"},
    "triplets": {"anchor", "positive", "negatives"},
    "ranked": {"query", "documents", "scores"},
    "margins": {"anchor", "positive", "negative", "label"},
}
_BUILDERS = {
    ".jsonl": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "csv",
}


def is_run(path: str | Path) -> bool:
    """Whether a path is a folder that `synth run` wrote."""
    return (Path(path) / "run.json").is_file()


def there(source: str | Path, option: str = "--input") -> str:
    """The source, with `~` written out. What can only be a path and is none is refused before
    anything is loaded or a hub is asked.

    Args:
        source: as `load` takes it.
        option: that names it.

    Raises:
        WrongUse: nothing stands there, or a URL.
    """
    # Those of os.path answer for every text: also for names too long and folders out of reach.
    name = os.path.expanduser(source)  # noqa: PTH111
    folder, base = os.path.split(name)
    ending = os.path.splitext(base)[1]  # noqa: PTH122
    # A name of a hub may end like a file.
    is_file_here = ending in _BUILDERS and os.path.isdir(folder or ".")  # noqa: PTH112
    if os.path.exists(name) or not (is_a_path(name) or is_file_here):  # noqa: PTH110
        return name
    fault = "no such file or folder"
    if is_remote(name):
        fault = "a URL of a store"
    elif os.path.islink(name):  # noqa: PTH114
        fault = "a link that leads nowhere"
    raise WrongUse(
        f"{option} {shown(name)}",
        fault,
        "a folder of `synth run` or `synth export`, a file of rows, or a dataset name",
        near(name),
    )


def load(source: str | Path, part: str = "data") -> Dataset:
    """A `datasets.Dataset` of a run folder's part, a file, a folder of files, or a dataset of the
    hub.

    Raises:
        WrongUse: nothing readable there, or no rows.
    """
    source = there(source)
    import datasets  # noqa: PLC0415 - a second of imports

    path = Path(source)
    check_joined(path)
    if is_run(path):
        dataset = load_parquet(path / part)
    elif path.is_file() and path.suffix in _BUILDERS:
        dataset = _file(path, datasets)
    else:
        dataset = _named(source, datasets)
    if len(dataset) == 0:
        raise _no_rows(source)
    return dataset


def _no_rows(source: str | Path) -> WrongUse:
    return WrongUse(
        str(source),
        "no rows",
        "at least one row",
        "Look at the run's tally for why rows were dropped.",
    )


def _file(path: Path, datasets: ModuleType) -> Dataset:
    try:
        found = datasets.load_dataset(
            _BUILDERS[path.suffix], data_files=str(path), split="train"
        )
        return _true_cells(found, path, datasets)
    except Exception as error:
        _raise_fault_of_machine(error)
        # What the library says of a file that holds nothing, or a header alone.
        if "corresponds to no data" in str(error) or _is_blank(path):
            raise _no_rows(path) from error
        todo = "Give every row the same columns, each of one kind."
        fault = (
            told(rows_of(str(path)))
            or f"rows that do not fit together ({type(error).__name__}: {str(error)[:200]})"
        )
        raise WrongUse(
            f"--input {path}", fault, "rows of one shape", todo
        ) from error


def _raise_fault_of_machine(error: Exception) -> None:
    """Raises what the system said where the library's copy of the rows found no room."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
        raise cause


def _is_blank(path: Path) -> bool:
    """Whether a file holds nothing but white space."""
    with path.open("rb") as file:
        return not any(map(bytes.strip, file))


def _true_cells(dataset: Dataset, path: Path, datasets: ModuleType) -> Dataset:
    """The rows with mixed columns as their file says them: the library reads a text such as "12"
    in such a column as what it says in JSON.
    """
    mixed = [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, datasets.Json)
    ]
    if not mixed:
        return dataset
    order = dataset.column_names
    said = as_said(rows_of(str(path)), mixed)
    for name, cells in said.items():
        written = [None if cell is None else json.dumps(cell) for cell in cells]
        dataset = dataset.remove_columns(name).add_column(
            name,
            written,
            feature=datasets.Json(),
        )
    return dataset.select_columns(order)


def _named(source: str, datasets: ModuleType) -> Dataset:
    try:
        settle_hub(str(source))
        return datasets.load_dataset(source, split="train")
    except Exception as error:
        todo = (
            "Give a folder of `synth run` or `synth export`, a .jsonl or .parquet file, or a "
            "dataset name."
        )
        raise WrongUse(
            f"--input {source}",
            f"nothing to read ({type(error).__name__}: {error})",
            "rows",
            todo,
        ) from error


def with_columns(source: str | Path, wanted: tuple[str, ...]) -> Dataset:
    """The rows of a source, once it has the wanted columns; others stay.

    Raises:
        WrongUse: a column is missing.
    """
    dataset = load(source)
    columns(dataset, wanted, source)
    return dataset


def columns(
    rows: Dataset,
    wanted: tuple[str, ...],
    source: str | Path,
    also: tuple[str, ...] = (),
) -> Any:
    """The rows with only the wanted columns, and of the others that they `also` may have.

    Raises:
        WrongUse: a column is missing.
    """
    missing = [name for name in wanted if name not in rows.column_names]
    if missing:
        raise WrongUse(
            f"--input {source}",
            f"columns {', '.join(rows.column_names)}",
            f"columns {', '.join(wanted)}",
            _written_by(wanted),
        )
    return rows.select_columns(
        [*wanted, *(name for name in also if name in rows.column_names)]
    )


def _written_by(wanted: Sequence[str]) -> str:
    """What to do where columns are missing: the export that writes them, where there is one."""
    for name, written in _EXPORTS.items():
        if set(wanted) <= written:
            return f"Write them with `synth export DIR --to {name}`, or name yours so."
    return "Name your columns so, or write the missing ones."


def sft_rows(source: str | Path, *, counted: bool = False) -> Dataset:
    """`prompt` and `completion`, or `messages`, or `text`, and `tools` where there are some: see
    `shapes.sft`.

    Args:
        source: as `load` takes it.
        counted: whether what has nothing said was told of these rows before.

    Raises:
        WrongUse: none of these columns, or a cell that cannot be read, with its row.
    """
    dataset = load(source)
    shape = next(
        (
            names
            for names in shapes.SFT
            if set(names) <= set(dataset.column_names)
        ),
        shapes.SFT[0],
    )
    return _shaped(
        columns(dataset, shape, source, also=("tools",)),
        source,
        shapes.sft,
        counted=counted,
    )


def _shaped(
    dataset: Dataset,
    source: str | Path,
    shape: Callable[[Iterable[JsonObject], str], list[JsonObject]],
    *,
    counted: bool = False,
) -> Dataset:
    import datasets  # noqa: PLC0415

    made = shape((dict(row) for row in dataset), str(source))
    if not counted:
        tell_nothing_said(made, source)
    return datasets.Dataset.from_list(made)


def tell_nothing_said(
    made: Sequence[Row], source: str | Path, unit: str = "row"
) -> None:
    """Counts rows that have a student say nothing: it learns from them to end at once.

    Args:
        made: rows as `shapes` gives them, in the order of the source.
        source: of them, for messages.
        unit: what they are: rows of the source, or pairs that are left of them.

    Raises:
        WrongUse: no row says anything.
    """
    found = shapes.nothing_said(made)
    if not found:
        return
    number, name = found[0]
    count = len({place for place, _ in found})
    if count == len(made):
        raise WrongUse(
            f"--input {source} {unit} {number} {name}",
            f"nothing said, as in every {unit}",
            f"a {unit} with a text to learn",
            "Look at what wrote the column.",
        )
    say(
        f"{source}: in {count:,} of {len(made):,} {unit}s nothing is said (the first: {unit} "
        f"{number} {name}); a student learns from these to end at once",
        err=True,
    )


def teachers(source: str | Path) -> list[str]:
    """Who teaches each row, as a column `teacher` of a file says; [] where none does.

    Raises:
        WrongUse: a cell without a name.
    """
    if is_run(source):
        return []
    dataset = load(source)
    if "teacher" not in dataset.column_names:
        return []

    def read(number: int, name: object) -> str:
        if isinstance(name, str) and name:
            return name
        raise WrongUse(
            f"--input {source} row {number}",
            f"teacher = {name!r}",
            "the name of a model",
            "Correct the row.",
        )

    return each_row(dataset["teacher"], read)


def taint(source: str | Path) -> list[str]:
    """What the teachers of these rows may have been trained on, as the rows say; [] where they say
    nothing.
    """
    dataset = load(source)
    if "meta" not in dataset.column_names:
        return []
    return sorted({name for meta in dataset["meta"] for name in _names(meta)})


def _names(meta: object) -> list[str]:
    """Data sets that a row's `meta` names; none where the column is somebody else's."""
    given = meta.get("taint") if isinstance(meta, Mapping) else None
    if isinstance(given, str):
        return [given]
    return [str(name) for name in given] if isinstance(given, list) else []


def weighting(source: str | Path) -> RowFacts | None:
    """`weight`, `task` and `id` of each row, where a file has a weight or a task; None where all
    rows count alike.

    Raises:
        WrongUse: a weight that is no number, or so large that no loss could be told.
    """
    rows = load(source)
    if is_run(source) or not {"weight", "task"} & set(rows.column_names):
        return None
    count = len(rows)
    weights = [1.0] * count
    if "weight" in rows.column_names:
        weights = numbers(rows["weight"], "weight", source)
    tasks = [""] * count
    if "task" in rows.column_names:
        tasks = ["" if name is None else str(name) for name in rows["task"]]
    ids = [str(position) for position in range(count)]
    if "id" in rows.column_names:
        ids = [str(value) for value in rows["id"]]
    return {"weights": weights, "tasks": tasks, "ids": ids}


def numbers(
    values: Sequence[object], name: str, source: str | Path
) -> list[float]:
    """The cells of a column.

    Raises:
        WrongUse: one that is no number, or too large, with its row.
    """
    place = first_misfit(values, is_usable)
    if place is not None:
        count = sum(not is_usable(value) for value in values)
        more = f", one of {count:,} such cells" if count > 1 else ""
        raise WrongUse(
            f"--input {source} row {place + 1}",
            f"{name} = {values[place]!r:.80}{more}",
            f"a number, at most {LARGEST:g} on both sides of 0",
            beyond(values[place]),
        )
    return [float(cast("float", value)) for value in values]


def labelled_rows(source: str | Path) -> Dataset:
    """`prompt`, `completion`, `label` (also as words): what KTOTrainer reads; see
    `shapes.labelled`.
    """
    dataset = columns(
        load(source), ("prompt", "completion", "label"), source, also=("tools",)
    )
    return _shaped(dataset, source, shapes.labelled)


def preference_rows(source: str | Path, also: tuple[str, ...] = ()) -> Any:
    """`prompt`, `chosen`, `rejected` (and other columns where they are there) of a file, or paired
    from a run's rows.

    A file may have messages, and prompts that stand in both sides alone: see `shapes.preferences`.
    """
    import datasets  # noqa: PLC0415

    if not is_run(source):
        dataset = columns(
            load(source),
            ("chosen", "rejected"),
            source,
            also=("prompt", "tools", *also),
        )
        made, same = shapes.preferences(
            (dict(row) for row in dataset), str(source), also
        )
        if same:
            say(
                f"{same:,} of {len(dataset):,} pairs hold the same text twice and are left out",
                err=True,
            )
        tell_nothing_said(made, source, "pair" if same else "row")
        return datasets.Dataset.from_list(made)
    pairs = list(make_pairs(load(source), _rows_or_none(source)))
    if not pairs:
        found, todo = why_no_pair(_rows_or_none(source))
        raise WrongUse(f"--input {source}", found, "at least one pair", todo)
    tell_nothing_said(pairs, source, "pair")
    return datasets.Dataset.from_list(pairs).select_columns(
        ["prompt", "chosen", "rejected"]
    )


def _rows_or_none(source: str | Path) -> Iterable[JsonObject]:
    try:
        dropped: Iterator[JsonObject] = iter(load(source, "dropped"))
    except WrongUse:
        return []
    return dropped


def texts(rows: Iterable[Row]) -> list[str]:
    """All text of training rows, for building a tokenizer."""
    return [
        _plain(value)
        for row in rows
        for value in row.values()
        if isinstance(value, str | list)
    ]


def _plain(value: Prompt) -> str:
    return value if isinstance(value, str) else text_of(value)
