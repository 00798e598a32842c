"""What a teacher's terms say about training is told before the first call, and nowhere guessed."""

from __future__ import annotations

import json
import re
from datetime import date

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import synth
import synth.cli
from synth.core.errors import WrongUse
from synth.teachers.wire.terms import (
    ORDER,
    asked_at,
    doubtful,
    table,
    terms_of,
)
from tests.conftest import chat, serving, write

ROWS = [{"question": "What is 2 + 3 ?", "target": "5"}]


def test_every_entry_says_what_was_read_when_and_where():
    entries = [
        *table()["providers"].values(),
        *table()["families"].values(),
    ]
    assert len(entries) == 16
    for entry in entries:
        assert entry["training"] in ORDER
        assert entry["link"].startswith("https://")
        assert date.fromisoformat(entry["checked"]) <= date.today()
        # What was not read is not known, and nothing is said of it.
        assert entry["read"] in ("page", "quoted", "no")
        assert (entry["read"] == "no") == (entry["training"] == "unknown")
        assert ("says" in entry) == (entry["read"] != "no")


def test_other_names_and_hosts_lead_to_providers():
    known = {*table()["providers"]}
    assert {*table()["aliases"].values()} <= known
    assert {*table()["hosts"].values()} == known
    assert not known & {*table()["own"], *table()["aliases"]}


@pytest.mark.parametrize(
    ("teacher", "base", "training"),
    [
        ("openai/gpt-4o-mini", None, ["restricted"]),
        ("anthropic/claude", None, ["restricted"]),
        ("gemini/gemini-2.5-flash", None, ["restricted"]),
        ("groq/llama-3.1-8b", None, ["unknown", "conditions"]),
        ("together/x", None, ["unknown"]),
        ("nobody/x", None, ["unknown"]),
        ("openai/x", "https://api.groq.com/openai/v1", ["unknown"]),
        ("openai/x", "https://eu.api.openai.com/v1", ["restricted"]),
        ("openai/x", "https://models.example.org/v1", ["unknown"]),
        # Servers of one's own: only the licence of the weights counts.
        ("openai/qwen2.5-7b", "http://127.0.0.1:8000/v1", ["conditions"]),
        ("openai/gpt-oss-20b", "http://10.0.0.7/v1", ["allowed"]),
        ("openai/mine", "http://gpu:8000/v1", []),
        ("openai/mine", "http://gpu.cluster.local/v1", []),
        ("hosted_vllm/gemma-2-9b", None, ["conditions"]),
        (
            "local/models/DeepSeek-R1-Distill-Llama-8B",
            None,
            ["conditions", "conditions"],
        ),
        ("local/runs/student", None, []),
        # Nobody is asked.
        ("simulated/slips", None, []),
        ("replay/llama.jsonl", None, []),
        ("replay:0a1b/gsm8k", None, []),
        ("rehearsed/cot", None, []),
        ("my_module:Teacher/llama", None, []),
    ],
)
def test_terms_are_those_of_the_host_and_of_the_model(teacher, base, training):
    assert [one.training for one in terms_of(teacher, base)] == training


@given(st.text(), st.none() | st.text())
def test_any_name_has_terms_or_none(teacher, base):
    try:
        found = terms_of(teacher, base)
    except ValueError:
        # urlsplit refuses it, as the check of --api-base does.
        assert base
        return
    strictness = [ORDER.index(one.training) for one in found]
    assert strictness == sorted(strictness, reverse=True)
    assert doubtful(found) in (None, *found)
    assert all("\n" not in one.line or "\n" in teacher for one in found)


def test_the_variable_of_the_endpoint_counts(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost/v1")
    assert asked_at("openai/x", None) == "http://localhost/v1"
    assert asked_at("openai/x", "http://other/v1") == "http://other/v1"
    assert asked_at("groq/x", None) is None


def invoke(*words):
    return CliRunner().invoke(synth.cli.main, [*map(str, words)])


def test_a_plan_says_it_in_one_line_and_only_where_it_matters(tmp_path):
    rows = write(tmp_path / "rows.jsonl", ROWS)
    words = ["plan", "cot", "--input", rows, "--teacher", "openai/m"]
    done = invoke(*words)
    assert done.exit_code == 0
    lines = [line for line in done.output.splitlines() if "training" in line]
    assert len(lines) == 1
    assert "openai/m: restricted: OpenAI: " in lines[0]
    assert re.search(r"https://openai\.com\S+ \d{4}-\d\d-\d\d\)$", lines[0])
    told = json.loads(invoke(*words, "--json").output)
    assert [note for note in told["notes"] if "restricted: OpenAI" in note]
    own = invoke(
        *("plan", "cot", "--input", rows, "--teacher", "openai/qwen"),
        *("--api-base", "http://127.0.0.1:1/v1"),
    )
    assert own.exit_code == 0
    assert "training" not in own.output


def test_strict_terms_refuse_before_the_first_call(tmp_path):
    rows = write(tmp_path / "rows.jsonl", ROWS)
    words = ["run", "cot", "--input", rows, "--output", tmp_path / "out"]
    done = invoke(*words, "--teacher", "anthropic/claude", "--strict-terms")
    assert done.exit_code == 2
    assert "--strict-terms, teacher anthropic/claude: found restricted" in (
        done.output
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(WrongUse, match="teacher groq"):
        synth.run(
            "cot",
            ROWS,
            teacher="groq/llama-3.1-8b",
            output=tmp_path / "out",
            strict_terms=True,
        )


def test_the_card_says_what_applies_and_a_strict_run_is_the_same_run(tmp_path):
    with serving(lambda body, count: chat("2 + 3 = 5\n#### 5")) as server:
        options = {
            "teacher": "openai/llama-3.1-8b",
            "api_base": server.url,
            "output": tmp_path / "out",
        }
        done = synth.run("cot", ROWS, **options, strict_terms=True)
        again = synth.run("cot", ROWS, **options)
    assert again.info["calls"]["asked"] == 0
    assert (
        "conditions: the Llama licence"
        in (done.info["terms"]["openai/llama-3.1-8b"][0])
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "Training on replies of openai/llama-3.1-8b: conditions: the Llama"
        in card
    )
    quiet = synth.run(
        "cot", ROWS, teacher="rehearsed/cot", output=tmp_path / "quiet"
    )
    assert quiet.info["terms"] == {}
    assert "Training on replies" not in (
        (tmp_path / "quiet" / "README.md").read_text()
    )
