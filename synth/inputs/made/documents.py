"""Documents of a folder as rows: pieces of bounded length under their headings."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from synth.core.errors import WrongUse, printable
from synth.core.records import Fields
from synth.inputs.made.document_text import READERS, Part
from synth.processes.worker import Worker
from synth.text.words import count as words_in
from synth.text.words import parted

# Seconds for one document, and files of one folder.
SECONDS = 60.0
MOST_FILES = 100_000
# Tokens, or words, of a text.
Count = Callable[[str], int]


class Found(NamedTuple):
    """The documents of a folder, and what is passed over.

    Attributes:
        paths: names within the folder, in their order.
        passed: name -> why it is no document.
    """

    paths: list[str]
    passed: dict[str, str]


def find(folder: Path) -> Found:
    """The files below a folder; hidden ones are none. A link is passed over, since it may lead out
    of the folder, and so is what is no regular file.

    Raises:
        WrongUse: no such folder, none in it that can be read, or too many files.
    """
    paths: list[str] = []
    passed: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted([*files, *folders]):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if name[0] == "." or stat.S_ISDIR(mode):
                continue
            spot = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(mode):
                passed[spot] = "a link or no regular file"
            elif path.suffix.lower() not in READERS:
                passed[spot] = f"no reader for {path.suffix or 'no ending'}"
            else:
                paths.append(spot)
        if len(paths) + len(passed) > MOST_FILES:
            raise _none(folder, f"more than {MOST_FILES:,} files")
    if not paths:
        raise _none(folder, "no document")
    return Found(sorted(paths), passed)


def _none(folder: Path, got: str) -> WrongUse:
    return WrongUse(
        f"--documents {folder}",
        got,
        f"a folder of documents: {', '.join(sorted(READERS))}",
        "Check the path.",
    )


def document_rows(
    folder: Path,
    *,
    words: int = 300,
    count: Count = words_in,
    passed: dict[str, str] | None = None,
    encoding: str = "",
    taken: dict[str, str] | None = None,
    seconds: float = SECONDS,
) -> Iterator[Fields]:
    """One row a piece: `id`, `text`, `headings` from the top down, `document` and `chunk`.

    `chunk` is the document's name, `#`, and 12 digits of a hash over the piece and its headings, so
    that it stays where other pieces change. Equal pieces of a document are one row.

    Args:
        folder: where the documents lie. A byte of a name that is no UTF-8 stands as U+FFFD.
        words: of a piece at most, as `count` counts them; a longer paragraph is cut between words.
        count: how long a text is.
        passed: gets name -> why for every file that is passed over.
        encoding: of texts that are neither Unicode nor say what they are in.
        taken: gets name -> encoding for every file whose bytes alone say it.
        seconds: for one document.

    Raises:
        WrongUse: no such folder, or no document in it.
    """
    found = find(folder)
    left_out = passed if passed is not None else {}
    left_out.update(found.passed)
    worker = Worker(
        "-m",
        "synth.inputs.made.document_text",
        str(seconds),
        seconds=seconds + 1,
    )
    try:
        for name in found.paths:
            answer = worker.ask(
                {"path": str(folder / name), "encoding": encoding}
            )
            if answer is None:
                answer = {
                    "error": f"it takes more than {seconds:g} s or memory"
                }
            if "error" in answer:
                left_out[name] = printable(str(answer["error"]))
                continue
            parts = [(int(level), str(text)) for level, text in answer["parts"]]
            shown = os.fsencode(name).decode("utf-8", "replace")
            if taken is not None and answer["taken"]:
                taken[name] = answer["taken"]
            rows = list(_rows(shown, parts, words, count))
            if not rows:
                left_out[name] = "no text in it"
            yield from rows
    finally:
        worker.close()


def _rows(
    name: str,
    parts: list[Part],
    words: int,
    count: Count,
) -> Iterator[Fields]:
    """The rows of one document."""
    seen: set[str] = set()
    for headings, text in pieces(parts, words, count):
        digest = hashlib.sha256(
            "\n".join([*headings, text]).encode()
        ).hexdigest()
        chunk = f"{name}#{digest[:12]}"
        if chunk in seen:
            continue
        seen.add(chunk)
        yield {
            "id": chunk,
            "text": text,
            "headings": headings,
            "document": name,
            "chunk": chunk,
            "made": {"by": "documents", "place": len(seen) - 1, "most": words},
        }


def pieces(
    parts: list[Part],
    most: int,
    count: Count,
) -> Iterator[tuple[list[str], str]]:
    r"""(headings, text) of each piece: paragraphs under the same headings, as many as fit.

    >>> parts = [(1, "Tea"), (0, "Boil water."), (2, "Green"), (0, "Wait a bit."), (0, "Pour.")]
    >>> list(pieces(parts, 4, lambda text: len(text.split())))
    [(['Tea'], 'Boil water.'), (['Tea', 'Green'], 'Wait a bit.\n\nPour.')]
    """
    headings: list[tuple[int, str]] = []
    gathered: list[str] = []
    length = 0

    def ended() -> Iterator[tuple[list[str], str]]:
        if gathered:
            yield [text for _, text in headings], "\n\n".join(gathered)

    for level, text in parts:
        if level:
            yield from ended()
            gathered = []
            length = 0
            headings = [one for one in headings if one[0] < level]
            headings.append((level, text))
            continue
        for paragraph in cut(text, most, count):
            size = count(paragraph)
            if gathered and length + size > most:
                yield from ended()
                gathered = []
                length = 0
            gathered.append(paragraph)
            length += size
    yield from ended()


def cut(
    text: str,
    most: int,
    count: Count,
) -> Iterator[str]:
    r"""A paragraph in parts of bounded length: as many words as fit, with what stands between them,
    or characters where no spaces part words. A word that is longer is a part.

    >>> list(cut("One two\nthree", 2, words_in)), list(cut("東京都庁", 2, words_in))
    (['One two', 'three'], ['東京都', '庁'])
    """
    if count(text) <= most:
        yield text
        return
    pieces = parted(text)
    ends = len(pieces) // 2
    start = 0
    while start < ends:
        end = _reach(pieces, start, most, count)
        yield _between(pieces, start, end)
        start = end


def _reach(
    pieces: list[str],
    start: int,
    most: int,
    count: Count,
) -> int:
    """Where the longest part ends that begins at a piece: the number of the piece behind it.

    A longer part never counts less, so twice as many pieces are tried until they are too many, and
    then the halves between.
    """
    ends = len(pieces) // 2
    fits = start + 1
    step = 1
    while fits + step <= ends:
        if count(_between(pieces, start, fits + step)) > most:
            break
        fits += step
        step *= 2
    while step > 1:
        step //= 2
        if fits + step > ends:
            continue
        if count(_between(pieces, start, fits + step)) <= most:
            fits += step
    return fits


def _between(pieces: list[str], start: int, end: int) -> str:
    """Pieces of `parted` with what stands between them."""
    return "".join(pieces[2 * start + 1 : 2 * end])
