"""A plan: counted with real tokenizers, bounded without a measure, close with one, and set against the facts."""

from __future__ import annotations

import json

import pytest
import tiktoken  # noqa: F401 - the plan needs it at hand

import synth
from synth.calls.token_counter import BY_BYTES, counter
from synth.pipeline.plan import describe_plan, make_plan
from synth.pipeline.prepare import RunConfig, prepare
from tests.conftest import chat, serving, write
from tests.pipeline.test_run import make_pack

ROWS = [
    {"question": f"What is {n} + {n % 7} ? Think of apples.", "target": "3"}
    for n in range(50)
]


def plan_of(
    tmp_path, *, teacher="openai/gpt-4o-mini", output="none", **options
):
    teachers = teacher if isinstance(teacher, dict) else {"teacher": teacher}
    return prepare(
        "cot", ROWS, tmp_path / output, RunConfig(teachers=teachers, **options)
    )


def test_counters_are_the_teachers_own_where_they_are_at_hand(tmp_path):
    own = counter("openai/gpt-4o-mini")
    assert (own.name, own.error) == ("o200k_base", 0.0)
    assert own.count("hello world <|endoftext|>") > 3
    assert counter("openai/gpt-4").name == "cl100k_base"
    assert counter("anthropic/claude-x").error > 0
    assert BY_BYTES.count("abcd" * 10) == 10


def test_the_tokenizer_beside_local_weights_counts(tmp_path):
    from finetune.students import scratch

    _, tokenizer = scratch.build(
        "scratch:tiny", [row["question"] for row in ROWS], 0
    )
    tokenizer.save_pretrained(tmp_path)
    found = counter(f"local/{tmp_path}")
    assert found.error == 0
    assert found.count(ROWS[3]["question"]) == len(
        tokenizer(ROWS[3]["question"])["input_ids"]
    )


def test_bounds_without_a_measure(tmp_path):
    plan = make_plan(plan_of(tmp_path, draws=4), counter)
    (step,) = plan.steps
    assert (step.calls, step.most, step.completion_tokens, step.sure) == (
        200,
        512,
        None,
        True,
    )
    assert plan.summary()["usd"] == pytest.approx(
        (200 * step.prompt_tokens * 0.15 + 200 * 512 * 0.6) / 1e6, abs=1e-6
    )
    said = describe_plan(plan_of(tmp_path, draws=4, rpm=100, tpm=1000))
    assert "at most 200 calls" in said
    assert "120 s at 100 requests a minute" in said
    assert "tokens a minute" in said
    assert "o200k_base" in said


def test_critics_are_counted_and_unknown_prices_named(tmp_path):
    filters = [{"name": "critic"}]
    teachers = {"teacher": "openai/gpt-4o-mini", "critic": "openai/nobody"}
    said = describe_plan(
        plan_of(
            tmp_path, teacher=teachers, overrides={"rationale.filters": filters}
        )
    )
    assert "judge (openai/nobody): at most 100 calls" in said
    assert "no known price for openai/nobody" in said
    assert "cost: unknown" in said
    assert "rough" in said
    assert "without a bound" in describe_plan(
        plan_of(tmp_path, overrides={"rationale.sampling.max_tokens": None})
    )


@pytest.mark.parametrize(
    ("teacher", "share"),
    [
        ("anthropic/claude-sonnet-4-5", 0.5),
        ("gemini/gemini-2.5-flash", 0.5),
        ("deepseek/deepseek-chat", 1.0),
    ],
)
def test_a_plan_of_batches_costs_half_where_the_provider_has_them(
    tmp_path, teacher, share
):
    """A role whose provider has no batches is asked online beside the others."""
    teachers = {"teacher": teacher}
    if share == 1.0:
        teachers = {"teacher": "openai/gpt-4o-mini"}
    full, batch = (
        plan_of(tmp_path, teacher=teachers, batch=batch)
        for batch in (False, True)
    )
    if share == 1.0:
        for plan in (full, batch):
            plan.config.teachers["teacher"] = teacher
        assert batch.price("teacher") == full.price("teacher")
        return
    ratio = make_plan(batch).summary()["usd"] / make_plan(full).summary()["usd"]
    # Dollars of a summary are rounded.
    assert ratio == pytest.approx(share, rel=1e-4)


