"""Tensors of retrievers and rankers: a batch of B queries with n texts each."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor

Vectors = Annotated[Tensor, "text width"]
QueryVectors = Annotated[Tensor, "query width"]
TextVectors = Annotated[Tensor, "query text width"]
Scores = Annotated[Tensor, "query text"]
TextMask = Annotated[Tensor, "query text"]
TextOrder = Annotated[Tensor, "query text"]
BatchScores = Annotated[Tensor, "query list text"]
LayerScores = Annotated[Tensor, "layer query list text"]
PerQuery = Annotated[Tensor, "query"]
