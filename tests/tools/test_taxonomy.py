from __future__ import annotations

import json

import networkx as nx
import pytest
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


@pytest.mark.long
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


@given(EDGES, st.integers(1, 2))
def test_the_graph_has_no_cycle_and_no_edge_could_be_added(edges, parents):
    chosen = clean(edges, most=15, parents=parents)
    graph = nx.DiGraph((child, parent) for child, parent, _ in chosen)
    assert nx.is_directed_acyclic_graph(graph)
    best = {}
    for edge in sorted(set(edges), key=lambda e: (e[2], e[0], e[1])):
        if edge[2] <= 15 and edge[0] != edge[1]:
            best.setdefault(edge[0], []).append(edge)
    for held in best.values():
        for child, parent, perplexity in held[:parents]:
            if (child, parent, perplexity) in chosen or graph.has_edge(
                child, parent
            ):
                continue
            # It was left out since its parent is a kind of its child.
            assert nx.has_path(graph, parent, child)


def command_over(tmp_path, rows, *more):
    source = write(tmp_path / "edges.jsonl", rows)
    out = tmp_path / "kept.jsonl"
    words = ["taxonomy", "--input", str(source), "--output", str(out), *more]
    result = CliRunner().invoke(main, words)
    return result, out


@pytest.mark.parametrize("value", ["high", None, [1], {"a": 1}, ""])
def test_a_perplexity_that_is_no_number_is_named_with_its_row(tmp_path, value):
    edge = {"child": "dory", "parent": "boat", "perplexity": 2.0}
    result, out = command_over(tmp_path, [edge, {**edge, "perplexity": value}])
    assert result.exit_code == 2
    assert f"edges.jsonl row 2: found perplexity {value!r}" in result.output
    assert not out.exists()


def test_a_model_scores_only_the_edges_without_a_perplexity(
    tmp_path, monkeypatch
):
    asked = []

    def score(pairs, prompts, model):
        asked.append((pairs, prompts, model))
        return [(*pair, 7.0) for pair in pairs]

    monkeypatch.setattr("synth.tools.taxonomy.score", score)
    rows = [
        {"child": "dory", "parent": "boat", "perplexity": "2.5"},
        {"child": "boat", "parent": "vessel", "prompt": "a boat is a "},
    ]
    result, out = command_over(tmp_path, rows, "--model", "m")
    assert result.exit_code == 0, result.output
    assert asked == [([("boat", "vessel")], ["a boat is a "], "m")]
    kept = [json.loads(line) for line in out.read_text().splitlines()]
    assert [edge["perplexity"] for edge in kept] == [2.5, 7.0]
    result, _ = command_over(tmp_path, rows)
    assert result.exit_code == 2
    assert "row 2: found columns child, parent, prompt" in result.output
