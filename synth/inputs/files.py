"""The bytes of a file: here or in a store that fsspec knows, compressed or not, as UTF-8 whatever
it was written in.
"""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import lzma
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import tenacity

from synth.core.errors import WrongUse

# What stands at the start of a compressed file, and how it is read.
_ZSTD = b"\x28\xb5\x2f\xfd"
_PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
# Byte order marks, the longer ones first: UTF-32's begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Of URLs, also of those in a chain (`zip://file::s3://bucket/x.zip`): names and passwords in front
# of the host, and queries with fragments.
_PASSWORD = re.compile(r"(?<=://)[^/?#]*@")
_QUERY = re.compile(r"[?#].*?(?=::|$)", re.DOTALL)
# The same within a message.
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_WEB = ("http", "https")
PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
_WHOLE = "a file that can be read to its end"
_again = tenacity.retry(
    stop=tenacity.stop_after_attempt(3),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=5),
    retry=tenacity.retry_if_not_exception_type(
        (ImportError, FileNotFoundError, PermissionError, TimeoutError)
    ),
    reraise=True,
)
# Bytes that are read at once.
_CHUNK = 1 << 20


def is_remote(source: str) -> bool:
    """Whether a source names a store, such as `s3://bucket/file.jsonl`."""
    return "://" in source


def ending_of(name: str) -> str:
    """The ending that says what a file holds: compression and a URL's query aside.

    >>> ending_of("s3://b/Train.JSONL.gz")
    '.jsonl'
    >>> ending_of("https://host/x.csv?token=1")
    '.csv'
    >>> ending_of("a/b")
    ''
    """
    path = urlsplit(name).path if is_remote(name) else name
    lowered = path.rpartition("/")[2].lower()
    for packed in PACKED_ENDINGS:
        lowered = lowered.removesuffix(packed)
    _, dot, ending = lowered.rpartition(".")
    return f".{ending}" if dot else ""


def shown(source: str) -> str:
    """A source as it may stand in errors, run.json and cards: a store's URL without passwords and
    query.
    """
    if not is_remote(source):
        return source
    return _QUERY.sub("", _PASSWORD.sub("", source))


def expand(source: str) -> list[str]:
    """The files or folders that a source names: `~`, and patterns such as `data/*.jsonl`, in the
    order of their names.

    Raises:
        WrongUse: a pattern that nothing fits, a password in a URL, or a store whose package is
            missing.
    """
    if is_remote(source):
        return _expand_remote(source)
    path = str(Path(source).expanduser()) if source.startswith("~") else source
    if Path(path).exists() or not glob.has_magic(path):
        return [path]
    paths = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    if not paths:
        raise WrongUse(
            source,
            "no file that fits",
            "a pattern that fits some",
            "Check the pattern, and quote it.",
        )
    return paths


def without_password(source: str) -> None:
    """Refuses a store's URL that holds a password.

    Raises:
        WrongUse: it does.
    """
    if _PASSWORD.search(source):
        todo = "Take it out: stores read their keys from their own variables."
        raise WrongUse(
            shown(source),
            "a URL with a password",
            "a URL without secrets",
            todo,
        )


def _expand_remote(source: str) -> list[str]:
    without_password(source)
    if not glob.has_magic(source) or urlsplit(source).scheme in _WEB:
        return [source]
    fs, path = store(source)
    scheme = source.partition("://")[0]
    with naming(source):
        names = sorted(fs.glob(path))
    if not names:
        raise WrongUse(
            shown(source),
            "no file that fits",
            "a pattern that fits some",
            "Check the pattern.",
        )
    return [f"{scheme}://{name}" for name in names]


def store(source: str) -> tuple[Any, str]:
    """(fsspec file system, path in it)."""
    import fsspec  # noqa: PLC0415 - 0.1 s that a local file need not pay

    with naming(source):
        fs, path = fsspec.core.url_to_fs(source)
    return fs, str(path)


def _without_secrets(error: Exception, source: str) -> str:
    """What a store says, without passwords and queries: of the source's URL and of any other, such
    as the endpoint that a variable names.
    """
    message = str(error).replace(source, shown(source))
    for secret in _QUERY.findall(source):
        message = message.replace(secret, "")
    return _URL.sub(lambda url: shown(url[0]), message)


@contextmanager
def naming(
    source: str, wanted: str = "a file that can be read"
) -> Iterator[None]:
    """What a store raises becomes one error of ours, without the URL's query."""
    try:
        yield
    except WrongUse:
        raise
    except ImportError as error:
        todo = (
            "Install the package that fsspec names for it (s3:// needs s3fs, gs:// gcsfs, "
            "hf:// huggingface_hub)."
        )
        raise WrongUse(
            shown(source),
            _without_secrets(error, source)[:200],
            "a store that is at hand",
            todo,
        ) from error
    except Exception as error:
        got = f"{type(error).__name__}: {_without_secrets(error, source)[:200]}"
        raise WrongUse(
            shown(source),
            got,
            wanted,
            "Check the path and the store's own keys.",
        ) from error


def exists(source: str) -> bool:
    """Whether a file or folder is there."""
    if not is_remote(source):
        return Path(source).exists()
    fs, path = store(source)
    with naming(source):
        return bool(fs.exists(path))


def is_folder(source: str) -> bool:
    """Whether a source is a folder."""
    if not is_remote(source):
        return Path(source).is_dir()
    if urlsplit(source).scheme in _WEB:
        return False
    fs, path = store(source)
    with naming(source):
        return bool(fs.isdir(path))


