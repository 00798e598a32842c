"""Documents as paragraphs with the headings above them, in a process that its caller ends.

`python -m synth.inputs.made.document_text SECONDS` answers one line with one line, as
`synth.processes.worker` asks: {"path": ..., "encoding": ...} with {"parts": [[level, text], ...],
"taken": ...}, where level is 0 for a paragraph and 1 to 10 for a heading and `taken` the encoding
that was taken by the bytes alone, or with {"error": ...}. A document may come from a
stranger: its size, what it unpacks to, its pages, the time and the memory are bounded.
"""

from __future__ import annotations

import re
import resource
import signal
import sys
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from synth.core.optional import optional
from synth.inputs.made.encodings import Decoder, Unusable
from synth.processes import worker

MOST_BYTES = 64 * 1024 * 1024
# What the parts of a .docx may unpack to, and how often smaller they may be packed.
MOST_UNPACKED = 128 * 1024 * 1024
MOST_RATIO = 200
MOST_PARTS = 2000
# Characters of text; pages of a PDF.
MOST_TEXT = 8_000_000
MOST_PAGES = 5000
MOST_MEMORY = 2 * 1024 * 1024 * 1024
Part = tuple[int, str]
_MARKDOWN_HEADING = re.compile(r"(#{1,6})[ \t]+(.{1,500}?)[ \t#]*$")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")
_BLANK = re.compile(r"\n[ \t]*\n")
# Elements of HTML whose text nobody reads, and those that end a paragraph.
_UNSEEN = frozenset(
    {"script", "style", "template", "noscript", "svg", "head", "nav", "iframe"}
)
_BREAKS = frozenset(
    {
        "p",
        "div",
        "li",
        "tr",
        "br",
        "section",
        "article",
        "table",
        "ul",
        "ol",
        "pre",
        "blockquote",
        "td",
        "th",
        "dt",
        "dd",
    }
)
_HEADING = re.compile(r"h([1-6])")
# `<meta charset="koi8-r">`, `<?xml version="1.0" encoding="euc-jp"?>`
_CHARSET = re.compile(
    rb"(?:charset|encoding)\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})"
)
_LATIN = frozenset({"iso-8859-1", "latin1", "latin-1", "us-ascii", "ascii"})


def parts_of(path: Path, decoder: Decoder | None = None) -> list[Part]:
    """The headings and paragraphs of a document, in their order.

    Args:
        path: of the document.
        decoder: reads its bytes, where they are a text.

    Raises:
        Unusable: it is too large, broken, or of a kind that nobody reads.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise Unusable(f"{size:,} bytes; at most {MOST_BYTES:,}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise Unusable(f"no reader for {path.suffix or 'no ending'}")
    parts: list[Part] = []
    chars = 0
    for level, text in reader(path, decoder or Decoder()):
        joined = " ".join(text.split()) if level else text.strip()
        if not joined:
            continue
        chars += len(joined)
        if chars > MOST_TEXT:
            raise Unusable(f"more than {MOST_TEXT:,} characters of text")
        parts.append((level, joined))
    return parts


def _named_in(raw: bytes) -> str:
    """The encoding that a page says it has; "" where it says none, or Latin-1, which stands for
    Windows-1252 on the web.
    """
    said = _CHARSET.search(raw[:1024])
    name = said[1].decode().lower() if said else ""
    return "" if name in _LATIN else name


def _text(path: Path, decoder: Decoder) -> Iterator[Part]:
    """Paragraphs between blank lines."""
    for paragraph in _BLANK.split(decoder.text(path.read_bytes())):
        yield 0, paragraph


def _markdown(path: Path, decoder: Decoder) -> Iterator[Part]:
    """Paragraphs and headings with `#`; code in fences is one paragraph."""
    lines: list[str] = []
    fence = ""
    for line in decoder.text(path.read_bytes()).splitlines():
        opened = _FENCE.match(line)
        heading = None if fence else _MARKDOWN_HEADING.match(line)
        if opened:
            fence = "" if fence == opened[1] else fence or opened[1]
        if heading or not (line.strip() or fence):
            yield 0, "\n".join(lines)
            lines = []
        if heading:
            yield len(heading[1]), heading[2]
        else:
            lines.append(line)
    yield 0, "\n".join(lines)


class _Page(HTMLParser):
    """Gathers what a reader of a page sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []
        self.words: list[str] = []
        self.level = 0
        self.unseen: list[str] = []

    def flush(self, level: int = 0) -> None:
        """Ends a paragraph or a heading."""
        text = " ".join("".join(self.words).split())
        if text:
            self.parts.append((self.level, text))
        self.words = []
        self.level = level

    def handle_starttag(
        self,
        tag: str,
        attrs: list[tuple[str, str | None]],  # noqa: ARG002
    ) -> None:
        """The beginning of an element."""
        heading = _HEADING.fullmatch(tag)
        if tag in _UNSEEN:
            self.unseen.append(tag)
        elif heading:
            self.flush(int(heading[1]))
        elif tag in _BREAKS:
            self.flush(self.level)

    def handle_endtag(self, tag: str) -> None:
        """The end of an element."""
        if tag in self.unseen:
            while self.unseen.pop() != tag:
                pass
        elif _HEADING.fullmatch(tag):
            self.flush()
        elif tag in _BREAKS:
            self.flush(self.level)

    def handle_data(self, data: str) -> None:
        """Text."""
        if not self.unseen:
            self.words.append(data)


