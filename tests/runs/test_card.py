"""Cards: tables that add up, facts beside plans, and a stranger's words that stay words."""

from __future__ import annotations

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synth.runs.card import make_card, tally_rows, tally_table

RUN = {
    "pack": {
        "name": "cot",
        "about": "Reasons aloud.",
        "paper": "",
        "version": 1,
        "hash": "abc123",
    },
    "counts": {
        "asked": 7,
        "kept": 4,
        "dropped": {"wrong_answer": 3},
        "failed": {},
    },
    "calls": {"asked": 1200, "reused": 34},
    "cost": {"prompt_tokens": 5000, "completion_tokens": 60, "usd": 1.5},
    "plan": {
        "calls": 1300,
        "prompt_tokens": 4900,
        "completion_tokens": None,
        "usd": None,
    },
    "settings": {"teachers": {"teacher": "openai/m"}},
    "stopped": None,
}


def card_of(**changes):
    run = copy.deepcopy(RUN)
    for path, value in changes.items():
        *heads, last = path.split("__")
        inner = run
        for head in heads:
            inner = inner[head]
        inner[last] = value
    return make_card(run, "0123456789abcdef")


def test_a_card_begins_with_what_the_hub_reads():
    _, head, body = card_of().split("---\n", 2)
    told = yaml.safe_load(head)
    assert [config["config_name"] for config in told["configs"]] == [
        "default",
        "dropped",
    ]
    files = [config["data_files"] for config in told["configs"]]
    assert files == ["data/*.parquet", "dropped/*.parquet"]
    assert all(
        "0123456789abcdef" in config["description"]
        for config in told["configs"]
    )
    assert body.startswith("# cot: 4 kept of 7 asked\n")


def test_a_card_tells_calls_tokens_and_cost():
    card = card_of()
    assert "Calls: 1,200 asked, 34 reused." in card
    assert "Tokens: 5,000 in, 60 out. Cost: $1.5000." in card
    assert "Pack cot version 1, hash `abc123`." in card
    assert "price unknown" in card_of(cost__usd=None)
    assert "Why there are no rows" not in card
    assert "## Critics" not in card


@given(
    st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9999)),
    st.dictionaries(st.sampled_from("fgh"), st.integers(1, 9999)),
    st.integers(0, 9999),
)
def test_the_rows_of_a_tally_add_up_to_what_was_asked(dropped, failed, kept):
    asked = kept + sum(dropped.values()) + sum(failed.values())
    counts = {
        "asked": asked,
        "kept": kept,
        "dropped": dropped,
        "failed": failed,
    }
    *exits, last = tally_rows(counts)
    assert last == ("asked", "", asked)
    assert sum(rows for _, _, rows in exits) == asked
    kinds = [kind for kind, _, _ in exits]
    assert kinds == ["kept"] + ["dropped"] * len(dropped) + ["failed"] * len(
        failed
    )
    lines = tally_table(counts).splitlines()
    assert len(lines) == 2 + len(exits) + 1
    assert all(line.count("|") == 4 for line in lines)


@pytest.mark.parametrize(
    ("about", "shown"),
    [
        ("# see [this](http://x)", "\\# see \\[this\\](http://x)"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("one\n\n## two", "one ## two"),
        ("red \x1b[31m", "red \\\\x1b\\[31m"),
    ],
)
def test_words_of_a_pack_are_no_markup(about, shown):
    assert f"\n{shown}\n" in card_of(pack__about=about)
    assert (
        f"\nAfter {shown}.\n" in card_of(pack__paper=about) or about[0] == "#"
    )


@pytest.mark.parametrize(
    ("changes", "quoted"),
    [
        ({"nothing_kept": "no gold\nis read"}, "    no gold\n    is read\n"),
        ({"stopped": "quota", "counts__kept": 0}, "    quota\n"),
    ],
)
def test_a_run_without_rows_says_why(changes, quoted):
    card = card_of(**changes)
    assert f"Why there are no rows:\n\n{quoted}" in card


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ("simulated/slips", True),
        ("rehearsed/cot", True),
        ("openai/simulated", False),
        ("replay/simulated.jsonl", False),
    ],
)
def test_rows_that_no_model_wrote_are_said_to_be_so(teacher, told):
    card = card_of(
        settings__teachers={"teacher": "openai/m", "critic": teacher}
    )
    assert ("no model was asked" in card) is told
    assert f"critic = {teacher}" in card


def test_critics_are_told_with_what_fooled_them():
    shares = {"right": 0.75, "empty": 0.0, "order": 0.5}
    card = card_of(canaries={"critic by openai/m": shares})
    assert (
        "accepted 0.25 of forged rows (order 0.50) and 0.75 of right ones"
        in card
    )
    careful = card_of(canaries={"c": {"right": 1.0, "empty": 0.0}})
    assert "accepted 0.00 of forged rows (none) and 1.00" in careful
