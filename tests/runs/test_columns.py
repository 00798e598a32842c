"""No value of a seed, a reply or a filter keeps a run from being published: it has a column, is spelled, or its row leaves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pyarrow.parquet as pq
import pytest

import synth
from synth.core.records import Exit, Sample, Seed
from synth.inputs.seeds import Scan, Seeds
from synth.runs.columns import Columns, Misfit, merged
from synth.runs.publisher import Publisher

HUGE = 2**70 + 1


def pack(folder, keys, **step):
    """A pack with one question, whose reply is an object of these keys."""
    folder.mkdir()
    parser = {"name": "json_object", "keys": keys}
    spec = {
        "name": "tried",
        "version": 1,
        "about": "x",
        "inputs": {"question": "text"},
    }
    spec["steps"] = [
        {
            "name": "ask",
            "sampling": {"max_tokens": 50},
            "parser": parser,
            **step,
        }
    ]
    (folder / "pack.yaml").write_text(json.dumps(spec))
    (folder / "ask.user.j2").write_text("{{ question }}")
    return folder


def replayed(tmp_path, keys, replies, **more):
    """A run over recorded replies."""
    recorded = [
        {"question": f"q{n}", "completion": reply}
        for n, reply in enumerate(replies)
    ]
    (tmp_path / "replies.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in recorded)
    )
    seeds = [{"question": row["question"], **more} for row in recorded]
    return synth.run(
        pack(tmp_path / "pack", keys),
        seeds,
        teacher=f"replay/{tmp_path / 'replies.jsonl'}",
        output=tmp_path / "out",
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("list", "[1, 2]"), ("list", '[{"a": 1}]'), ("list", "[null]"), ("list", '[["a"], "b"]'), ("list", '["\\ud83d"]'), ("list", '"text"'), ("list", "[true]"),
        ("number", "12345678901234567890"), ("number", "9007199254740993"), ("number", "NaN"), ("number", "-Infinity"), ("number", "1e999"), ("number", '"four"'),
        ("number", "9" * 5000), ("text", '"\\ud83d"'), ("text", "null"), ("text", '["a"]'), ("bool", "1"), ("numbers", '[1, "2"]'), ("numbers", "[1e999]"),
        ("any", '{"deep": NaN}'), ("any", '{"\\udc00": 1}'), ("any", "[" * 200 + "]" * 200), ("any", "[1e999]"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_its_rows_fault(tmp_path, kind, value):
    good = {
        "list": '["a"]',
        "number": "4",
        "text": '"a"',
        "bool": "true",
        "numbers": "[4, 0.5]",
        "any": f"[{HUGE}, null]",
    }[kind]
    run = replayed(
        tmp_path,
        {"it": kind},
        [f'{{"it": {found}}}' for found in (good, value, good)],
    )
    assert run.counts["kept"] == 2
    assert sum(run.counts["dropped"].values()) == 1
    assert run.exit_code == 0


def test_objects_of_a_list_keep_their_kinds(tmp_path):
    replies = [
        '{"made": [{"n": 1, "what": {"a": [1, null]}, "more": 2}]}',
        '{"made": [{"n": "one", "what": 1}]}',
        '{"made": [{"n": 1}]}',
        '{"made": {}}',
    ]
    run = replayed(tmp_path, {"made": {"n": "number", "what": "any"}}, replies)
    assert run.counts == {
        "asked": 4,
        "kept": 1,
        "dropped": {"wrong_kind": 3},
        "failed": {},
    }
    assert run.kept[0]["made"] == [{"n": 1.0, "what": '{"a": [1, null]}'}]
    assert any("made[0].n = 'one'" in row["detail"] for row in run.dropped)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ([1, HUGE], ["1", str(HUGE)]), ([1, 2**63 - 1], [1, 2**63 - 1]), ([0.5, 2**60], ["0.5", str(2**60)]), ([2**63, None], [str(2**63), None]),
        ([[1], [HUGE]], ["[1]", f"[{HUGE}]"]), (["a\ud83d", "b"], ["a\ufffd", "b"]), ([["\udc00"], ["c"]], [["\ufffd"], ["c"]]),
        ([1, "one"], ["1", "one"]), ([{"a": 1}, [1]], ['{"a": 1}', "[1]"]), ([float("nan"), 1.0], None), ([(1,), {2}], None), ([b"a", None], None),
    ],
)  # fmt: skip
def test_any_seed_is_published(tmp_path, values, stored):
    seeds = [
        {"question": f"What is {n} + 4 ?", "target": str(n + 4), "extra": value}
        for n, value in enumerate(values)
    ]
    run = synth.run(
        "cot", seeds, teacher="simulated/perfect", output=tmp_path / "out"
    )
    assert run.counts["kept"] == len(values)
    if stored:
        assert list(run.kept["extra"]) == stored


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a.b",
        "a\x00b",
        "meta.x",
        "ключ",
        "x" * 300,
        "list[0]",
        "a\nb",
        "reason",
        "data",
        "__index_level_0__",
    ],
)
def test_any_name_of_a_column_is_published(tmp_path, name):
    run = synth.run(
        "cot",
        [{"question": "What is 1 + 4 ?", "target": "5", name: "here"}],
        teacher="simulated/perfect",
        output=tmp_path / "out",
    )
    assert run.counts["kept"] == 1
    assert (
        "here"
        in pq.read_table(tmp_path / "out" / "data").to_pylist()[0].values()
    )


def test_kinds_that_steps_give_in_turn_are_text():
    kinds = merged(
        [("a", "number"), ("b", "list"), ("a", "text"), ("b", "list")]
    )
    assert kinds == {"a": "any", "b": "list"}
    columns = Columns(Scan(1, {}), {}, kinds, rendered=False)
    assert [columns.line({"a": value})["a"] for value in (4, "four", [1])] == [
        "4",
        "four",
        "[1]",
    ]


def test_a_row_that_no_column_holds_leaves_with_its_value(tmp_path):
    """A part of somebody's own that writes another kind than it says."""
    columns = Columns(
        Scan(1, {"n": frozenset({int})}), {}, {"answer": "text"}, rendered=False
    )
    publisher = Publisher(tmp_path, columns)
    for n, answer in enumerate(["fine", 4, "fine", {"a": 1}, ["b\ud83d"]]):
        seed = Seed(str(n), {"n": n})
        publisher.add(
            Exit("kept", None),
            Sample(seed, {"n": n, "answer": answer, "reply": "r"}).row(),
        )
    publisher.add(
        Exit("dropped", None, "why", "because"),
        Sample(Seed("5", {}), {"n": "five", "answer": 2.5}).row(),
    )
    publisher.add(
        Exit("failed", None, "why", "because"),
        Sample(Seed("6", {}), {"n": {(1, 2): 3}}).row(),
    )
    assert publisher.settle() == {"no_column_holds": 3}
    publisher.publish({}, str)
    kept, dropped = (
        pq.read_table(tmp_path / part).to_pylist()
        for part in ("data", "dropped")
    )
    assert [row["n"] for row in kept] == [0, 2]
    assert sorted(row["reason"] for row in dropped) == [
        "no_column_holds"
    ] * 3 + ["why"]
    assert {row["n"] for row in dropped} == {1, 3, 4, None}
    assert any("answer = 4 is no string" in row["detail"] for row in dropped)
    assert json.loads((tmp_path / "failed.jsonl").read_text())["id"] == "6"
    with pytest.raises(Misfit):
        columns.table([{"n": "five"}], columns.kept)


def test_a_parser_of_ones_own_keeps_its_word():
    from synth.core.errors import Unreadable
    from synth.parsers.base import Parser

    @dataclass(frozen=True, kw_only=True)
    class Shout(Parser):
        found: object = None
        fields: ClassVar[dict[str, str]] = {"loud": "number"}

        def read(self, text, row):
            return {"loud": self.found} if self.found != "nothing" else {}

    assert Shout(found=4).parse("x", {}) == {"loud": 4}
    for found in ("4", None, True, float("nan"), "nothing", HUGE, [4]):
        with pytest.raises(Unreadable, match="wrong_kind"):
            Shout(found=found).parse("x", {})
    with pytest.raises(Unreadable, match="too_long"):
        Shout(found=4).parse("x" * ((1 << 20) + 1), {})


def test_scans_tell_whole_numbers_apart():
    kinds = Seeds([{"a": 1, "b": 2**60, "c": [2**64]}]).scan().kinds
    assert kinds["a"] == {int}
    assert int not in kinds["b"]
    assert int not in kinds["c[]"]
