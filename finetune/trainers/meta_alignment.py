"""Meta-learning over three stages of rows, such as one language, two and many (MAML-Align,
arXiv:2309.08185).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor

from finetune.core.tensors import Inputs, PerSequence, Scalar
from finetune.data.instructions import by_task
from finetune.data.query_lists import Listed
from finetune.list_losses.base import Lists, in_batch
from finetune.trainers.given_numbers import check_whole, finite

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

META = "maml_align"
_STAGES = 3
# Rows of the stages are put together in the same way in every run.
_SEED = 0

# Unit vectors of queries and of the texts that answer them.
Encoded = tuple[
    Annotated[Tensor, "query width"], Annotated[Tensor, "query width"]
]
Weights = Mapping[str, Tensor]


class MetaAlignment(torch.nn.Module):
    """L(second; W1) + L(third; W2) + align MSE(vectors of the second by W2, by W1).

    W are the weights, W1 those after `steps` steps of gradient descent on the first stage, and W2
    those after as many on the second. So the teacher, W1, is what learns the second stage from the
    first, and the student, W2, what learns the third from the second. L is InfoNCE among the first
    texts of a batch. The slope is taken at W1 and W2 and applied to W (first-order MAML,
    arXiv:1703.03400), and the teacher's vectors are fixed.

    Args:
        model: an encoder with a vector a text.
        listed: rows of three tasks, the stages, in the order of their first rows.
        scale: 1 / temperature.
        rate: of a step of gradient descent, above 0.
        steps: 1 or more.
        align: weight of the vectors, 0 or more.

    Raises:
        ValueError: rows of fewer or more than three tasks, a task with one text alone, or
            parameters out of range.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        listed: Sequence[Listed],
        *,
        scale: float,
        rate: float = 0.01,
        steps: int = 1,
        align: float = 1.0,
    ) -> None:
        super().__init__()
        stages = by_task(listed)
        if len(stages) != _STAGES or "" in stages:
            named = ", ".join(stages)
            raise ValueError(f"rows of the tasks {named or 'none'}, not three")
        for name, places in stages.items():
            texts = {listed[place].documents[0] for place in places}
            if len(texts) < 2:
                raise ValueError(
                    f"one text in all rows of the task {name}, which is compared with no other"
                )
        check_parameters(rate=rate, steps=steps, align=align)
        self.model = model
        self.scale = scale
        self.rate = rate
        self.steps = steps
        self.align = align
        self.stages = _beside(list(stages.values()))
        self.listed = listed
        numbers: dict[str, int] = {}
        for row in listed:
            numbers.setdefault(row.documents[0], len(numbers))
        keys = [numbers[row.documents[0]] for row in listed]
        self.keys = torch.tensor(keys)

    def columns(self) -> dict[str, Sequence[object]]:
        """A query and a text of each stage in a row, and the row's number as its label."""
        columns: dict[str, Sequence[object]] = {}
        for stage, places in enumerate(self.stages):
            rows = [self.listed[place] for place in places]
            queries = [row.query for row in rows]
            texts = [row.documents[0] for row in rows]
            columns[f"anchor_{stage}"] = queries
            columns[f"positive_{stage}"] = texts
        count = len(self.stages[0])
        columns["label"] = list(range(count))
        return columns

    def forward(
        self, sentence_features: Iterable[Inputs], labels: PerSequence
    ) -> Scalar:
        """The loss of a batch of all three stages."""
        features = list(sentence_features)
        first = features[:2]
        second = features[2:4]
        third = features[4:]
        numbers = labels.long().tolist()
        keys = []
        for places in self.stages:
            rows = [places[number] for number in numbers]
            keys.append(self.keys[rows])
        teacher = self._adapted(first, keys[0])
        student = self._adapted(second, keys[1])
        known = self._read(second, teacher)
        of_teacher = self._loss(known, keys[1])
        read = self._read(third, student)
        of_student = self._loss(read, keys[2])
        loss = of_teacher + of_student
        if not self.align:
            return loss
        said = self._read(second, student)
        wanted = torch.cat(known).detach()
        apart = torch.cat(said) - wanted
        squares = apart.square().sum(dim=-1)
        return loss + self.align * squares.mean()

    def _adapted(self, features: list[Inputs], keys: Tensor) -> Weights:
        """The weights after steps on one stage; their slope by the weights before is 1."""
        names, weights = zip(*_learning(self.model), strict=True)
        for _ in range(self.steps):
            there = dict(zip(names, weights, strict=True))
            loss = self._loss(self._read(features, there), keys)
            slopes = torch.autograd.grad(loss, weights, allow_unused=True)
            pairs = zip(weights, slopes, strict=True)
            weights = tuple(self._moved(*pair) for pair in pairs)
        return dict(zip(names, weights, strict=True))

    def _moved(self, weight: Tensor, slope: Tensor | None) -> Tensor:
        """A weight after a step; one that a loss does not read stays."""
        if slope is None:
            return weight
        return weight - self.rate * slope

    def _read(self, features: list[Inputs], weights: Weights) -> Encoded:
        """What the model with other weights makes of queries and texts."""
        made = []
        for one in features:
            found: Any = torch.func.functional_call(
                self.model, dict(weights), (dict(one),)
            )
            vectors = found["sentence_embedding"].float()
            made.append(torch.nn.functional.normalize(vectors, dim=-1))
        return made[0], made[1]

    def _loss(self, encoded: Encoded, keys: Tensor) -> Scalar:
        queries, texts = encoded
        # A list of one text each.
        numbers = keys[:, None].to(texts.device)
        lists = Lists(
            queries=queries,
            documents=texts[:, None],
            mask=torch.ones_like(numbers, dtype=torch.bool),
            scale=self.scale,
            keys=numbers,
        )
        surprises = in_batch(lists)
        return surprises.mean()


def check_parameters(
    *, rate: object = 0.01, steps: object = 1, align: object = 1.0
) -> None:
    """Checks what a command line gives `MetaAlignment`.

    Raises:
        TypeError: a parameter that it has not.
        ValueError: one of another kind, or out of range.
    """
    if finite("rate", rate) <= 0:
        raise ValueError(f"rate={rate}, which is not above 0")
    if finite("align", align) < 0:
        raise ValueError(f"align={align}, which is below 0")
    check_whole("steps", steps, 1)


def _learning(model: SentenceTransformer) -> list[tuple[str, Tensor]]:
    """The weights that learn, by their names."""
    return [
        (name, weight)
        for name, weight in model.named_parameters()
        if weight.requires_grad
    ]


def _beside(stages: list[list[int]]) -> list[list[int]]:
    """Rows of the stages side by side, in random order, those of shorter stages several times.

    >>> [len(set(places)) for places in _beside([[0, 1, 2], [3, 4], [5]])]
    [3, 2, 1]
    """
    draw = random.Random(_SEED)
    longest = max(map(len, stages))
    made = []
    for places in stages:
        count = len(places)
        mixed = draw.sample(places, count)
        again = -(-longest // count)
        filled = mixed * again
        made.append(filled[:longest])
    return made
