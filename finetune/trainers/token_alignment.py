"""A teacher's vectors of tokens for a student that reads a translation (DR.DECR,
arXiv:2112.08185).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from finetune.core.tensors import Inputs, PerSequence, Scalar
from finetune.data.query_lists import Listed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TokenVectors = Annotated[Tensor, "token width"]


class TokenAlignment(torch.nn.Module):
    """w MSE(student of the query) + (1 - w) MSE(student of its translation), both to the teacher's
    vectors of the translation, token by token.

    Tokens of two languages do not stand in the same order: each of the teacher's is compared with
    one of the student's, the nearest pair first.

    Args:
        model: the student, with a vector a token.
        teacher: one whose vectors have the same width; it knows the language of the first texts.
        listed: rows of a query and, as the first text, its translation.
        share: w, from 0 to 1.

    Raises:
        ValueError: a share that is not from 0 to 1.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        teacher: SentenceTransformer,
        listed: Sequence[Listed],
        *,
        share: float = 0.5,
    ) -> None:
        super().__init__()
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"share {share!r}, which is not from 0 to 1")
        self.model = model
        self.share = share
        texts = [row.documents[0] for row in listed]
        # A teacher's vectors, one matrix a row; each text is read once.
        self.taught: list[Tensor] = teacher.encode_query(
            texts, show_progress_bar=False
        )

    def forward(
        self, sentence_features: Iterable[Inputs], labels: PerSequence
    ) -> Scalar:
        """The loss of a batch whose labels are the numbers of its rows."""
        of_query, of_translation = sentence_features
        wanted = [self.taught[row] for row in labels.long().tolist()]
        own = self._distance(of_query, wanted)
        known = self._distance(of_translation, wanted)
        return self.share * own + (1 - self.share) * known

    def _distance(self, features: Inputs, wanted: list[Tensor]) -> Scalar:
        """Mean squared difference of aligned tokens, the mean over texts."""
        found = self.model(dict(features), task="query")
        vectors = found["token_embeddings"]
        masks = found["attention_mask"].bool()
        each = []
        for row, taught in enumerate(wanted):
            tokens = vectors[row][masks[row]]
            aim = taught.to(tokens.device)
            theirs, ours = aligned(aim, tokens)
            apart = tokens[ours] - aim[theirs]
            each.append(apart.square().mean())
        return torch.stack(each).mean()


def aligned(
    teacher: TokenVectors, student: TokenVectors
) -> tuple[list[int], list[int]]:
    """Places of tokens that belong together, by cosines: the nearest pair first, then the nearest
    of what is left, until one side has none.

    >>> aligned(torch.eye(2), torch.tensor([[0.1, 0.9], [0.6, 0.7], [0.7, 0.2]]))
    ([1, 0], [0, 2])
    """
    left = torch.nn.functional.normalize(teacher.detach(), dim=-1)
    right = torch.nn.functional.normalize(student.detach(), dim=-1)
    cosines = left @ right.T
    theirs = []
    ours = []
    for _ in range(min(cosines.shape)):
        place = int(cosines.argmax())
        row, column = divmod(place, cosines.shape[1])
        theirs.append(row)
        ours.append(column)
        cosines[row] = -torch.inf
        cosines[:, column] = -torch.inf
    return theirs, ours
