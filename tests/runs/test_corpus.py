"""Filters that see all rows, on files: the verdicts are those on rows in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.core.records import Row, Verdict
from synth.filters.base import CorpusFilter
from synth.filters.exact_duplicate import ExactDuplicate
from synth.filters.near_duplicate import NearDuplicate
from synth.filters.quota import Quota
from synth.runs.corpus import Corpus, judged


@dataclass(frozen=True, kw_only=True)
class Every(CorpusFilter):
    """Cannot judge every third row, and holds them all."""

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        return [
            Verdict(
                None if place % 3 == 0 else place % 3 == 1, "", {"p": place}
            )
            for place in range(len(rows))
        ]


@dataclass(frozen=True, kw_only=True)
class Careless(CorpusFilter):
    """Gives so many verdicts more than there are rows."""

    more: int = 0

    def judge_group(self, rows: Sequence[Row]) -> list[Verdict]:
        return [Verdict(True, "", {})] * (len(rows) + self.more)


FILTERS = st.lists(
    st.sampled_from(
        [
            ExactDuplicate(),
            ExactDuplicate(mode="mark"),
            ExactDuplicate(fields=["question", "kind"], folded=False),
            NearDuplicate(words=1, similarity=0.5),
            NearDuplicate(field="kind", words=1, similarity=0.6, mode="mark"),
            Quota(field="kind", most=2),
            Quota(field="kind", most=1, by="size"),
            Every(unknown="drop"),
            Every(unknown="keep"),
        ]
    ),
    max_size=4,
)
WORDS = st.lists(st.sampled_from(["a", "b", "ä", "春", "7", "8"]), max_size=5)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "question": st.one_of(st.none(), WORDS.map(" ".join)),
            "kind": st.sampled_from(["x", "y y", ""]),
            "size": st.integers(0, 3),
            "reply": WORDS.map(" ".join),
        }
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(rows=ROWS, filters=FILTERS, a_file=st.integers(1, 5))
def test_rows_of_files_are_judged_as_rows_in_memory(
    tmp_path_factory, rows, filters, a_file
):
    folder = tmp_path_factory.mktemp("run") / "data"
    folder.mkdir()
    schema = pa.schema(
        {
            "question": pa.string(),
            "kind": pa.string(),
            "size": pa.int64(),
            "reply": pa.string(),
            "meta": pa.struct({"n": pa.int64()}),
        }
    )
    for start in range(0, len(rows), a_file):
        part = [
            {**row, "meta": {"n": 1}} for row in rows[start : start + a_file]
        ]
        table = pa.Table.from_pylist(part, schema)
        pq.write_table(table, folder / f"train-{start:05}.parquet")
    found = list(judged(filters, folder))
    assert [
        (left.get("reason"), [word["keep"] for word in words])
        for words, left in found
    ] == in_memory(filters, rows)
    assert list(folder.parent.iterdir()) == [folder]


def in_memory(filters, rows):
    """(reason, what each filter says that sees it) of each row."""
    left = [None] * len(rows)
    words = [[] for _ in rows]
    for part in filters:
        places = [place for place, reason in enumerate(left) if reason is None]
        seen = [
            {name: rows[place][name] for name in (*part.needs(), "reply")}
            for place in places
        ]
        for place, verdict in zip(places, part.judge_group(seen), strict=True):
            keeps = part.keeps(verdict)
            words[place].append(True if keeps else verdict.keep)
            if not keeps:
                left[place] = verdict.reason or "unknown_" + part.name
    return list(zip(left, words, strict=True))


def test_a_corpus_is_gone_through_again_and_again(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    table = pa.table(
        {"question": [f"q{n}" for n in range(3000)], "other": [0] * 3000}
    )
    pq.write_table(table, folder / "train-00000.parquet")
    stays = bytearray(n % 2 for n in range(3000))
    corpus = Corpus(folder, ["question", "nowhere"], stays)
    assert len(corpus) == 1500
    wanted = [{"question": f"q{n}"} for n in range(1, 3000, 2)]
    assert list(corpus) == list(corpus) == wanted
    assert {"question": "q1"} in corpus
    assert {"question": "q2"} not in corpus


@pytest.mark.parametrize("more", [-1, 1, -3])
def test_a_filter_that_gives_another_number_of_verdicts_is_named(
    more, tmp_path
):
    rows = [{"question": str(n)} for n in range(3)]
    with pytest.raises(WrongUse, match=r"filter careless: found .* verdicts"):
        Careless(more=more).split(rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "0.parquet")
    with pytest.raises(WrongUse, match=r"filter careless: found .* verdicts"):
        list(judged([Careless(more=more)], tmp_path))
    assert Careless().split(rows)[0]
