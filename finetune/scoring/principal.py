"""The directions along which vectors differ most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.data.loss_columns import Encode
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from finetune.core.arrays import VectorArray

# Texts whose vectors the directions are found from (HPD, arXiv:2203.07687, takes 40,000).
_MOST = 40_000


def principal(vectors: VectorArray, size: int) -> VectorArray:
    """[size, D] the first principal components of [N, D] vectors, unit length.

    Raises:
        WrongUse: fewer vectors than components.

    >>> import numpy as np
    >>> directions = principal(np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]]), 1)
    >>> np.abs(directions).tolist()
    [[1.0, 0.0]]
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    if len(vectors) < size:
        raise WrongUse(
            f"--vector-size {size}",
            f"{len(vectors):,} texts",
            "at least as many texts as numbers of a vector",
            "Give more rows, or a smaller size.",
        )
    centred = vectors - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    first: VectorArray = directions[:size]
    return first


def shortened(encode: Encode, texts: Sequence[str], size: int) -> Encode:
    """An encoder whose vectors are the places along the first `size` principal components of those
    of the texts.

    As in HPD's code the components alone are applied: the mean of the vectors is not taken off.
    """
    import numpy as np  # noqa: PLC0415 - for those who need it

    unique = list(dict.fromkeys(texts))[:_MOST]
    directions = principal(np.asarray(encode(unique)), size)

    def short(some: Sequence[str]) -> Sequence[Sequence[float]]:
        vectors = np.asarray(encode(some))
        places: list[list[float]] = (vectors @ directions.T).tolist()
        return places

    return short
