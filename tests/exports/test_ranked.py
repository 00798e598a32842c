"""See test_triplets.py; here: a query with a single text."""

from __future__ import annotations

from synth.exports.ranked import Ranked
from tests.exports.test_triplets import made, rehearsed


def test_a_list_of_one_teaches_nothing(tmp_path):
    run = rehearsed("translated_views", tmp_path)
    assert made(run, "ranked") == []
    assert made(run, "ranked:least=1")[0]["scores"] == [0.9]
    assert Ranked().least == 2
