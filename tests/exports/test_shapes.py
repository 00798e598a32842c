"""Every export over runs of one's own making: shapes, bounds, weights, and fields that are missing."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.records import Verdict
from synth.exports import margins, triplets
from synth.exports.base_retrieval import Document, Listing
from synth.exports.labelled import Labelled
from synth.exports.margins import Margins
from synth.exports.mined_pairs import MinedPairs, components
from synth.exports.triples import Triples
from synth.exports.triplets import Triplets


class Run:
    """A published run in memory."""

    def __init__(self, kept, dropped=()):
        self.parts = {"data": list(kept), "dropped": list(dropped)}

    def rows(self, part="data"):
        return iter(self.parts[part])


LISTINGS = st.lists(
    st.tuples(
        st.just({})
        | st.dictionaries(
            st.text("abcdef", min_size=1, max_size=3),
            st.integers(0, 10).map(lambda n: n / 10),
            min_size=4,
            max_size=7,
        ),
        st.booleans(),
        st.sampled_from(["", "group"]),
    ),
    max_size=4,
)


def listings_of(made):
    """Listings with a text once each."""
    return [
        Listing(
            str(number),
            f"query {number}",
            tuple(Document(text, grade, "x") for text, grade in texts.items()),
            fused,
            group,
        )
        for number, (texts, fused, group) in enumerate(made)
    ]


def exported(module, part, made):
    """What an export makes of listings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "listings", lambda *_: iter(listings_of(made)))
        return list(part.rows(None, None))


@given(LISTINGS, st.integers(0, 5), st.sampled_from(["bottom", "top"]))
def test_triplets_have_a_row_for_each_text_that_answers(made, most, pick):
    rows = exported(triplets, Triplets(negatives=most, pick=pick), made)
    for listing in listings_of(made):
        right, wrong = listing.sides()
        mine = [row for row in rows if row["id"] == listing.id]
        assert [row["positive"] for row in mine] == [d.text for d in right]
        grade_of = {document.text: document.grade for document in wrong}
        for row in mine:
            assert row["anchor"] == listing.query
            assert len(row["negatives"]) == min(most, len(wrong))
            assert len(row["how"]) == 1 + len(row["negatives"])
            assert ("group" in row) == bool(listing.group)
            grades = [grade_of[text] for text in row["negatives"]]
            assert grades == sorted(grades, reverse=pick == "top")
            chosen = sorted(grade_of.values(), reverse=pick == "top")[:most]
            assert grades == pytest.approx(chosen)


@given(LISTINGS, st.sampled_from([1e-9, 0.25, 0.5]), st.integers(1, 20))
def test_margins_are_all_differences_the_largest_first(made, least, most):
    rows = exported(margins, Margins(least=least, most=most), made)
    for listing in listings_of(made):
        mine = [row for row in rows if row["id"] == listing.id]
        gaps = [
            one.grade - two.grade
            for one in listing.documents
            for two in listing.documents
            if one.grade - two.grade >= least
        ]
        assert [row["label"] for row in mine] == pytest.approx(
            sorted(gaps, reverse=True)[:most], abs=1e-6
        )
        grade_of = {d.text: d.grade for d in listing.documents}
        for row in mine:
            gap = grade_of[row["positive"]] - grade_of[row["negative"]]
            assert row["label"] == pytest.approx(gap, abs=1e-6)


def draw(text, reason="", score=None, **more):
    marks = {} if score is None else {"score": score}
    verdict = Verdict(not reason, reason, marks, "critic")
    row = {"id": "a", "prompt": "p", "completion": text, "answer": text[-1:]}
    return {
        **row,
        "reason": reason,
        "meta": {"verdicts": [verdict.struct()]},
        **more,
    }


SCORES = st.none() | st.integers(0, 10).map(lambda n: n / 10)


@given(st.lists(SCORES, max_size=4), st.lists(SCORES, max_size=4))
def test_right_rows_weigh_their_score_and_wrong_ones_what_is_missing(
    right, wrong
):
    run = Run(
        [draw(f"r{n}", score=score) for n, score in enumerate(right)],
        [draw(f"w{n}", "wrong_step", score) for n, score in enumerate(wrong)],
    )
    rows = list(Labelled(by="critic.score", wrong=-0.5).rows(run, None))
    weights = [row["weight"] for row in rows]
    wanted = [1.0 if score is None else score for score in right]
    wanted += [-0.5 if score is None else score - 1 for score in wrong]
    assert weights == pytest.approx(wanted)
    labels = [row["label"] for row in rows]
    assert labels == [True] * len(right) + [False] * len(wrong)


