"""Arrays of numpy by their dimensions."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

# A teacher's k likeliest tokens at each learnt token of a row.
TopIdArray = Annotated[NDArray[np.int64], "token k"]
TopLogArray = Annotated[NDArray[np.float32], "token k"]
# 8 bits a log-probability.
Codes = Annotated[NDArray[np.uint8], "token k"]

# Texts, or pairs of texts, as a critic over a frozen encoder sees them.
VectorArray = Annotated[NDArray[np.float32], "text width"]
FeatureArray = Annotated[NDArray[np.float64], "pair feature"]
WeightArray = Annotated[NDArray[np.float64], "feature"]
ShareArray = Annotated[NDArray[np.float64], "pair"]
LabelArray = Annotated[NDArray[np.bool_], "pair"]

# Hidden states of a student, each at one token of a text.
StateArray = Annotated[NDArray[np.float32], "text width"]
StatesByLayer = Annotated[NDArray[np.float32], "text layer width"]
