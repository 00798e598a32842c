"""A published run in a store that fsspec knows (S3, GCS, ...): the journal and all that a run works
with stay on this machine.

The store holds the files of one publication or says that it does not: `run.json` is taken away
before the first file moves, and comes last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from synth.core.errors import Stopped, WrongUse
from synth.core.records import canonical_json
from synth.inputs.files import is_remote, naming, shown, store, without_password

# What is sent; `run.json` last.
PARTS = ("data", "dropped", "pack", "failed.jsonl", "README.md")
# Says in the store whose files these are, also where a copy was cut short.
MARK = ".potstill"


@dataclass(frozen=True)
class StoreCopy:
    """Where the files of a run go.

    Attributes:
        url: of a folder, such as `s3://bucket/run`.
        pack: the run's, by the last part of its path.
        source: what its seeds are read from.
        replace: whether files of another pack or of other seeds may be replaced.
    """

    url: str
    pack: str
    source: str
    replace: bool = False

    def check(self) -> None:
        """Checks that the store can be written to and holds nothing of somebody else's; leaves a
        mark there.

        Raises:
            WrongUse: no such store or bucket, no right to write, or other files.
        """
        where = shown(self.url)
        without_password(self.url)
        if urlsplit(self.url).scheme in ("http", "https"):
            raise WrongUse(
                f"--output {where}",
                "a page of the web",
                "a store that can be written to, such as s3://bucket/folder",
                "Name one, or a folder of this machine.",
            )
        files, root = store(self.url)
        with naming(self.url, "a folder that can be written to"):
            files.invalidate_cache()
            names = [
                str(name).removeprefix(root).lstrip("/")
                for name in files.find(root)
            ]
            if names and MARK not in names:
                raise WrongUse(
                    f"--output {where}",
                    f"{len(names):,} files of others, such as {min(names)}",
                    "a folder that is empty, or holds what a run sent",
                    "Give another --output.",
                )
            mark = canonical_json({"pack": self.pack, "source": self.source})
            file = f"{root}/{MARK}"
            if MARK in names and files.cat_file(file) != mark:
                self._check_replace(files.cat_file(file))
            files.makedirs(root, exist_ok=True)
            files.pipe_file(file, mark)

    def _check_replace(self, mark: bytes) -> None:
        if self.replace:
            return
        raise WrongUse(
            f"--output {shown(self.url)}",
            f"files of another run ({mark.decode(errors='replace')[:200]})",
            f"this run's, of pack {self.pack} over {self.source}",
            "Give another --output, or --replace.",
        )

    def send(self, folder: Path) -> int:
        """Sends what a run published; what the store has of an earlier publication leaves it.

        Args:
            folder: the run's.

        Returns:
            How many files were sent: 0 where the store has this publication.

        Raises:
            Stopped: the store did not take a file; the same call sends all of it.
        """
        try:
            return self._send(folder)
        except WrongUse as error:
            message = f"{error}; all rows are in {folder}, and the same command sends them"
            raise Stopped("store", message) from error

    def _send(self, folder: Path) -> int:
        files, root = store(self.url)
        run = (folder / "run.json").read_bytes()
        record = f"{root}/run.json"
        with naming(self.url, "a folder that can be written to"):
            files.invalidate_cache()
            if files.exists(record):
                if files.cat_file(record) == run:
                    return 0
                files.rm_file(record)
            sent = list(_published(folder))
            wanted = {f"{root}/{name}" for name in sent}
            for name in files.find(root):
                if name not in wanted and name != f"{root}/{MARK}":
                    files.rm_file(name)
            for name in sent:
                remote = f"{root}/{name}"
                files.makedirs(remote.rpartition("/")[0], exist_ok=True)
                files.put_file(str(folder / name), remote)
            files.pipe_file(record, run)
        return len(sent) + 1


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
    name = Path(pack).resolve().name
    copy = StoreCopy(str(output).rstrip("/"), name, where, replace)
    copy.check()
    return Path(journal), copy
