"""Where the servers of one model are: what `--endpoints` names, or a file or folder of its."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from synth.core.errors import WrongUse
from synth.teachers.wire.access import check_url

OPTION = "--endpoints"
_COMMENT = re.compile(r"(^|\s)#.*")
# Characters of the longest URL, and of a longer text that are shown.
_LONGEST, _SHOWN = 2000, 80
_HOST = re.compile(r"[\w.\-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


def read_endpoints(
    given: str, pass_over: Callable[[str], None] | None = None
) -> list[str]:
    """URLs in order, each once: of `URL,URL`, of a file's lines, or of the files in a folder.

    A line holds URLs with commas between them; one may be `host:port`, which stands for
    `http://host:port/v1`. Empty lines count nothing, nor does what follows a # that begins a line
    or stands behind a blank.

    Args:
        given: what `--endpoints` says.
        pass_over: is told of what is no URL in a file or folder; None to say nothing.

    Raises:
        WrongUse: what is no URL, or holds a password, in the option itself, or in a file or folder
            that holds nothing else.
    """
    urls: dict[str, None] = {}
    faults = []
    for text in _texts_of(given):
        try:
            urls[_url(text)] = None
        except WrongUse as error:
            faults.append(error)
    if faults and (is_named(given) or not urls):
        raise faults[0]
    for fault in faults:
        if pass_over is not None:
            pass_over(f"passed over: {fault}")
    return list(urls)


def is_named(given: str) -> bool:
    """Whether the servers stand in the option itself, in no file or folder."""
    return "://" in given or not Path(given).exists()


def _texts_of(given: str) -> Iterator[str]:
    """What should be URLs."""
    lines = [given]
    if not is_named(given):
        lines = [line for file in _files(Path(given)) for line in _read(file)]
    for line in lines:
        for text in _COMMENT.sub("", line).split(","):
            if text.strip():
                yield text.strip()


def _files(path: Path) -> list[Path]:
    """The lists in a folder, or the one that is named."""
    if path.is_file():
        return [path]
    try:
        inside = sorted(path.iterdir())
    except OSError:
        inside = []
    return [p for p in inside if p.is_file() and not p.name.startswith(".")]


def _read(path: Path) -> list[str]:
    """Lines; none of a file that has just gone, and one that is no URL of one that is no text."""
    try:
        # Some editors begin a file with a mark.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    return text.splitlines()


def _url(text: str) -> str:
    url = text
    if _HOST.fullmatch(text):
        url = f"http://{text}/v1"
    if len(url) > _LONGEST:
        raise WrongUse(
            OPTION,
            f"{url[:_SHOWN]!r}... of {len(url):,} characters",
            "a URL",
            "For example http://127.0.0.1:8000/v1.",
        )
    check_url(url, OPTION)
    return url.rstrip("/")
