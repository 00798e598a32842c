"""A student and its teacher, read layer by layer (LEAD, arXiv:2212.05225)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from finetune.core.list_tensors import LayerScores, TextMask
from finetune.core.tensors import Inputs
from finetune.data.query_lists import Listed
from finetune.list_losses.lead import Lead
from finetune.students.layer_states import at_layers, depth_of
from finetune.trainers.taught import ListTexts, TeacherFields, placed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LikenessOfAll = Annotated[Tensor, "query text"]


def drawn(depth: int, count: int) -> list[int]:
    """Numbers of layers below the last, at random, ascending.

    Args:
        depth: layers of the model.
        count: how many; at most depth - 1.
    """
    order = torch.randperm(depth - 1)
    return sorted((order[:count] + 1).tolist())


def layer_scores(queries: Inputs, texts: Inputs, scale: float) -> LikenessOfAll:
    """[Q, N] scores of all texts for all queries, as one layer of a model read them: cosines times
    the scale for a vector a text, sums of best cosines for a vector a token.
    """
    if "sentence_embedding" in queries:
        left, right = (
            torch.nn.functional.normalize(
                one["sentence_embedding"].float(), dim=-1
            )
            for one in (queries, texts)
        )
        return scale * (left @ right.T)
    from sentence_transformers.util.similarity import maxsim  # noqa: PLC0415

    found: LikenessOfAll = maxsim(
        queries["token_embeddings"],
        texts["token_embeddings"],
        a_mask=queries["attention_mask"].bool(),
        b_mask=texts["attention_mask"].bool(),
    )
    return found


class LayeredTeacher(torch.nn.Module):
    """Scores of all texts of a batch by a teacher's last layer and by layers at random.

    Args:
        teacher: an encoder with a vector a text, whose scores are cosines times the scale, or with
            a vector a token, whose scores are sums of best cosines.
        loss: how many layers, and whether the teacher learns.
        depth: layers of the student.
        listed: the training rows.
        width: texts a row.

    Attributes:
        reader: the teacher where it learns, else None.
    """

    kept_as = "teacher"

    def __init__(
        self,
        teacher: SentenceTransformer,
        loss: Lead,
        depth: int,
        listed: Sequence[Listed],
        width: int,
    ) -> None:
        super().__init__()
        self.learns = loss.together
        # What stands in a list is no part of this module: a frozen teacher is not trained.
        self.held = [teacher.train(self.learns)]
        self.reader = teacher if self.learns else None
        self.depth = depth_of(teacher)
        self.count = min(loss.count, self.depth - 1, depth - 1)
        self.texts = ListTexts(listed, width)

    def of(self, rows: Tensor, mask: TextMask, scale: float) -> TeacherFields:
        """What the losses read of the rows of a batch."""
        queries, texts = self.texts.of(rows)
        numbers = drawn(self.depth, self.count)
        with torch.set_grad_enabled(self.learns):
            left = self._read(queries, numbers, "query")
            right = self._read(texts, numbers, "document")
            found = [
                layer_scores(asked, held, scale)
                for asked, held in zip(left, right, strict=True)
            ]
        shape = (len(found), *mask.shape[:1], *mask.shape)
        scores: LayerScores = torch.stack(found).reshape(shape)
        return {"teacher_layers": scores.to(mask.device)}

    def _read(
        self, texts: list[str], numbers: list[int], task: str
    ) -> list[Inputs]:
        """What the teacher makes of texts at its last layer and at others."""
        teacher = self.held[0]
        features = teacher.preprocess(texts, task=task)
        on_device = placed(features, teacher.device)
        return at_layers(teacher, on_device, numbers, task)