def test_a_measured_plan_meets_the_facts_and_the_card_shows_both(tmp_path):
    usage = {"prompt_tokens": 90, "completion_tokens": 40}
    with serving(
        lambda body, count: chat("It is so.\n#### 3", usage=usage)
    ) as server:
        how = {"teacher": "openai/gpt-4o-mini", "api_base": server.url}
        synth.run("cot", ROWS[:10], output=tmp_path / "first", **how)
        plan = make_plan(
            plan_of(tmp_path, reuse=[str(tmp_path / "first")]), counter
        )
        done = synth.run("cot", ROWS, output=tmp_path / "second", **how)
    (step,) = plan.steps
    assert (step.calls, step.completion_tokens) == (50, 40)
    assert (
        step.calls * step.completion_tokens
        == done.info["cost"]["completion_tokens"]
    )
    assert done.info["steps"] == {
        "rationale": {
            "calls": 50,
            "prompt_tokens": 4500,
            "completion_tokens": 2000,
        }
    }
    card = (tmp_path / "second" / "README.md").read_text()
    assert "| calls | 50 | 50 |" in card
    assert "| tokens out, at most | 25,600 | 2,000 |" in card
    assert (
        json.loads((tmp_path / "second" / "run.json").read_text())["plan"][
            "calls"
        ]
        == 50
    )


COUNTED = """
name: counted
version: 1
about: x
inputs: {question: text, target: text}
steps:
  - name: list
    draws: 3
    parser: {name: numbered_list, into: parts}
    filters: [{name: critic, pack: critic_rubric, scale: {"5": 1}, teacher: judge, votes: 2}]
  - name: go
    each: {parts: part}
    parser: {name: whole, into: said}
  - name: attempt
    parser: final_number
    filters: [{name: answer_match, unknown: drop}, {name: universal_self_consistency, teacher: judge, orders: 2}]
  - name: again
    rescues: attempt
    parser: final_number
"""


def test_critics_lists_and_rescues_do_not_multiply_what_follows(tmp_path):
    files = {
        "pack.yaml": COUNTED,
        "list.user.j2": "{{ question }}",
        "go.user.j2": "{{ part }}",
        "attempt.user.j2": "{{ question }}",
    }
    pack = make_pack(
        tmp_path,
        {
            **files,
            "again.user.j2": "{{ question }} {{ target }} {{ attempt.reason }}",
        },
    )
    config = RunConfig(
        teachers={"teacher": "simulated/perfect", "judge": "simulated/critic"}
    )
    plan = make_plan(
        prepare(
            pack,
            [{"question": f"{n}", "target": "1"} for n in range(10)],
            tmp_path / "out",
            config,
        )
    )
    # 10 seeds of 3 draws; 2 votes a draw; 4 elements a list; 3 attempts, 2 orders and at most 1 rescue a seed.
    # What a filter asks may have to be asked again.
    assert [step.calls for step in plan.steps] == [30, 120, 120, 30, 40, 10]


def test_lists_are_as_long_as_they_are_where_that_can_be_known(tmp_path):
    corpus = write(
        tmp_path / "corpus.jsonl",
        [{"text": f"The light {n} is white."} for n in range(30)],
    )
    rows = [{"passage": f"The light {n} is white."} for n in range(5)]
    config = RunConfig(
        teachers={"teacher": "openai/m"},
        overrides={"retrieve.file": str(corpus), "retrieve.most": 7},
    )
    found = {
        step.name: step.calls
        for step in make_plan(
            prepare("gecko", rows, tmp_path / "out", config)
        ).steps
    }
    assert found == {"write": 5, "likelihood": 35, "relevance": 35}
    lists = [
        {"query": "q", "positive": "p", "negatives": ["a"] * n}
        for n in (1, 2, 6)
    ]
    config = RunConfig(teachers={"teacher": "openai/m"})
    assert [
        step.calls
        for step in make_plan(
            prepare("negative_check", lists, tmp_path / "out", config)
        ).steps
    ] == [9]
    tails = make_plan(
        prepare(
            "symbolic_tails",
            [{"head": "PersonX runs"}],
            tmp_path / "out",
            config,
        )
    )
    assert [step.calls for step in tails.steps] == [70]
