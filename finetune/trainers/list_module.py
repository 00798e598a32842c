"""A loss of lists behind sentence-transformers' trainer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from finetune.core.list_tensors import (
    BatchScores,
    LayerScores,
    PerQuery,
    Scores,
    TextOrder,
    TextVectors,
    Vectors,
)
from finetune.core.tensors import Inputs, Scalar
from finetune.data.query_lists import Listed
from finetune.list_losses.base import ListLoss, Lists
from finetune.students.layer_states import at_layers, depth_of
from finetune.students.pair_parts import pair_head
from finetune.students.three_heads import encode, likenesses
from finetune.trainers.layered import drawn
from finetune.trainers.taught import Taught, TaughtVectors, TeacherFields
from synth.processes.ranks import is_launched

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class ReadFields(TypedDict, total=False):
    """The fields of `Lists` that a student fills besides its vectors."""

    heads: Mapping[str, BatchScores]
    scores: BatchScores
    features: TextVectors
    layers: LayerScores


def module_of(kind: str, loss: ListLoss) -> type[ListModule]:
    """How a student of a kind is read for a loss."""
    if "layers" in loss.needs:
        return LayersModule
    special = {"heads": HeadsModule, "pair": PairModule}
    return special.get(kind, ListModule)


class ListModule(torch.nn.Module):
    """Embeds the columns of a batch and hands them to a loss; what else it needs of the rows stands
    in tables, looked up by row.

    Args:
        model: the student, a SentenceTransformer.
        loss: of `finetune.list_losses`.
        listed: the training rows.
        width: texts a row; rows with fewer are filled up, which the mask leaves out.
        scale: 1 / temperature.
        taught: what a frozen teacher (or the student before the training) makes of the rows, for
            losses that need one.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        loss: ListLoss,
        listed: Sequence[Listed],
        *,
        width: int,
        scale: float,
        taught: Taught | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.scale = scale
        self.width = width
        counts = torch.tensor(
            [min(width, len(row.documents)) for row in listed]
        )
        self.mask = torch.arange(width)[None] < counts[:, None]
        self.targets = _targets(listed, width)
        self.groups = _groups(listed)
        self.keys = _keys(listed, width)
        self.taught = taught
        if hasattr(loss, "open") and isinstance(taught, TaughtVectors):
            self.learned = loss.open(
                model.get_embedding_dimension(), taught.table.shape[-1]
            ).module.to(model.device)

    def forward(
        self, sentence_features: Iterable[Inputs], labels: PerQuery
    ) -> Scalar:
        """The loss of a batch whose labels are the numbers of its rows."""
        columns, read = self.read(list(sentence_features))
        device = columns[0].device
        rows = labels.long()
        if is_launched():
            # Every process sees the texts of all: negatives are those of the joint batch. The mean
            # of the processes' gradients is then that of one process.
            columns = [_of_all(column) for column in columns]
            rows = _of_all(rows)
        rows = rows.cpu()

        def of(table: Tensor | None) -> Tensor | None:
            return None if table is None else table[rows].to(device)

        mask = self.mask[rows].to(device)
        teaching: TeacherFields = {}
        if self.taught is not None:
            teaching = self.taught.of(rows, mask, self.scale)
        return self.loss(
            Lists(
                queries=columns[0],
                documents=torch.stack(columns[1:], dim=1),
                mask=mask,
                targets=of(self.targets),
                scale=self.scale,
                groups=of(self.groups),
                keys=of(self.keys),
                **read,
                **teaching,
            )
        )

    def read(self, features: list[Inputs]) -> tuple[list[Vectors], ReadFields]:
        """Unit vectors of each column, and what else the model makes of them."""
        from sentence_transformers.base.losses.merged_forward import (  # noqa: PLC0415
            embed_columns,
        )

        embedded = embed_columns(self.model, features)
        return [_unit(column) for column in embedded], {}


class HeadsModule(ListModule):
    """The same for a model of three heads (`finetune.students.three_heads`)."""

    def read(self, features: list[Inputs]) -> tuple[list[Vectors], ReadFields]:
        """Unit vectors of each column, and the scores of the other heads."""
        queries, *columns = (encode(self.model, one) for one in features)
        found = [likenesses(queries, column) for column in columns]
        heads = {}
        for head in ("sparse", "multi"):
            by_column = [scores[head] for scores in found]
            heads[head] = torch.stack(by_column, dim=-1)
        vectors = [queries.dense, *(column.dense for column in columns)]
        return vectors, {"heads": heads}


class PairModule(ListModule):
    """The same for a model whose scores a network makes of two vectors
    (`finetune.students.pair_parts`).
    """

    def read(self, features: list[Inputs]) -> tuple[list[Vectors], ReadFields]:
        """Unit vectors of each column, scores of all pairs and features of a query's own."""
        columns, _ = super().read(features)
        queries = columns[0]
        documents = torch.stack(columns[1:], dim=1)
        shape = (len(queries), *documents.shape)
        head = pair_head(self.model)
        pairs = head.features(
            queries[:, None, None].expand(shape), documents.expand(shape)
        )
        own = pairs.diagonal(dim1=0, dim2=1).permute(2, 0, 1)
        return columns, {"scores": head.score(pairs), "features": own}


class LayersModule(ListModule):
    """The same for a loss that compares the layers of two models."""

    def read(self, features: list[Inputs]) -> tuple[list[Vectors], ReadFields]:
        """Unit vectors of each column, and scores by layers at random."""
        count = getattr(self.taught, "count", 0)
        numbers = drawn(depth_of(self.model), count)
        columns = []
        for one in features:
            read = at_layers(self.model, one, numbers)
            vectors = [_unit(layer["sentence_embedding"]) for layer in read]
            columns.append(torch.stack(vectors))
        queries = columns[0][1:]
        texts = torch.stack(columns[1:], dim=2)[1:]
        scores = torch.einsum("lbd,lcnd->lbcn", queries, texts)
        last = [column[0] for column in columns]
        return last, {"layers": self.scale * scores}


def _unit(column: Tensor) -> Vectors:
    return torch.nn.functional.normalize(column.float(), dim=-1)


def _of_all(part: Tensor) -> Tensor:
    """A tensor's rows in all processes, by their ranks; gradients flow to each."""
    from sentence_transformers.util.distributed import all_gather  # noqa: PLC0415

    whole: Tensor = all_gather(part, with_grad=part.is_floating_point())
    return whole


def _targets(listed: Sequence[Listed], width: int) -> Scores | None:
    """[N, width] scores, 0 for absent texts; None where a row has none."""
    if any(row.scores is None for row in listed):
        return None
    return torch.tensor(
        [
            [*(row.scores or ())[:width], *[0.0] * (width - len(row.documents))]
            for row in listed
        ]
    )


def _keys(listed: Sequence[Listed], width: int) -> TextOrder:
    """[N, width] a number for each text, equal for equal ones."""
    numbers: dict[str, int] = {}
    rows = []
    for row in listed:
        texts = row.documents[:width]
        keys = [numbers.setdefault(text, len(numbers)) for text in texts]
        rows.append(keys + [-1] * (width - len(keys)))
    return torch.tensor(rows)


def _groups(listed: Sequence[Listed]) -> PerQuery | None:
    if not all(row.group for row in listed):
        return None
    numbers: dict[str, int] = {}
    return torch.tensor(
        [numbers.setdefault(row.group, len(numbers)) for row in listed]
    )
