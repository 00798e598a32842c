"""What a pack's retrieval export becomes: triplets, graded lists, margins."""

from __future__ import annotations

import pytest

import synth
from synth.core import registry
from synth.core.errors import WrongUse
from synth.core.strict_yaml import read_yaml
from synth.exports.base import pack_of
from synth.exports.base_retrieval import rrf
from synth.runs.publisher import RunFolder
from tests.conftest import chat, serving
from tests.shipped import shipped


def rehearsed(name, tmp_path):
    """A run over the cases of a pack that are kept."""
    pack = shipped(name)
    cases = [
        case
        for case in read_yaml(pack.folder / "cases.yaml")[0]["cases"]
        if case.get("ends", {}).get("kept")
    ]
    rows, settings = [case["inputs"] for case in cases], cases[0].get("set", {})
    run = synth.run(
        name,
        rows,
        teacher=dict.fromkeys(pack.roles, f"rehearsed/{name}"),
        output=tmp_path / name,
        overrides=settings,
    )
    return RunFolder(run.folder)


def made(run, to):
    return list(registry.build("synth.exports", to).rows(run, pack_of(run)))


def test_a_passage_that_fails_its_own_check_is_a_negative_and_its_own_positives_are_none(
    tmp_path,
):
    rows = made(rehearsed("syntriever", tmp_path), "triplets")
    held = [row for row in rows if "harrow" in row["anchor"]]
    assert [row["how"][0] for row in held] == ["gold", "written", "steps"]
    assert all(
        row["negatives"] == ["The light of Harrow is white and 20 m high."]
        for row in held
    )
    failed = [row for row in rows if "quay" in row["anchor"]]
    assert [row["how"][0] for row in failed] == ["gold", "steps"]
    assert "written, demoted" in failed[0]["how"]
    assert "The bell of Quay is old." in failed[0]["negatives"]
    positives = {row["positive"] for row in rows}
    assert not positives & {text for row in rows for text in row["negatives"]}


def test_fused_rankings_have_one_positive_and_the_bottom_is_the_negative(
    tmp_path,
):
    (row,) = made(rehearsed("gecko", tmp_path), "triplets")
    assert row["anchor"].endswith("when was the lighthouse of harrow built")
    assert row["positive"] != row["negatives"][0]
    assert rrf([[9, 4], [10, 2]])[0] > rrf([[9, 4], [10, 2]])[1]


def test_graded_lists_come_best_first_and_margins_are_differences(tmp_path):
    run = rehearsed("rank_passages", tmp_path)
    (row,) = made(run, "ranked")
    assert row["documents"] == [
        "Ann kept the light.",
        "The light is white.",
        "A bell.",
    ]
    assert row["scores"] == [1.0, 0.5, pytest.approx(1 / 3)]
    margins = made(run, "margins")
    assert margins[0] == {
        "id": row["id"],
        "anchor": row["query"],
        "positive": "Ann kept the light.",
        "negative": "A bell.",
        "label": 0.666667,
    }
    assert len(margins) == 3


def test_wins_are_counted_over_rows_of_one_query(tmp_path):
    texts = {"a": "A is best.", "b": "B is middling.", "c": "C is worst."}
    rows = [
        {"query": "q", "first": texts[x], "second": texts[y]}
        for x, y in ("ab", "bc", "ca")
    ]

    def answer(body, count):
        text = body["messages"][-1]["content"]
        tag = "better_turned" if "better_turned" in text else "better"
        first, second = (
            text.split(f"PASSAGE {side} =====\n")[1].split("\n")[0]
            for side in "KM"
        )
        return chat(f"<{tag}>{'K' if first < second else 'M'}</{tag}>")

    with serving(answer) as server:
        run = synth.run(
            "compare_passages",
            rows,
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    (row,) = made(RunFolder(run.folder), "ranked")
    assert dict(zip(row["documents"], row["scores"], strict=True)) == {
        texts["a"]: 1.0,
        texts["b"]: 0.5,
        texts["c"]: 0.0,
    }


def test_flat_columns_turned_anchors_and_groups(tmp_path):
    run = rehearsed("abstract_descriptions", tmp_path)
    flat = made(run, "triplets:flat=true,negatives=1")
    assert set(flat[0]) == {"id", "anchor", "positive", "negative_1", "how"}
    turned = made(run, "triplets:turned=true")
    assert turned[0]["positive"].startswith("The lighthouse of Harrow")
    assert "negatives" not in turned[0]
    assert (
        made(rehearsed("relation_pairs", tmp_path), "triplets")[0]["group"]
        == "part_of"
    )


def test_mined_negatives_keep_where_they_came_from(tmp_path):
    row, other, plain = made(rehearsed("negative_check", tmp_path), "triplets")
    assert row["how"] == ["positive", "bm25, rank 1"]
    assert other["positive"] == "The keeper was Ann."
    assert plain["how"] == ["positive", "given"]


def test_a_pack_without_the_export_is_refused(tmp_path):
    run = rehearsed("quotes", tmp_path)
    for to in ("triplets", "ranked", "margins", "triples", "conversation"):
        with pytest.raises(WrongUse, match="without a"):
            made(run, to)
