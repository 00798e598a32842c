"""Tensors by their dimensions: every alias is a `torch.Tensor`, and its note names the dimensions
in order.

    batch        rows of a batch
    position     tokens of a row
    row          tokens of a batch in one line, those that count
    vocabulary   tokens of a tokenizer
    width        numbers of a hidden state
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from torch import Tensor

# A loss or a weight: one number.
Scalar = Annotated[Tensor, ""]

# Of a batch, shifted: position k predicts token k.
Logits = Annotated[Tensor, "batch position vocabulary"]
HiddenStates = Annotated[Tensor, "batch position width"]
AttentionMaps = Annotated[Tensor, "batch head query key"]
TokenIds = Annotated[Tensor, "batch position"]
# -100 (or any id, where a mask says so) at what is not learnt.
Labels = Annotated[Tensor, "batch position"]
# True where a token counts; numbers are weights.
Mask = Annotated[Tensor, "batch position"]
# Of each label, in nats.
LabelLogProbs = Annotated[Tensor, "batch position"]
PerSequence = Annotated[Tensor, "batch"]

# Of the tokens that count, all sequences in one line.
RowLogits = Annotated[Tensor, "row vocabulary"]
RowLogProbs = Annotated[Tensor, "row vocabulary"]
RowProbabilities = Annotated[Tensor, "row vocabulary"]
# The derivative of each row's value by its logits.
RowSlopes = Annotated[Tensor, "row vocabulary"]
RowStates = Annotated[Tensor, "row width"]
RowValues = Annotated[Tensor, "row"]
RowLabels = Annotated[Tensor, "row"]
# Places in the flat batch.
Positions = Annotated[Tensor, "row"]
ValuesAndSlopes = tuple[RowValues, RowSlopes]

# The likeliest tokens of each row, ids and log-probabilities.
TopIds = Annotated[Tensor, "row k"]
TopLogProbs = Annotated[Tensor, "row k"]

# What turns states into logits.
HeadWeight = Annotated[Tensor, "vocabulary width"]
HeadBias = Annotated[Tensor, "vocabulary"]

# What a model reads, by the names of its inputs.
Inputs = Mapping[str, Tensor]
# Of the next token of each sequence.
NextScores = Annotated[Tensor, "batch vocabulary"]
