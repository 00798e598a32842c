"""Which layers learn from which."""

from __future__ import annotations

import pytest

from finetune.trainers.layer_maps import read_map
from synth.core.errors import WrongUse


@pytest.mark.parametrize(
    ("layers", "student", "teacher", "wanted"),
    [
        ("last", 2, 6, ((2,), (6,))),
        ("uniform", 4, 12, ((1, 2, 3, 4), (3, 6, 9, 12))),
        ("uniform", 2, 3, ((1, 2), (2, 3))),
        ("all", 2, 2, ((1, 2), (1, 2))),
        (("0-0", "1-4"), 2, 6, ((0, 1), (0, 4))),
        ("2", 2, 6, ((2,), (2,))),
        (("1", "2-5"), 2, 6, ((1, 2), (1, 5))),
    ],
)
def test_layers_are_paired(layers, student, teacher, wanted):
    assert read_map(layers, student, teacher, "rkd") == wanted


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ("lst", "no pair of numbers"),
        ("3-1", "layers 0 to 2 of the student"),
        ("1-7", "0 to 6 of the teacher"),
        ("1-", "no pair of numbers"),
        ("all", "2 layers of the student, 6 of the teacher"),
    ],
)
def test_layers_that_are_not_there_are_named(layers, says):
    with pytest.raises(WrongUse, match="--loss rkd") as caught:
        read_map(layers, 2, 6, "rkd")
    assert says in str(caught.value)
