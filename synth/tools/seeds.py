"""Rows from nothing, from documents and from logs: what `synth seeds` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pydantic

from synth.core.errors import WrongUse, did_you_mean
from synth.core.optional import optional
from synth.core.records import Fields
from synth.core.strict_yaml import read_yaml
from synth.inputs.hub import settle_hub
from synth.inputs.made.documents import document_rows
from synth.inputs.made.encodings import check_encoding
from synth.inputs.made.sampling import made_rows
from synth.inputs.made.spec import ColumnSpec, SeedsSpec
from synth.inputs.seeds import read_rows
from synth.packs.spelling import spelt
from synth.text.words import count as words_in
from synth.tools.wordnet import Synset, read_synsets

# Where nltk keeps WordNet, below its data.
_NLTK = "corpora/wordnet"
_NLTK_FOLDERS = ("nltk_data", ".nltk_data")


def from_recipe(path: Path, rows: int | None) -> Iterator[Fields]:
    """The rows of a file of `synth seeds`.

    Raises:
        WrongUse: a mistake in the file, with its line, or texts that are not there.
    """
    raw, lines = read_yaml(path)
    try:
        spec = SeedsSpec.model_validate(raw)
    except pydantic.ValidationError as error:
        raise spelt(error, SeedsSpec, path, lines) from error
    sources = {"rows": texts_of_rows, "topics": topics}
    return made_rows(spec, rows, sources)


def texts_of_rows(column: ColumnSpec) -> list[str]:
    """The texts of a dataset's column, each once.

    Raises:
        WrongUse: no such file or column.
    """
    assert column.rows is not None  # noqa: S101 - its kind
    name = column.rows.column
    texts: dict[str, None] = {}
    for number, row in enumerate(read_rows(column.rows.file), 1):
        if name not in row:
            raise WrongUse(
                f"{column.rows.file} row {number}",
                f"columns {', '.join(map(str, row))}"[:200],
                f"column {name}",
                did_you_mean(name, map(str, row)),
            )
        texts[str(row[name])] = None
    return list(texts)


def topics(column: ColumnSpec) -> list[str]:
    """The nouns of WordNet below one, in their order in the file.

    Raises:
        WrongUse: no WordNet on this machine, or no such noun in it.
    """
    assert column.topics is not None  # noqa: S101 - its kind
    given = column.topics.wordnet
    folder = Path(given) if given else _nltk_wordnet()
    synsets = read_synsets(folder / "data.noun")
    wanted = column.topics.below
    tops = {place for place, one in synsets.items() if wanted in one.words}
    below = [
        one.words[0]
        for place, one in synsets.items()
        if place not in tops and _is_below(place, tops, synsets)
    ]
    if not below:
        raise WrongUse(
            f"topics.below: {wanted}",
            "a noun that WordNet lacks, or one without kinds",
            "a noun with kinds of it",
            "Spell it as WordNet does, such as `animal`.",
        )
    return list(dict.fromkeys(below))


def _is_below(
    place: str,
    tops: set[str],
    synsets: dict[str, Synset],
) -> bool:
    """Whether a synset is a kind of one of the tops, over any number of levels."""
    seen: set[str] = set()
    waiting = [place]
    while waiting:
        one = waiting.pop()
        if one in tops:
            return True
        if one in seen or one not in synsets:
            continue
        seen.add(one)
        waiting.extend(synsets[one].parents)
    return False


def _nltk_wordnet() -> Path:
    """WordNet in nltk's data, where it lies in the user's own folder."""
    for name in _NLTK_FOLDERS:
        folder = Path.home() / name / _NLTK
        if (folder / "data.noun").is_file():
            return folder
    raise WrongUse(
        "topics",
        "no WordNet in ~/nltk_data",
        "a folder with data.noun",
        "Say `wordnet: FOLDER`; Debian's wordnet-base puts it into /usr/share/wordnet.",
    )


def counter(tokenizer: str | None) -> Callable[[str], int]:
    """What counts the length of a text: words, or the tokens of a tokenizer that transformers
    opens.
    """
    if tokenizer is None:
        return words_in
    transformers = optional("transformers", "finetune", "--tokenizer")
    settle_hub(tokenizer)
    opened = transformers.AutoTokenizer.from_pretrained(tokenizer)

    def count(text: str) -> int:
        return len(opened(text, add_special_tokens=False)["input_ids"])

    return count


def from_documents(
    folder: Path,
    *,
    most: int,
    tokenizer: str | None,
    passed: dict[str, str],
    encoding: str | None,
    taken: dict[str, str],
) -> Iterator[Fields]:
    """The pieces of a folder's documents.

    Raises:
        WrongUse: see `document_rows`; no such encoding.
    """
    told = check_encoding(encoding, "--encoding")
    count = counter(tokenizer)
    return document_rows(
        folder,
        words=most,
        count=count,
        passed=passed,
        encoding=told,
        taken=taken,
    )