class Plain:
    """A template of one field."""

    def __init__(self, name):
        self.name = name

    def render(self, values):
        return str(values.get(self.name) or "")


SIDES = {name: Plain(name) for name in ("head", "relation", "tail", "when")}
PACK = SimpleNamespace(
    name="made",
    values=dict,
    exports={"triples": {"triples": SIDES}},
    spec=SimpleNamespace(
        exports=SimpleNamespace(triples=SimpleNamespace(each="made"))
    ),
)
FACTS = st.lists(
    st.fixed_dictionaries(
        {
            "head": st.sampled_from(["Ann", "ann ", "Bo", ""]),
            "relation": st.sampled_from(["likes", " "]),
            "tail": st.sampled_from(["tea", "rain"]),
            "when": st.sampled_from(["yes", "false", "0", "1", ""]),
        }
    ),
    max_size=6,
)


@given(st.lists(FACTS, max_size=3))
def test_each_triple_stands_once_and_a_head_in_one_split(lists):
    rows = [
        {"id": str(n), "made": json.dumps(made), "meta": {"teacher": "t"}}
        for n, made in enumerate(lists)
    ]
    found = list(Triples(held_out=(0.4, 0.4)).rows(Run(rows), PACK))
    triples = [(row["head"], row["relation"], row["tail"]) for row in found]
    assert len(triples) == len(set(triples))
    assert all(all(triple) for triple in triples)
    said = {
        (fact["head"].strip(), fact["relation"].strip(), fact["tail"])
        for made in lists
        for fact in made
    }
    assert set(triples) <= said


def test_a_head_has_one_split_however_it_is_written():
    split = Triples(held_out=(0.4, 0.4)).split
    for number in range(40):
        head = f"Straße {number}"
        assert split(head) == split(head.upper()) == split(head.casefold())


@pytest.mark.parametrize("name", ["triples", "conversation", "messages"])
def test_a_pack_without_the_export_is_named(name):
    empty = SimpleNamespace(triples=None, conversation=None, messages=None)
    pack = SimpleNamespace(
        name="made", exports={}, spec=SimpleNamespace(exports=empty)
    )
    with pytest.raises(WrongUse) as error:
        list(registry.build("synth.exports", name).rows(Run([]), pack))
    said = str(error.value)
    assert said.startswith(f"--to {name}: found pack made")
    assert "See `synth show`." in said


GRAPH = st.lists(st.tuples(*[st.sampled_from("abcdefg")] * 2), max_size=10)


@given(GRAPH)
def test_components_are_those_of_networkx(edges):
    texts = "abcdefg"
    graph = nx.Graph()
    graph.add_nodes_from(texts)
    graph.add_edges_from(edges)
    root_of = components(texts, edges)
    for part in nx.connected_components(graph):
        assert {root_of[text] for text in part} == {min(part, key=texts.index)}


WORDS = st.lists(st.sampled_from(["red", "old", "pen", "3"]), max_size=6)


@given(st.lists(WORDS.map(" ".join), max_size=5, unique=True))
def test_a_mined_pair_is_of_alike_lengths_and_equal_numbers(texts):
    part = MinedPairs(most_alike=0.9)
    pairs = list(part.pairs(texts))
    sources = Counter(source for _, source, _ in pairs)
    assert all(count == 1 for count in sources.values())
    for score, source, target in pairs:
        assert source != target
        assert 0.8 <= len(target) / len(source) <= 1.5
        assert source.count("3") == target.count("3")
        others = [other for other in texts if other != source]
        assert score == min(
            rouge
            for other in others
            if part.fits(source, other)
            for rouge in [score_of(source, other)]
        )


def score_of(one, two):
    """ROUGE-L by a slow table of all places."""
    left, right = one.split(), two.split()
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, word in enumerate(left):
        for j, other in enumerate(right):
            longest = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if word == other else longest
    return 2 * table[-1][-1] / max(1, len(left) + len(right))
