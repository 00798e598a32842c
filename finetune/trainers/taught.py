"""What a frozen teacher makes of the training's texts: each is read once, before the training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import torch
from torch import Tensor

from finetune.core.list_tensors import (
    BatchScores,
    LayerScores,
    Scores,
    TextMask,
    TextVectors,
)
from finetune.core.tensors import Inputs
from finetune.data.query_lists import Listed
from finetune.list_losses.base import Lists
from finetune.scoring.word_scores import WordScorer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


# What a model makes of a text: a tensor, or those of its heads.
Encoding = Any
# Texts -> an encoding of each.
Encode = Callable[..., Sequence[Encoding]]


class ListTexts:
    """The texts of rows, by their numbers.

    Args:
        listed: the training rows.
        width: texts a row.
    """

    def __init__(self, listed: Sequence[Listed], width: int) -> None:
        self.queries = [row.query for row in listed]
        self.texts = [row.documents[:width] for row in listed]
        self.width = width

    def of(self, rows: Tensor) -> tuple[list[str], list[str]]:
        """The queries of some rows, and the texts of all of them, each row's first one again
        where it has too few.
        """
        numbers = rows.tolist()
        queries = [self.queries[row] for row in numbers]
        texts = [text for row in numbers for text in self._filled(row)]
        return queries, texts

    def _filled(self, row: int) -> list[str]:
        texts = self.texts[row]
        absent = self.width - len(texts)
        return [*texts, *[texts[0]] * absent]


class TeacherFields(TypedDict, total=False):
    """The fields of `Lists` that a teacher fills."""

    teacher: Lists
    teacher_scores: BatchScores
    teacher_features: TextVectors
    ranker: Scores
    teacher_layers: LayerScores


class TaughtVectors:
    """A vector for each text.

    Args:
        teacher: a frozen encoder with a vector a text.
        listed: the training rows.
        width: texts a row.

    Attributes:
        table: [N, 1 + width, D] unit vectors: query, texts, zeros for absent ones.
    """

    def __init__(
        self,
        teacher: SentenceTransformer,
        listed: Sequence[Listed],
        width: int,
    ) -> None:
        self.table = _vectors(teacher, listed, width)

    def of(self, rows: Tensor, mask: TextMask, scale: float) -> TeacherFields:
        """What the losses read of the rows of a batch."""
        vectors = self.table[rows].to(mask.device)
        teacher = Lists(
            queries=vectors[:, 0],
            documents=vectors[:, 1:],
            mask=mask,
            scale=scale,
        )
        return {"teacher": teacher}


class TaughtScores:
    """Scores of a teacher of any kind, by its own likeness: MaxSim of token vectors, products of
    vocabulary weights, cosines.

    Args:
        teacher: a frozen encoder that encodes queries and texts apart.
        listed: the training rows.
        width: texts a row.
    """

    def __init__(
        self,
        teacher: SentenceTransformer,
        listed: Sequence[Listed],
        width: int,
    ) -> None:
        self.teacher = teacher
        self.rows = ListTexts(listed, width)
        texts = [text for row in self.rows.texts for text in row]
        self.of_queries = _encoded(teacher.encode_query, self.rows.queries)
        self.of_texts = _encoded(teacher.encode_document, texts)

    def of(self, rows: Tensor, mask: TextMask, scale: float) -> TeacherFields:
        """What the losses read of the rows of a batch; `scale` plays no part."""
        del scale
        queries, texts = self.rows.of(rows)
        left = _together([self.of_queries[query] for query in queries])
        right = _together([self.of_texts[text] for text in texts])
        scores = self.teacher.similarity(left, right)
        shape = (len(queries), *mask.shape)
        found = scores.float().reshape(shape).to(mask.device)
        return {"teacher_scores": found}


class TaughtPairs:
    """What a language model makes of queries and texts behind its prompt.

    Args:
        teacher: a language model with its template.
        listed: the training rows.
        width: texts a row.
        wants: `features` for its states of each query's own texts, which are read once, and
            `judgements` for its scores of all texts of a batch, each of which is asked once.

    Attributes:
        table: [N, width, D] states, zeros for absent texts; None where none are wanted.
    """

    def __init__(
        self,
        teacher: WordScorer,
        listed: Sequence[Listed],
        width: int,
        wants: Collection[str],
    ) -> None:
        self.teacher = teacher
        self.rows = ListTexts(listed, width)
        self.judges = "judgements" in wants
        self.known: dict[tuple[str, str], float] = {}
        self.table: TextVectors | None = None
        if "features" in wants:
            self.table = self._states(width)

    def of(self, rows: Tensor, mask: TextMask, scale: float) -> TeacherFields:
        """What the losses read of the rows of a batch; `scale` plays no part."""
        del scale
        found: TeacherFields = {}
        if self.table is not None:
            found["teacher_features"] = self.table[rows].to(mask.device)
        if self.judges:
            scores = self._scores(rows).reshape(len(rows), *mask.shape)
            found["teacher_scores"] = scores.to(mask.device)
        return found

    def _states(self, width: int) -> TextVectors:
        lists = list(zip(self.rows.queries, self.rows.texts, strict=True))
        pairs = [(query, text) for query, texts in lists for text in texts]
        states = self.teacher.states(pairs)
        table = states.new_zeros(len(lists), width, states.shape[1])
        start = 0
        for place, (_, texts) in enumerate(lists):
            end = start + len(texts)
            table[place, : len(texts)] = states[start:end]
            start = end
        return table

    def _scores(self, rows: Tensor) -> Tensor:
        """Of each query with each text of the batch."""
        queries, texts = self.rows.of(rows)
        pairs = [(query, text) for query in queries for text in texts]
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.known]
        said = self.teacher.scores(new)
        self.known.update(zip(new, said, strict=True))
        return torch.tensor([self.known[pair] for pair in pairs])


class Ranker(torch.nn.Module):
    """A model that reads a query and a text together, and learns beside the student.

    Args:
        model: a CrossEncoder.
        listed: the training rows.
        width: texts a row.
    """

    # The folder in OUTPUT that it is kept in.
    kept_as = "ranker"

    def __init__(
        self, model: SentenceTransformer, listed: Sequence[Listed], width: int
    ) -> None:
        super().__init__()
        self.reader = model
        self.listed = [(row.query, row.documents[:width]) for row in listed]
        self.width = width

    def of(self, rows: Tensor, mask: TextMask, scale: float) -> TeacherFields:
        """Its scores of the texts of a batch, with gradient; `scale` plays no part."""
        del scale
        pairs = []
        for row in rows.tolist():
            query, texts = self.listed[row]
            pairs += [(query, text) for text in texts]
        features = self.reader.preprocess(pairs)
        on_device = placed(features, mask.device)
        said = self.reader(on_device)["scores"].float().squeeze(-1)
        scores = said.new_zeros(mask.shape)
        return {"ranker": scores.masked_scatter(mask, said)}


class Taught(Protocol):
    """What a teacher makes of the rows of a batch."""

    def of(self, rows: Tensor, mask: TextMask, scale: float) -> TeacherFields:
        """The fields of `Lists` that a loss reads."""


def taught_by(
    kind: str,
    teacher: SentenceTransformer,
    listed: Sequence[Listed],
    width: int,
) -> Taught:
    """What a teacher of a kind (bi, multi, sparse) makes of the rows."""
    made = TaughtVectors if kind == "bi" else TaughtScores
    with torch.no_grad():
        return made(teacher, listed, width)


def placed(features: Inputs, device: torch.device) -> Inputs:
    """Texts as a tokenizer read them, on a device; what is no tensor stays as it is."""
    return {
        name: part.to(device) if isinstance(part, Tensor) else part
        for name, part in features.items()
    }


def _encoded(encode: Encode, texts: Sequence[str]) -> dict[str, Encoding]:
    """Each text once."""
    unique = list(dict.fromkeys(texts))
    encoded = encode(unique, show_progress_bar=False)
    return dict(zip(unique, encoded, strict=True))


def _together(encoded: list[Encoding]) -> list[Encoding] | Tensor:
    """Vectors as one tensor; vectors of tokens and what heads made as they are."""
    if isinstance(encoded[0], Tensor) and encoded[0].dim() == 1:
        return torch.stack(encoded)
    return encoded


def _vectors(
    teacher: SentenceTransformer, listed: Sequence[Listed], width: int
) -> TextVectors:
    """[N, 1 + width, D] unit vectors of a frozen model, each text embedded once."""
    texts = list(
        dict.fromkeys(
            text
            for row in listed
            for text in (row.query, *row.documents[:width])
        )
    )
    table = (
        teacher.encode(
            texts,
            convert_to_tensor=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        .detach()
        .float()
        .cpu()
    )
    positions = {text: position for position, text in enumerate(texts)}
    table = torch.cat([table, torch.zeros(1, table.shape[1])])
    absent = len(texts)
    index = []
    for row in listed:
        own = [positions[text] for text in (row.query, *row.documents[:width])]
        index.append(own + [absent] * (1 + width - len(own)))
    return table[torch.tensor(index)]
