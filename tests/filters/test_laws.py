"""Every filter: one verdict a row, no row edited, every declared reason produced, twice changes nothing."""

from __future__ import annotations

import copy
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.core import registry
from synth.core.aio import run_async
from synth.critics.trained_model import fit
from tests import tiny
from tests.conftest import of_part, write

Q = {
    "question": "q",
    "answer": "4",
    "target": "4",
    "rationale": "2 + 2 = 4",
    "completion": "2 + 2 = 4 #### 4",
    "finish_reason": "stop",
}
WRONG = {**Q, "answer": "5", "rationale": "2 + 2 = 5"}
LONG = "Ann has three red pens and four blue pens in the old bag that her aunt brought from the market"
EVAL = str(write(Path(tempfile.mkdtemp()) / "eval.jsonl", [{"question": LONG}]))
SUMS = [
    {
        "question": f"What is {n} + 4 ?",
        "rationale": f"{n} + 4 = {n + said}",
        "answer": str(n + said),
        "is_correct": said == 4,
    }
    for n in range(30)
    for said in (4, 4, 3)
]
MODEL = str(Path(EVAL).parent / "critic.json")
fit(SUMS).save(MODEL)
CASES = {
    "answer_match": (
        {"unknown": "drop"},
        [Q, WRONG, {**Q, "answer": None}, {k: v for k, v in Q.items() if k != "target"}, {**Q, "target": "so it is\n####"}],
    ),
    "arithmetic_steps": ({}, [Q, WRONG, {**Q, "rationale": "because"}]),
    "finish_reason": ({}, [Q, *({**Q, "finish_reason": r} for r in ("length", "content_filter", "odd", None))]),
    "overlap": ({"field": "rationale", "other": "old", "least": 0.5, "most": 0.9, "unknown": "drop"}, [
        {**Q, "old": "2 + 2 = 5"}, {**Q, "old": "none of it"}, {**Q, "old": Q["rationale"]}, Q,
    ]),
    "mentions": ({"field": "rationale", "must": ("answer",), "never": ("wrong",)}, [Q, {**Q, "answer": "9"}, {**Q, "wrong": "2 +"}]),
    "wording": ({"field": "rationale", "starts": ("2", "it"), "characters": "\\w +=", "least": 3, "banned": ("or",), "once": ("answer",)}, [
        {**Q, "answer": "9"}, Q, *({**Q, "rationale": text} for text in ("2", "so 2", "2; 3", "it or that")),
    ]),
    "bounds": ({"fields": ("grade",), "least": 0.5, "most": 1, "unknown": "drop"}, [{**Q, "grade": grade} for grade in (0.7, 0.1, 2, "high")]),
    "subset": ({"field": "refs", "of": "ids", "unknown": "drop"}, [{"refs": refs, "ids": ["a", "b"]} for refs in (["a"], ["c"], [])] + [{"refs": ["a"]}]),
    "likelihood": ({"unknown": "drop"}, [{**Q, "logprob": -n / 2, "completion_tokens": 2} for n in range(5)] + [Q]),
    "consensus": ({"unknown": "drop"}, [
        *({"question": "q", "json": {"a": 1, "b": b}} for b in (2, 2, 3)), {"question": "q", "json": "odd"},
        {"question": "r", "json": {"a": 1}}, {"question": "r", "json": {"b": 1}},
    ]),
    "leak_probe": ({"embedding": "hashing", "unknown": "drop"}, [
        {"text": f"{'good fine' if n % 2 else 'bad awful'} film" if n < 30 else "a film of its time", "label": str(n % 2)} for n in range(40)
    ]),
    "length": ({"least": 3, "most": 5}, [Q, {**Q, "rationale": "no"}, {**Q, "rationale": "a b c d e f"}]),
    "self_consistency": (
        {}, [Q, Q, WRONG, {**Q, "answer": None}, {**Q, "question": "r"}, {**WRONG, "question": "r"}, {**Q, "question": "s", "answer": "$4.0"}],
    ),
    "per_seed": ({"most": 1}, [Q, Q, {**Q, "question": "r"}]),
    "near_duplicate": ({}, [{"question": LONG + end} for end in (" now", " now", " later", " then 5", " then 6")]),
    "contamination": ({"against": EVAL, "fuzzy": 0.3, "embedding": "hashing", "similarity": 0.3}, [
        {"question": q}
        for q in ("Please: " + LONG, "another", "", LONG.replace("red", "old").replace("bag", "sack"), "Ann has pens in the bag and three blue pens her aunt brought")
    ]),
    "run_python": ({"seconds": 1, "megabytes": 256}, [
        {"code": "x = 1", "tests": "assert x == 1"}, {"code": "x = 2", "tests": ["assert x == 1"]}, {"code": "x = [0] * 10**9", "tests": "assert x"},
        {"code": "while True: pass", "tests": "assert 1"}, {"code": "x = 1"},
    ]),
    "run_sql": ({"seconds": 0.5}, [
        {"sql": "SELECT 1", "target_sql": "SELECT 1"}, {"sql": "SELECT 2", "target_sql": [[1]]}, {"sql": "DROP TABLE x", "target_sql": "SELECT 1"},
        {"sql": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", "target_sql": "SELECT 1"}, {"sql": "SELECT 1"},
    ]),
    "json_schema": ({"schema": {"type": "object", "required": ["a"]}}, [{"json": t} for t in ('{"a": 1}', {"a": 2}, '{"b": 1}', "a", '{"a": 1, "a": 2}')]),
    "citations": ({"least": 1, "unknown": "drop"}, [
        {"sources": ["rain fell on the town", "x"], "text": t}
        for t in ('"rain fell on the town" [1, 2]', '"snow fell on the town"', "so [3]", "it rained")
    ] + [{"text": "so [1]"}]),
    "refusal": ({}, [Q, {**Q, "rationale": "I'm sorry, but I cannot help with that."}]),
    "truncation": ({}, [
        Q, {**Q, "finish_reason": "length"}, *({**Q, "completion": text} for text in ("```\nx = 1", "So \\boxed{4", "and then the next one is")),
    ]),
    "repetition": ({"words": 3}, [Q, *({**Q, "rationale": t} for t in ("He walks home. " * 9, "a\na\na\nb\nc d", "a b c d e f g h a b c d e f g h"))]),
    "language": ({"unknown": "drop"}, [{"rationale": t} for t in ("The rain fell on the old town all day", "Der Regen fiel den ganzen Tag auf die alte Stadt", "2 + 2")]),
    "pii": ({}, [Q, {**Q, "rationale": "Write to ann@mail.org"}, {**Q, "rationale": "the key AKIA" + "ABCD" * 4}]),
    "exact_duplicate": ({}, [{"question": t} for t in ("How many?", "how  many?", "How much?")]),
    "quota": ({"field": "topic", "most": 1}, [{"topic": t, "n": n} for n, t in enumerate(("rain", "rain", "snow"))]),
    "pass_rate": ({"least": 0.3, "most": 0.7, "unknown": "drop"}, [
        {"question": q, "answer": a, "target": "4"} for q, a in (("hard", "1"), ("hard", "2"), ("easy", "4"), ("fair", "4"), ("fair", "5"), ("fair", None))
    ] + [{"question": "unknown", "answer": "4"}]),
    "trained": ({"model": MODEL, "least": 0.5}, SUMS[:6]),
    "semantic_duplicate": ({"embedding": "hashing"}, [{"question": LONG + end} for end in (" now", " Now", " then 5")] + [{"question": "x"}]),
    "diversity": ({"most": 2, "method": "deita", "far": 0.2, "embedding": "hashing"}, [{"question": t} for t in (LONG, LONG + " now", "one two three", "x y")]),
    "entailment": ({"model": tiny.nli, "premise": "source", "unknown": "drop"}, [
        {"source": "red pen", "answer": t} for t in ("a red pen", "not red pen", "old house")
    ] + [{"answer": "a red pen"}]),
    "agree": ({"first": "answer", "second": "target", "unknown": "drop"}, [Q, WRONG, {**Q, "target": None}]),
    "leaks": ({"hidden": "question"}, [Q, {**Q, "rationale": "The hint says 4"}, {"question": LONG, "rationale": "So " + LONG}]),
    "distinct": ({}, [{"question": "q", "rationale": t} for t in ("a b c d e f g h i", "a b c d e f g h", "x y z")]),
    "program_answer": ({"seconds": 1, "unknown": "drop"}, [
        {"code": "ans = 4", "target": "4"}, {"code": "ans = 5", "target": "4"}, {"code": "1 / 0", "target": "4"}, {"code": "ans = 4"},
    ]),
    "long_first": ({"most": 2}, [{"domain": d, "rationale": "so " * n} for d in "ab" for n in (1, 40)]),
    "cross_encoder": ({"model": tiny.nli, "label": "entailment", "second": ["answer"], "first": "question"}, [
        {"question": "red pen", "answer": "a red pen"}, {"question": "red pen", "answer": "not red pen"},
    ]),
    "ifd": ({"model": tiny.causal, "least": 0.99, "most": 1.02, "unknown": "drop"}, [
        {"question": q, "completion": c}
        for q, c in (("", "it is a red pen"), ("What is 2", "it is a red pen"), ("What is a a a a", "pen pen pen"), ("What is it", "a"), ("q", ""), ("red red", "2 2"))
    ]),
    "learnability": ({"student": tiny.causal, "reference": tiny.other, "most": 1}, [{"question": q, "completion": "a red pen"} for q in "ab"]),
    "semantic_entropy": ({"most": 0.6}, [
        {"question": q, "answer": a}
        for q, a in (("q", "4"), ("q", "$4"), ("q", "four"), ("q", "5"), ("q", ""), ("r", "1"), ("r", "2"), ("r", "3"))
    ]),
    "pairwise": ({"teacher": "simulated/critic"}, [{"question": "q", "chosen": "a", "rejected": "a"}]),
    "process_critic": ({"teacher": "simulated/critic"}, [{"question": "q", "rationale": ""}]),
    "universal_self_consistency": ({"teacher": "simulated/critic"}, [{"question": "q", "rationale": "a"}] * 2),
    "critic": ({"teacher": "simulated/critic:miss=0,false_alarm=0,no_marker=0"}, [Q, WRONG, {**Q, "rationale": ""}]),
}  # fmt: skip
# A filter's own test file may hold its case: (parameters, rows that meet every reason).
CASES |= {
    name: case
    for name in registry.names("synth.filters")
    if name not in CASES and (case := of_part("synth.filters", name, "CASE", None))
}  # fmt: skip
# Reasons that the named files' own tests produce, with a server that says so.
_ASKED = {"critic_unreadable", "critic_failed"}
ELSEWHERE = {"leak_probe": {"too_few_rows"},
    "critic": _ASKED, "pairwise": {*_ASKED, "prefers_rejected", "tie"}, "process_critic": {*_ASKED, "wrong_step"},
    "universal_self_consistency": {"critic_failed", "no_choice", "not_chosen"}, "semantic_entropy": {"critic_failed"},
}  # fmt: skip
NONE_KEPT = {"pairwise", "process_critic"}


def build(name, **more):
    given = {
        key: value() if callable(value) else value
        for key, value in CASES[name][0].items()
    }
    return registry.build("synth.filters", {"name": name, **given, **more})


def test_all_filters_have_cases():
    assert len(registry.names("synth.filters")) >= 7
    assert set(CASES) == set(registry.names("synth.filters"))


# A model of language takes seconds for each of many rows.
SLOW = ("entailment",)
QUICK_OR_LONG = [
    pytest.param(name, marks=[pytest.mark.long] if name in SLOW else [])
    for name in CASES
]


@pytest.mark.parametrize("name", QUICK_OR_LONG)
def test_one_verdict_a_row_and_no_row_edited(name):
    rows = [dict(row) for row in CASES[name][1]]
    before = copy.deepcopy(rows)
    verdicts = run_async(build(name).verdicts(rows))
    assert len(verdicts) == len(rows)
    assert {v.filter for v in verdicts} == {name}
    assert rows == before


@pytest.mark.parametrize("name", CASES)
def test_kept_and_dropped_are_all_and_reasons_are_declared(name):
    rows, part = CASES[name][1], build(name)
    kept, dropped = part.split(rows)
    assert len(kept) + len(dropped) == len(rows)
    assert {row["reason"] for row in dropped} == set(
        part.reasons
    ) - ELSEWHERE.get(name, set())
    assert all(row["marks"][name]["keep"] is not True for row in dropped)
    assert kept or name in NONE_KEPT


@pytest.mark.parametrize("name", CASES)
def test_twice_changes_nothing(name):
    kept, _ = build(name).split(CASES[name][1])
    again, dropped = build(name).split(
        [{k: v for k, v in row.items() if k != "marks"} for row in kept]
    )
    assert [{**row, "marks": 0} for row in again] == [
        {**row, "marks": 0} for row in kept
    ]
    assert not dropped


@pytest.mark.parametrize(
    "name", sorted(set(CASES) - {"per_seed"})
)  # per_seed keeps the first ones: order is its rule
def test_order_changes_no_verdict(name):
    rows = [{**row, "place": i} for i, row in enumerate(CASES[name][1])]
    shuffled = random.Random(5).sample(rows, len(rows))
    kept, other = (
        sorted(row["place"] for row in build(name).split(r)[0])
        for r in (rows, shuffled)
    )
    assert kept == other


# These compare rows with the others that are there: fewer rows, other verdicts.
RELATIVE = {"likelihood", "leak_probe"}
CHEAP = sorted(
    set(CASES)
    - {
        "program_answer",
        "per_seed",
        "run_python",
        "run_sql",
        "critic",
        "entailment",
        "cross_encoder",
        "ifd",
        "learnability",
        "language",
        "leak_probe",
    }
)


@pytest.mark.parametrize("name", CHEAP)
@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(data=st.data())
def test_any_rows_in_any_order_twice(name, data):
    rows = data.draw(st.lists(st.sampled_from(CASES[name][1]), max_size=10))
    other = data.draw(st.permutations(rows))
    part = build(name)
    kept, again = (part.split(some)[0] for some in (rows, other))
    assert plain(kept) == plain(again)
    if name not in RELATIVE:
        assert plain(
            part.split(
                [{k: v for k, v in row.items() if k != "marks"} for row in kept]
            )[0]
        ) == plain(kept)


def plain(rows):
    return sorted(
        repr({k: v for k, v in row.items() if k != "marks"}) for row in rows
    )


@pytest.mark.parametrize("name", CASES)
def test_mark_mode_keeps_all_rows_and_their_verdicts(name):
    part = build(name, mode="mark")
    kept, dropped = part.split(CASES[name][1])
    assert not dropped
    assert all(name in row["marks"] for row in kept)