def _html(path: Path, decoder: Decoder) -> Iterator[Part]:
    """What stands on a page, without scripts and menus."""
    page = _Page()
    raw = path.read_bytes()
    page.feed(decoder.text(raw, _named_in(raw)))
    page.close()
    page.flush()
    yield from page.parts


def _docx(path: Path, _: Decoder) -> Iterator[Part]:
    """Paragraphs and headings of a Word document, its title above all; a row of a table is a
    paragraph.
    """
    _check_packed(path)
    docx = optional("docx", "documents", "synth seeds --documents")
    for block in docx.Document(str(path)).iter_inner_content():
        if hasattr(block, "rows"):
            for row in block.rows:
                yield 0, _row(row)
            continue
        style = str(block.style.name or "") if block.style else ""
        level = re.fullmatch(r"Heading ([1-9])", style)
        yield int(level[1]) + 1 if level else int(style == "Title"), block.text


def _row(row: Any) -> str:
    """The cells of a table's row, each once, with what stands in tables inside them."""
    # A cell that spans several columns stands in each of them.
    cells = {cell._tc: cell for cell in row.cells}  # noqa: SLF001 - what makes it the same
    return " | ".join(map(_cell, cells.values()))


def _cell(cell: Any) -> str:
    """The lines of a cell."""
    lines: list[str] = []
    for block in cell.iter_inner_content():
        if hasattr(block, "rows"):
            lines.extend(map(_row, block.rows))
        else:
            lines.append(block.text)
    return "\n".join(lines)


def _check_packed(path: Path) -> None:
    """Raises Unusable where an archive unpacks to more than it may."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        size = sum(part.file_size for part in parts)
        packed = sum(part.compress_size for part in parts)
    if len(parts) > MOST_PARTS or size > MOST_UNPACKED:
        raise Unusable(f"{len(parts):,} parts that unpack to {size:,} bytes")
    if size > MOST_RATIO * max(1, packed):
        raise Unusable(f"{packed:,} bytes that unpack to {size:,}")


def _pdf(path: Path, _: Decoder) -> Iterator[Part]:
    """Paragraphs of a PDF, page by page; its headings are not marked."""
    pypdf = optional("pypdf", "documents", "synth seeds --documents")
    reader = pypdf.PdfReader(str(path))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unusable("a PDF that needs a password")
    if len(reader.pages) > MOST_PAGES:
        raise Unusable(f"{len(reader.pages):,} pages; at most {MOST_PAGES:,}")
    for page in reader.pages:
        for paragraph in _BLANK.split(page.extract_text() or ""):
            yield 0, paragraph


READERS: dict[str, Callable[[Path, Decoder], Iterator[Part]]] = {
    ".docx": _docx,
    ".htm": _html,
    ".html": _html,
    ".markdown": _markdown,
    ".md": _markdown,
    ".pdf": _pdf,
    ".text": _text,
    ".txt": _text,
}


class Reader:
    """Answers within `seconds`, or is ended by the alarm."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def answer(self, message: dict[str, str]) -> dict[str, Any]:
        """{"parts", "taken"}, or {"error"}."""
        decoder = Decoder(message.get("encoding", ""))
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            return {
                "parts": parts_of(Path(message["path"]), decoder),
                "taken": decoder.taken,
            }
        except Unusable as error:
            return {"error": str(error)}
        except (Exception, RecursionError) as error:  # noqa: BLE001 - any reader may fail so
            return {"error": f"{type(error).__name__}: {error}"[:200]}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    worker.serve(Reader(float(sys.argv[1])).answer)
