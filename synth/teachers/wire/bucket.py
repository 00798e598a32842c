"""A bucket of the user's, in which Google's batches read requests and leave replies."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from synth.core.errors import WrongUse

# The provider whose batches need one.
PROVIDER = "vertex_ai"
OPTION = "--batch-bucket"
# The name of a bucket, and the folder within it.
_URL = re.compile(
    r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/([^\s#?\[\]*]*))?"
)


class Bucket(NamedTuple):
    """A place of Google's storage.

    Attributes:
        name: of the bucket.
        folder: below which objects stand, without slashes around it; "" for the top.
    """

    name: str
    folder: str = ""

    def object(self, *parts: str) -> str:
        """The name of an object below the folder.

        >>> Bucket("b", "runs").object("batch", "requests.jsonl")
        'runs/batch/requests.jsonl'
        """
        return "/".join(filter(None, (self.folder, *parts)))

    def url(self, name: str) -> str:
        """Where an object of the bucket stands."""
        return f"gs://{self.name}/{name}"


def read_bucket(url: str, where: str = OPTION) -> Bucket:
    """The bucket and the folder that a URL names.

    Raises:
        WrongUse: it names none.

    >>> read_bucket("gs://mine/runs/"), read_bucket("gs://mine")
    (Bucket(name='mine', folder='runs'), Bucket(name='mine', folder=''))
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise WrongUse(
            where,
            f"{url!r:.80}",
            "a folder of Google's storage",
            "For example gs://my-bucket/batches.",
        )
    name, folder = found.groups()
    return Bucket(name, (folder or "").strip("/"))


def check_bucket(
    url: str | None, teachers: Collection[str], *, batch: bool
) -> None:
    """Raises WrongUse where a batch lacks its bucket, or a bucket its batch.

    Args:
        url: what the user says.
        teachers: PROVIDER/MODEL of each role.
        batch: whether they are asked in batches.
    """
    asked = [name for name in teachers if name.startswith(f"{PROVIDER}/")]
    if url is not None:
        read_bucket(url)
    if batch and asked and url is None:
        raise WrongUse(
            OPTION,
            "none",
            f"a folder of yours, through which {asked[0]} gets its requests",
            "For example --batch-bucket gs://my-bucket/batches.",
        )
    if url is not None and not (batch and asked):
        raise WrongUse(
            f"{OPTION} {url}",
            f"teachers {', '.join(teachers)}" if batch else "no --batch",
            f"--batch, and a teacher {PROVIDER}/gemini-...",
            "Leave it out.",
        )