def names_in(folder: str) -> list[str]:
    """Files in a folder that are not hidden, by name, as sources."""
    if not is_remote(folder):
        return sorted(
            str(path)
            for path in Path(folder).iterdir()
            if path.is_file() and not path.name.startswith(".")
        )
    fs, path = store(folder)
    scheme = folder.partition("://")[0]
    with naming(folder):
        listed = [
            entry["name"]
            for entry in fs.ls(path, detail=True)
            if entry["type"] == "file"
        ]
    return sorted(
        f"{scheme}://{name}"
        for name in listed
        if not name.rpartition("/")[2].startswith(".")
    )


@contextmanager
def opened(source: str) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed.

    Raises:
        WrongUse: the file cannot be read, or breaks off within its compression.
    """
    with _raw(source) as raw:
        start = raw.peek(8)[:8]
        file = _unpacked(raw, start)
        # What decompression raises: gzip's, bz2's and zstd's errors are OSErrors.
        broken = (
            (EOFError, zlib.error, lzma.LZMAError, OSError)
            if file is not raw
            else ()
        )
        try:
            yield file
        except broken as error:
            got = f"a broken compressed file ({type(error).__name__}: {error})"
            raise WrongUse(
                shown(source),
                got,
                "a whole file",
                "Write or copy it again.",
            ) from error


@contextmanager
def _raw(source: str) -> Iterator[io.BufferedReader]:
    if not is_remote(source):
        try:
            file = Path(source).open("rb", buffering=_CHUNK)  # noqa: SIM115 - closed below
        except OSError as error:
            got = f"{error.strerror or error}"
            raise WrongUse(
                source,
                got,
                "a file that can be read",
                "Check the path and its rights.",
            ) from error
        with file:
            yield cast("io.BufferedReader", file)
        return
    with (
        _remote(source) as remote,
        io.BufferedReader(_Remote(remote, source), _CHUNK) as buffered,
    ):
        yield cast("io.BufferedReader", buffered)


def _remote(source: str) -> BinaryIO:
    """A file of a store, which can be read from any place."""
    fs, path = store(source)
    if urlsplit(source).scheme not in _WEB:
        with naming(source):
            return cast("BinaryIO", fs.open(path, "rb"))
    with naming(source, _WHOLE):
        size = _size_of_parts(fs, path)
        if size is None:
            return _copy(fs, path)
        return cast("BinaryIO", fs.open(path, "rb", size=size))


@_again
def _size_of_parts(fs: Any, path: str) -> int | None:
    """Bytes of a file whose server sends any part that it is asked for; None of others."""
    size: int | None = fs.info(path)["size"]
    if not size:
        return None
    with fs.open(path, "rb", size=size, block_size=1, cache_type="none") as end:
        end.seek(size - 1)
        try:
            end.read(1)
        except ValueError:
            # It begins at the beginning, whatever it is asked for.
            return None
    return size


@_again
def _copy(fs: Any, path: str) -> BinaryIO:
    """A copy, gone when it is closed, of a file that a server sends from its beginning alone."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the reader
    with fs.open(path, "rb", block_size=0) as stream:
        shutil.copyfileobj(stream, copy, _CHUNK)
    copy.seek(0)
    return cast("BinaryIO", copy)


class _Remote(io.RawIOBase):
    """A file of a store. What breaks off is asked for three times in all; what the store raises
    then becomes one error of ours.
    """

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file = file
        self._source = source
        # A read that fails leaves the place where it was.
        self._read = _again(file.read)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with naming(self._source):
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with naming(self._source, _WHOLE):
            data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _unpacked(raw: io.BufferedReader, start: bytes) -> BinaryIO:
    for mark, open_packed in _PACKED.items():
        if start.startswith(mark):
            return cast("BinaryIO", io.BufferedReader(open_packed(raw), _CHUNK))
    if start.startswith(_ZSTD):
        import pyarrow as pa  # noqa: PLC0415 - only for such files

        return cast(
            "BinaryIO",
            io.BufferedReader(
                pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"),
                _CHUNK,
            ),
        )
    return cast("BinaryIO", raw)


def encoding_of(start: bytes) -> str:
    r"""The encoding of a text by its first four bytes: its mark, or the zeros that UTF-16 puts
    beside ASCII.

    >>> encoding_of(b"\xff\xfe{\x00"), encoding_of(b'{"a"'), encoding_of(b'{\x00"\x00')
    ('utf-16', 'utf-8', 'utf-16-le')
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if (
        len(start) >= 4
        and start[0]
        and not start[1]
        and start[2]
        and not start[3]
    ):
        return "utf-16-le"
    if (
        len(start) >= 4
        and not start[0]
        and start[1]
        and not start[2]
        and start[3]
    ):
        return "utf-16-be"
    return "utf-8"


@contextmanager
def text_lines(source: str) -> Iterator[Iterator[bytes]]:
    """The lines of a text file as UTF-8, whatever its encoding; a byte order mark is left out."""
    with opened(source) as file:
        encoding = encoding_of(_peek(file))
        if encoding == "utf-8":
            yield iter(file)
        elif encoding == "utf-8-sig":
            file.read(len(codecs.BOM_UTF8))
            yield iter(file)
        else:
            with io.TextIOWrapper(file, encoding, newline="\n") as text:
                yield _lines_of(text, source)


def _lines_of(text: io.TextIOWrapper, source: str) -> Iterator[bytes]:
    """The lines of a text in another encoding, as UTF-8."""
    number = 0
    try:
        for number, line in enumerate(text, 1):  # noqa: B007 - the error's place
            yield line.encode()
    except UnicodeError as error:
        raise WrongUse(
            f"{shown(source)}, after line {number}",
            f"bytes that are no {text.encoding} ({error})",
            "UTF-8, UTF-16 or UTF-32",
            "Save the file as UTF-8.",
        ) from error


def _peek(file: BinaryIO) -> bytes:
    return cast("io.BufferedReader", file).peek(4)[:4]
