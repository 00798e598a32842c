"""Images that rows name, read from one folder of the user's and from nowhere else.

A path is resolved first and then opened part by part without following a link, so that nothing
which changes in between leads out of the folder.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from synth.core.errors import RowFault, WrongUse, printable

# Bytes of one image: what providers take, some take less.
MOST_BYTES = 20 * 1024 * 1024
# Images of one question.
MOST_IMAGES = 16
_MOST_NAME = 4096
# How files begin, and what they are.
_TYPES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_INSIDE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Picture(NamedTuple):
    """One image.

    Attributes:
        source: the path or URL, as the row has it.
        digest: `sha256:` and 64 hex digits of its bytes; of a URL, of the URL.
        url: what a teacher is sent: a data URL, or the URL.
    """

    source: str
    digest: str
    url: str


@dataclass(frozen=True)
class Gallery:
    """Where images come from.

    Attributes:
        root: the folder; None where no path may be read.
        urls: whether a row may name a URL, which the provider fetches.
    """

    root: Path | None = None
    urls: bool = False

    def __bool__(self) -> bool:
        return self.root is not None or self.urls

    def check(self) -> None:
        """Raises WrongUse where the root is no folder."""
        if self.root is not None and not self.root.is_dir():
            raise WrongUse(
                "--image-root",
                f"{str(self.root)!r}",
                "a folder",
                "Name the folder that the paths of the rows begin in.",
            )

    def pictures(self, value: Any, where: str) -> Iterator[Picture]:
        """The images that a value names: a text, a list of texts, or None for none.

        Raises:
            RowFault: what is no image here.
        """
        named = value if isinstance(value, list | tuple) else [value]
        if len(named) > MOST_IMAGES:
            raise RowFault(
                where,
                f"{len(named)} images",
                f"{MOST_IMAGES} images at most",
                "Split the row.",
            )
        for source in named:
            if source is not None and source != "":
                yield self.picture(source, where)

    def picture(self, source: Any, where: str) -> Picture:
        """The image of one path or URL.

        Raises:
            RowFault: it is none, too large, or not allowed.
        """
        usable = isinstance(source, str) and len(source) <= _MOST_NAME
        if not usable or not source.isprintable():
            raise _fault(where, source, "a path or a URL", "Mend the row.")
        if "://" in source or source.startswith("data:"):
            return self._linked(source, where)
        data = self._read(source, where)
        kind = _type_of(data)
        if kind is None:
            raise _fault(
                where,
                source,
                "a PNG, JPEG, GIF or WebP image",
                "Convert it: what a file is says its content, not its name.",
            )
        text = base64.b64encode(data).decode()
        return Picture(source, _digest(data), f"data:{kind};base64,{text}")

    def _linked(self, url: str, where: str) -> Picture:
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            sound = False
        if not sound or "@" in parts.netloc:
            raise _fault(
                where,
                url,
                "a path, or an http(s) URL without a password",
                "Mend the row.",
            )
        if not self.urls:
            raise _fault(
                where,
                url,
                "a path below --image-root",
                "--image-urls lets rows name URLs, which the provider fetches.",
            )
        return Picture(url, _digest(url.encode()), url)

    def _read(self, source: str, where: str) -> bytes:
        """The bytes of a file below the root."""
        if self.root is None:
            raise _fault(
                where,
                source,
                "a URL",
                "--image-root FOLDER lets rows name files below a folder.",
            )
        named = Path(source)
        if named.is_absolute() or ".." in named.parts:
            raise _fault(
                where,
                source,
                "a path below --image-root, without ..",
                "Say it from the folder on.",
            )
        root = self.root.resolve()
        try:
            there = (root / named).resolve(strict=True)
            inside = there.relative_to(root)
            with os.fdopen(_opened(root, inside), "rb") as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, RuntimeError, ValueError) as error:
            raise _fault(
                where,
                source,
                f"a file below {self.root}",
                f"It cannot be read there ({type(error).__name__}).",
            ) from error
        if len(data) > MOST_BYTES:
            raise _fault(
                where,
                source,
                f"at most {MOST_BYTES:,} bytes",
                "Make it smaller.",
            )
        return data


def unread(value: Any) -> list[Picture]:
    """The images that a value names, none of which is read: each is known by its name alone."""
    named = value if isinstance(value, list | tuple) else [value]
    return [Picture(str(name), str(name), "") for name in named if name]


def _opened(root: Path, inside: Path) -> int:
    """A descriptor of a plain file, each part of whose path is no link.

    Raises:
        OSError: there is none.
    """
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in inside.parts:
        above = here
        try:
            here = os.open(part, _INSIDE, dir_fd=above)
        finally:
            os.close(above)
    if not stat.S_ISREG(os.fstat(here).st_mode):
        os.close(here)
        raise OSError("no plain file")
    return here


def _type_of(data: bytes) -> str | None:
    """What a file is, by how it begins."""
    for beginning, kind in _TYPES:
        if data.startswith(beginning):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _fault(where: str, source: Any, wanted: str, todo: str) -> RowFault:
    shown = printable(str(source)[:200])
    return RowFault(where, repr(shown), wanted, todo)
