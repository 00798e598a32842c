"""A published run in a store that fsspec knows (S3, GCS, ...): the journal and all that a run works
with stay on this machine.

The store holds the files of one publication or says that it does not: `run.json` is taken away
before the first file moves, and comes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from synth.calls.journal import held
from synth.core.errors import Stopped, WrongUse
from synth.core.records import canonical_json
from synth.inputs.files import is_remote, naming, shown, store, without_password
from synth.runs.ownership import ROWS

# What is sent; `run.json` last.
PARTS = ("data", "dropped", "pack", "failed.jsonl", "README.md")
# Says in the store whose files these are, also where a copy was cut short.
MARK = ".potstill"
# In the journal's folder: the number of the run, which its mark names once it sent something.
NUMBER = "store"


@dataclass(frozen=True)
class StoreCopy:
    """Where the files of a run go.

    Attributes:
        url: of a folder, such as `s3://bucket/run`.
        folder: the run's, on this machine.
        pack: the run's, by the last part of its path.
        source: what its seeds are read from.
        replace: whether files of another run may be replaced.
    """

    url: str
    folder: Path
    pack: str
    source: str
    replace: bool = False

    def check(self) -> None:
        """Checks that the store can be written to and holds nothing of somebody else's; leaves a
        mark there.

        Raises:
            WrongUse: no such store or bucket, no right to write or to delete, or other files.
        """
        without_password(self.url)
        if fault := _fault_of(self.url):
            raise WrongUse(
                f"--output {shown(self.url)}",
                fault,
                "a store that can be written to, such as s3://bucket/folder",
                "Name one, or a folder of this machine.",
            )
        with self._opened() as (files, root):
            names = _names(files, root)
            others = _odd_rows(names) if MARK in names else names
            if others:
                raise WrongUse(
                    f"--output {shown(self.url)}",
                    f"{len(others):,} files of others, such as {min(others)}",
                    "a folder that is empty, or holds what a run sent",
                    "Give another --output.",
                )
            if MARK in names:
                self._check_mark(files.cat_file(f"{root}/{MARK}"))
            files.makedirs(root, exist_ok=True)
            if "run.json" in names:
                # The next publication takes files away; a store may deny that.
                files.pipe_file(f"{root}/{MARK}.gone", b"")
                files.rm_file(f"{root}/{MARK}.gone")
            files.pipe_file(f"{root}/{MARK}", self._mark(self._number()))

    def send(self) -> int:
        """Sends what the run published; what the store has of an earlier publication leaves it.

        Returns:
            How many files were sent: 0 where the store has this publication.

        Raises:
            Stopped: the store did not take a file, or another run came first; all rows are in the
                folder.
        """
        try:
            with held(self.folder / "journal"), self._opened() as (files, root):
                return self._send(files, root)
        except WrongUse as error:
            message = f"{error}; all rows are in {self.folder}, and the same command sends them"
            raise Stopped("store", message) from error

    def _send(self, files: Any, root: str) -> int:
        run = (self.folder / "run.json").read_bytes()
        record = f"{root}/run.json"
        there = _names(files, root)
        if MARK in there:
            self._check_mark(files.cat_file(f"{root}/{MARK}"))
        mark = self._mark(self._number(new=True))
        files.pipe_file(f"{root}/{MARK}", mark)
        if "run.json" in there:
            if files.cat_file(record) == run:
                return 0
            files.rm_file(record)
        sent = list(_published(self.folder))
        for name in sorted(there.difference(sent)):
            if name.partition("/")[0] in PARTS:
                files.rm_file(f"{root}/{name}")
        for name in sent:
            remote = f"{root}/{name}"
            files.makedirs(remote.rpartition("/")[0], exist_ok=True)
            files.put_file(str(self.folder / name), remote)
        now = files.cat_file(f"{root}/{MARK}")
        if now != mark:
            raise self._taken(now)
        files.pipe_file(record, run)
        return len(sent) + 1

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """(file system, path in it), as the store has them now."""
        files, root = store(self.url)
        with naming(
            self.url, "a folder whose files can be written and deleted"
        ):
            files.invalidate_cache()
            yield files, root.rstrip("/")

    def _number(self, *, new: bool = False) -> str:
        """What no other folder has; "" where this one never sent anything, unless it is `new`."""
        file = self.folder / "journal" / NUMBER
        if new and not file.is_file():
            file.write_text(token_hex(8), encoding="utf-8")
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    def _mark(self, number: str) -> bytes:
        words = {"pack": self.pack, "source": self.source}
        if number:
            words["run"] = number
        return canonical_json(words)

    def _check_mark(self, mark: bytes) -> None:
        """Refuses the mark of another run: a run that has sent nothing yet left one without a
        number.
        """
        own = (self._mark(""), self._mark(self._number()))
        if not self.replace and mark not in own:
            raise self._taken(mark)

    def _taken(self, mark: bytes) -> WrongUse:
        return WrongUse(
            f"--output {shown(self.url)}",
            f"files of another run ({mark.decode(errors='replace')[:200]})",
            f"those of {self.folder}, of pack {self.pack} over {self.source}",
            "Give another --output, the --journal of that run, or --replace.",
        )


def _fault_of(url: str) -> str:
    """What keeps a URL from being a folder that files are sent into; "" where nothing does."""
    scheme, _, path = url.partition("://")
    if scheme.lower() in ("http", "https"):
        return "a page of the web"
    if "::" in url:
        return "a chain of stores"
    if "?" in path or "#" in path:
        return "a query, or a name with ? or #"
    # s3fs lists another folder where a name is empty.
    if "//" in path.strip("/"):
        return "two / in a row"
    return "" if path.strip("/") else "no name of a folder"


def _names(files: Any, root: str) -> set[str]:
    """Files of a folder, seen from it. Names that end in a slash are no files: consoles of S3
    make empty folders so.
    """
    return {
        str(name).removeprefix(f"{root}/")
        for name in files.find(root)
        if not str(name).endswith("/")
    }


def _odd_rows(names: set[str]) -> list[str]:
    """Files where the rows lie that no run wrote."""
    return [
        name
        for name in names
        if name.startswith(("data/", "dropped/"))
        and not ROWS.fullmatch(name.partition("/")[2])
    ]


def _published(folder: Path) -> Iterator[str]:
    """Names of the files of a publication but run.json, in the folder."""
    for part in PARTS:
        path = folder / part
        paths = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in paths:
            if file.is_file():
                yield file.relative_to(folder).as_posix()


def places_of(
    output: str | Path,
    journal: str | Path | None,
    pack: str | Path,
    source: object,
    *,
    replace: bool = False,
) -> tuple[Path, StoreCopy | None]:
    """(the run's folder on this machine, where its files are sent).

    Args:
        output: a folder, or the URL of one in a store, which is checked.
        journal: with a URL, the run's folder: it keeps the journal.
        pack: of the run.
        source: of its seeds.
        replace: whether another run's files may be replaced in the store.

    Raises:
        WrongUse: a URL without a journal or a journal without a URL; a store that cannot be
            written to, or holds files of others.
    """
    if not is_remote(str(output)):
        if journal is not None:
            raise WrongUse(
                f"--journal {journal}",
                f"--output {output}, which keeps the journal itself",
                "--journal beside the URL of a store",
                "Leave --journal out.",
            )
        return Path(output), None
    if journal is None:
        raise WrongUse(
            f"--output {shown(str(output))}",
            "no --journal",
            "a folder of this machine that keeps the journal",
            "Add --journal DIR; the same DIR resumes.",
        )
    named = isinstance(source, str | Path)
    where = shown(str(source)) if named else "rows of a program"
    folder = Path(journal)
    name = Path(pack).resolve().name
    copy = StoreCopy(str(output), folder, name, where, replace)
    copy.check()
    return folder, copy
