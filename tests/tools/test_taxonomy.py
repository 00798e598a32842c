from __future__ import annotations

import json

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from synth.cli import main
from synth.tools.taxonomy import clean
from tests import tiny
from tests.conftest import write

EDGES = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.sampled_from("abcdef"), st.floats(1, 20)
    ),
    max_size=25,
)


@given(EDGES, st.integers(1, 3))
def test_no_cycle_is_left_and_no_term_has_too_many_parents(edges, parents):
    found = clean(edges, most=15, parents=parents)
    assert set(found) <= set(edges)
    assert all(edge[2] <= 15 for edge in found)
    up = {}
    for child, parent, _ in found:
        up.setdefault(child, []).append(parent)
    assert all(len(held) <= parents for held in up.values())

    def leads_back(term, path):
        return term in path or any(
            leads_back(parent, {*path, term}) for parent in up.get(term, [])
        )

    assert not any(leads_back(term, set()) for term in up)


@given(EDGES)
def test_the_order_of_edges_plays_no_part(edges):
    assert clean(edges, most=20) == clean(edges[::-1], most=20)


def test_a_cycle_loses_its_worst_edge():
    assert ("c", "a", 9.0) not in clean(
        [("a", "b", 1.0), ("b", "c", 2.0), ("c", "a", 9.0)], most=10
    )


def test_the_command_scores_edges_with_a_model(tmp_path):
    model = tiny.causal()
    edges = write(
        tmp_path / "edges.jsonl",
        [
            {"child": "dory", "parent": name, "prompt": "a dory is a "}
            for name in ("boat", "fish")
        ],
    )
    out = tmp_path / "kept.jsonl"
    result = CliRunner().invoke(
        main,
        [
            "taxonomy",
            "--input",
            str(edges),
            "--output",
            str(out),
            "--model",
            str(model),
            "--most",
            "1000000",
        ],
    )
    assert result.exit_code == 0, result.output
    (kept,) = map(json.loads, out.read_text().splitlines())
    assert kept["perplexity"] >= 1
    broken = write(tmp_path / "broken.jsonl", [{"child": "dory"}])
    assert (
        CliRunner()
        .invoke(
            main, ["taxonomy", "--input", str(broken), "--output", str(out)]
        )
        .exit_code
        == 2
    )
