"""A teacher's vector of a text, for the text and for its translation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from finetune.core.tensors import Scalar
from finetune.data.query_lists import Least
from finetune.list_losses.base import ListLoss, Lists


@dataclass(kw_only=True, eq=False)
class TranslationMse(ListLoss):
    r"""((W x_q - t)^2 + (W x_d - t)^2) / 2, t the teacher's vector of the query alone.

    The query is in a language that the teacher knows, the first text is its translation: the
    student learns to put both where the teacher puts the first. W is learnt where the teacher's
    vectors have another width, else nothing.

    Args: none.

    Shapes: queries [B, D], documents [B, n, D] of which the first are read, mask [B, n].

    Returns: the mean over queries and numbers of a vector; 0 or more.

    Raises:
        ValueError: no teacher.

    Source: Reimers and Gurevych, arXiv:2004.09813, section 2, here for unit vectors.

    Example:
        >>> from finetune.list_losses.base import example
        >>> loss = TranslationMse().open(2, 2)
        >>> round(float(loss(example(teacher=example()))), 4)
        0.0
    """

    needs: ClassVar[tuple[str, ...]] = ("teacher",)
    least: ClassVar[Least] = "text"
    reads_first: ClassVar[bool] = True

    module: torch.nn.Module | None = field(default=None, init=False)

    def open(self, width: int, teacher_width: int) -> TranslationMse:
        """Makes the map to the teacher's width, where it is another one."""
        self.module = torch.nn.Identity()
        if width != teacher_width:
            self.module = torch.nn.Linear(width, teacher_width, bias=False)
        return self

    def __call__(self, lists: Lists) -> Scalar:
        """The loss, a scalar."""
        wanted = lists.taught().queries.detach()
        if self.module is None:
            raise ValueError(
                "TranslationMse: call open(width, teacher_width) first"
            )
        of_queries = self.module(lists.queries) - wanted
        of_texts = self.module(lists.documents[:, 0]) - wanted
        squares = of_queries.square() + of_texts.square()
        mean: Scalar = squares.mean()
        return mean / 2
