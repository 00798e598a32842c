"""What an encoder's vectors are worth without training: translations found by nearness, classes of
the nearest labelled texts, and how evenly the vectors fill their space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.json_files import write_json
from finetune.core.own_files import MEASURED, check_folder
from finetune.core.rows import JsonObject
from finetune.core.unread import refuse_unread
from finetune.data import rows
from finetune.measures.classes import Classes
from finetune.measuring.shares import share_of
from finetune.scoring.retrievers import open_scorer
from synth.core.errors import WrongUse
from synth.local_models.scores import HASHING, vectors
from synth.search.index import nearest
from synth.statistics.paired import mean_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finetune.core.arrays import VectorArray


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig:
    """What to measure.

    Attributes:
        model: an encoder, or hashing.
        output: where evaluation.json goes.
        bitext: rows with `source` and `target`, translations of each other; None for no such
            measure.
        labelled: rows with `text` and `label` whose labels are known; None for no such measure.
        data: rows with `text` and `label` whose labels are to be found.
        k: labelled texts that vote.
    """

    model: str
    output: Path
    bitext: str | None = None
    labelled: str | None = None
    data: str | None = None
    k: int = 5


def run(config: EmbeddingsConfig) -> JsonObject:
    """Measures what there are rows for.

    Returns:
        The content of OUTPUT/evaluation.json: `bitext`, `classes` and `anisotropy`.

    Raises:
        WrongUse: nothing to measure, or rows that cannot be used.
    """
    if not config.bitext and not (config.labelled and config.data):
        raise WrongUse(
            "evaluate-embeddings",
            "no --bitext, and not both --labelled and --input",
            "rows to measure on",
            "Name translations, or labelled rows and rows to label.",
        )
    check_folder(config.output, (), ("model", "anisotropy"))
    asks = config.labelled is not None and config.data is not None
    given = {
        "--labelled": config.labelled is not None,
        "--input": config.data is not None,
        "--k": config.k != EmbeddingsConfig.k,
    }
    for option, is_given in given.items():
        refuse_unread(
            option,
            is_given=is_given,
            is_read=asks,
            found=f"--labelled {config.labelled}, --input {config.data}",
            reader="both --labelled and --input",
        )
    info: JsonObject = {"model": config.model}
    seen: list[VectorArray] = []
    if config.bitext:
        source, target = _columns(config.bitext, ("source", "target"))
        both = (
            unit_vectors(config.model, source),
            unit_vectors(config.model, target),
        )
        seen += both
        info["bitext"] = bitext(*both)
    if config.labelled and config.data:
        known, labels = _columns(config.labelled, ("text", "label"))
        asked, golds = _columns(config.data, ("text", "label"))
        held, queries = (
            unit_vectors(config.model, known),
            unit_vectors(config.model, asked),
        )
        seen.append(queries)
        answers = voted(queries, held, labels, config.k)
        info["classes"] = _report(answers, golds)
    info["anisotropy"] = anisotropy(_joined(seen))
    config.output.mkdir(parents=True, exist_ok=True)
    write_json(config.output / MEASURED, info)
    return info


def _columns(
    source: str, names: tuple[str, str]
) -> tuple[list[str], list[str]]:
    found = list(rows.columns(rows.load(source), names, source))
    first = [str(row[names[0]]) for row in found]
    return first, [str(row[names[1]]) for row in found]


def unit_vectors(name: str, texts: Sequence[str]) -> VectorArray:
    """[N, D] of unit length, by an encoder or by hashing.

    Raises:
        WrongUse: no such model, or one whose vectors are no finite numbers.
    """
    import numpy as np  # noqa: PLC0415 - for those who measure

    if name == HASHING:
        hashed: VectorArray = vectors(texts, HASHING)
        return hashed
    model = open_scorer("bi", name)
    made: VectorArray = model.encode(
        list(texts),
        normalize_embeddings=True,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    if not np.isfinite(made).all():
        raise WrongUse(
            f"--model {name}",
            "vectors that are no finite numbers",
            "an encoder whose weights are finite",
            "Take another one, or train it anew.",
        )
    return made


def _joined(parts: Sequence[VectorArray]) -> VectorArray:
    import numpy as np  # noqa: PLC0415 - for those who measure

    return np.concatenate(list(parts))


def bitext(source: VectorArray, target: VectorArray) -> JsonObject:
    """How many texts are nearest to their own translation, from either side (MINERS,
    arXiv:2406.07424, section 3.1; the accuracy of Tatoeba's bitext mining).

    Args:
        source: [N, D] of unit length.
        target: [N, D], row n the translation of row n.

    Returns:
        forward, backward and f1 (of pairs that are nearest to each other from both sides), each
        with share, low and high (Wilson 95 %).
    """
    forward = _best(source, target)
    backward = _best(target, source)
    count = len(forward)
    right = sum(place == n for n, place in enumerate(forward))
    back = sum(place == n for n, place in enumerate(backward))
    mutual = [n for n, place in enumerate(forward) if backward[place] == n]
    found = sum(forward[n] == n for n in mutual)
    f1 = 2 * found / max(1, len(mutual) + count)
    return {
        "pairs": count,
        "forward": share_of(right, count),
        "backward": share_of(back, count),
        "f1": round(f1, 4),
    }


def _best(queries: VectorArray, table: VectorArray) -> list[int]:
    return [hits[0][0] for hits in nearest(queries, table, 1)]


def voted(
    queries: VectorArray, held: VectorArray, labels: Sequence[str], k: int
) -> list[str]:
    """The label that most of the k nearest labelled texts have; of those that tie, the one of the
    nearest text (retrieval-based classification, arXiv:2406.07424, section 3.2).

    Args:
        queries: [Q, D] of unit length.
        held: [N, D] of unit length.
        labels: of `held`.
        k: texts that vote.
    """
    answers = []
    for hits in nearest(queries, held, min(k, len(labels))):
        # Counter keeps the order in which labels came: the nearest first.
        votes = Counter(labels[place] for place, _ in hits)
        answers.append(max(votes, key=votes.__getitem__))
    return answers


def _report(answers: Sequence[str], golds: Sequence[str]) -> JsonObject:
    """Accuracy with its interval, and the report of classes."""
    judged = [
        {"answer": answer, "target": gold}
        for answer, gold in zip(answers, golds, strict=True)
    ]
    part = Classes()
    values = [part.of_question([row]) or 0.0 for row in judged]
    low, high = mean_interval(values)
    return {
        "accuracy": round(sum(values) / max(1, len(values)), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        **part.more(judged),
    }


def anisotropy(table: VectorArray) -> JsonObject:
    """How far vectors point the same way: the mean cosine of two texts (Ethayarajh, 2019,
    arXiv:1909.00512, section 3.4), the same behind taking the mean vector away, and the share of
    their variance along one direction. 0 is evenly spread, 1 all alike.

    Args:
        table: [N, D], N of 2 or more.

    Raises:
        WrongUse: fewer than two texts.
    """
    import numpy as np  # noqa: PLC0415 - for those who measure

    if len(table) < 2:
        raise WrongUse(
            "anisotropy",
            f"{len(table)} texts",
            "two or more",
            "Name more rows.",
        )
    # Of all vectors together, as numbers of 64 bits.
    wide = table.astype(np.float64)
    centred = wide - wide.mean(axis=0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    total = float(variances.sum())
    first = float(variances[0]) / total if total else 0.0
    return {
        "texts": len(wide),
        "mean_cosine": round(_mean_cosine(wide), 4),
        "centred": round(_mean_cosine(centred), 4),
        "first_direction": round(first, 4),
    }


def _mean_cosine(table: NDArray[np.float64]) -> float:
    """The mean cosine of all pairs of different rows: of unit vectors, the squared length of their
    sum less the pairs of a row with itself.
    """
    import numpy as np  # noqa: PLC0415 - for those who measure

    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    unit = table / np.maximum(lengths, 1e-12)
    own = float((unit * unit).sum())
    total = float(np.square(unit.sum(axis=0)).sum())
    count = len(unit)
    return (total - own) / (count * (count - 1))
