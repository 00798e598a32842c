"""`synth filter` on rows of any origin: what is read, what is left alone, what is said."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

import synth
from synth.cli import main
from tests.conftest import chat, serving, write

LEADING = '''
from dataclasses import dataclass
from typing import ClassVar

from synth.core.records import Verdict
from synth.filters.base import RowFilter


@dataclass(frozen=True, kw_only=True)
class Polite(RowFilter):
    """Keeps polite texts."""

    reasons: ClassVar = {"rude": "no please"}

    def verdict(self, row):
        return Verdict("please" in row["text"], "rude", {})


@dataclass(frozen=True, kw_only=True)
class Breaks(RowFilter):
    """Reads a field that is not there."""

    def verdict(self, row):
        return Verdict(row["nofield"] > 3, "few", {})


@dataclass(frozen=True, kw_only=True)
class SaysNo(RowFilter):
    """Returns a bool."""

    def verdict(self, row):
        return False
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "leading.py").write_text(LEADING)
    monkeypatch.syspath_prepend(tmp_path)
    yield "leading"
    sys.modules.pop("leading", None)


def sift(tmp_path, rows, *options):
    source = write(tmp_path / "in.jsonl", rows)
    output = tmp_path / "kept.jsonl"
    words = ["filter", "--input", str(source), "--output", str(output)]
    result = CliRunner().invoke(main, [*words, *options])
    kept = []
    if output.exists():
        kept = [json.loads(line) for line in output.read_text().splitlines()]
    return result, kept


def test_rows_with_a_column_of_ones_own_go_through_ones_own_filter(
    tmp_path, module
):
    rows = [{"text": "please sit"}, {"text": "sit"}]
    result, kept = sift(tmp_path, rows, "--filter", f"{module}:Polite")
    assert result.exit_code == 0, result.output
    assert [row["text"] for row in kept] == ["please sit"]
    assert "kept.dropped.jsonl" in result.output
    assert "read by" not in result.output


@pytest.mark.parametrize("column", ["text", "Antwort", "completion", "polite"])
def test_a_filter_of_a_named_column_reads_that_column_alone(tmp_path, column):
    rows = [{column: "one two three"}, {column: "one"}]
    spec = f"length:field={column},least=2"
    result, kept = sift(tmp_path, rows, "--filter", spec)
    assert result.exit_code == 0, result.output
    assert [row[column] for row in kept] == ["one two three"]


def test_a_filter_of_the_raw_reply_needs_no_parser(tmp_path):
    rows = [{"prompt": "p", "completion": "a b"}, {"completion": "a"}]
    result, kept = sift(tmp_path, rows, "--filter", "length:least=2")
    assert result.exit_code == 0, result.output
    assert [row["completion"] for row in kept] == ["a b"]


def test_a_filter_of_answers_reads_them_and_says_by_what(tmp_path):
    rows = [
        {"completion": "so\n#### 4", "answer": "4"},
        {"completion": "so\n#### 5", "answer": "4"},
        {"completion": "so", "answer": "4"},
    ]
    result, kept = sift(tmp_path, rows, "--filter", "answer_match")
    assert [row["completion"] for row in kept] == ["so\n#### 4"]
    assert "completions read by final_number (--parser)" in result.output
    assert "no_answer_marker" in result.output


def test_a_named_parser_reads_whatever_filters_need(tmp_path):
    rows = [{"completion": "so\n#### 4"}, {"completion": "so"}]
    options = ["--filter", "length:least=1", "--parser", "final_number"]
    result, kept = sift(tmp_path, rows, *options)
    assert len(kept) == 1
    assert "no_answer_marker" in result.output


def test_a_run_of_a_pack_without_answers_is_filtered_again(tmp_path):
    with serving(lambda body, count: chat(f"<said>word {count}</said>")) as url:
        run = synth.run(
            "answer_reward",
            [{"query": "Who?", "documents": ["d", "e"], "target": "word"}],
            teacher="openai/m",
            api_base=url.url,
            output=tmp_path / "run",
        )
    assert run.counts["kept"]
    words = ["filter", "--input", str(tmp_path / "run")]
    output = tmp_path / "again.jsonl"
    options = [
        "--output",
        str(output),
        "--filter",
        "length:field=query,least=1",
    ]
    result = CliRunner().invoke(main, [*words, *options])
    assert result.exit_code == 0, result.output
    assert len(output.read_text().splitlines()) == run.counts["kept"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("length:least=2", "length:field=COLUMN"),
        ("answer_match", "answer and target"),
        ("length:field=txt", "Did you mean text"),
    ],
)
def test_what_a_filter_lacks_is_named(tmp_path, spec, says):
    result, kept = sift(tmp_path, [{"text": "a"}], "--filter", spec)
    assert result.exit_code == 2
    assert not kept
    assert says in result.output


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("Breaks", "KeyError: 'nofield', at leading.py:24"),
        ("SaysNo", "says_no gives False; wanted a Verdict"),
    ],
)
def test_a_filter_of_ones_own_that_breaks_is_named_with_its_line(
    tmp_path, module, part, says
):
    rows = [{"text": "a", "completion": "a"}]
    result, _ = sift(tmp_path, rows, "--filter", f"{module}:{part}")
    assert result.exit_code == 2
    assert says in result.output
    assert "Mend the filter" in result.output


@pytest.mark.parametrize("part", ["Breaks", "SaysNo"])
def test_in_a_run_it_is_named_too_and_no_teacher_is_blamed(
    tmp_path, module, part
):
    with serving(lambda body, count: chat("so\n#### 4")) as server:
        run = synth.run(
            "cot",
            [{"question": "2 + 2?", "target": "4"}],
            overrides={"rationale.filters": [f"{module}:{part}"]},
            plugins=[module],
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    why = run.info["nothing_kept"]
    assert "A part broke over these rows" in why
    assert "filter says_no" in why or "filter breaks" in why
    assert "teacher" not in why


def test_a_server_that_is_not_there_is_said_to_be_so(tmp_path):
    run = synth.run(
        "cot",
        [{"question": "2 + 2?"}],
        teacher="openai/m",
        api_base="http://127.0.0.1:9/v1",
        patience=0.1,
        output=tmp_path / "run",
    )
    assert "No server answers there" in run.info["nothing_kept"]


def test_a_rank_that_is_no_number_writes_nothing_and_says_what_to_do(tmp_path):
    rows = [{"question": "a", "score": 1}, {"question": "b", "score": "high"}]
    options = ["--filter", "quota:field=question,most=1,by=score"]
    result, kept = sift(tmp_path, rows, *options)
    assert result.exit_code == 2
    assert "quota:by=score: found 'high'; wanted a number" in result.output
    assert kept == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_field_that_is_named_alone_is_no_list_of_letters(tmp_path):
    rows = [{"question": text, "answer": "4"} for text in ("one", "two")]
    options = ["--filter", "exact_duplicate:fields=question"]
    result, kept = sift(tmp_path, rows, *options)
    assert result.exit_code == 0, result.output
    assert [row["question"] for row in kept] == ["one", "two"]


@pytest.mark.parametrize("meta", ["text", [1], 7, None, {}])
def test_facts_of_a_call_that_are_no_mapping_are_none(tmp_path, meta):
    rows = [{"completion": "4", "meta": meta}]
    options = ["--filter", "finish_reason", "--filter", "likelihood"]
    result, kept = sift(tmp_path, rows, *options)
    assert result.exit_code == 0, result.output
    assert kept[0]["meta"] == meta


def test_promises_are_written_into_folders_that_are_new(tmp_path):
    labelled = [
        {
            "question": f"What is {n} + 4 ?",
            "rationale": f"{n} + 4 = {n + 4}",
            "answer": str(n + 4),
            "is_correct": True,
        }
        for n in range(60)
    ]
    source = str(write(tmp_path / "labelled.jsonl", labelled))
    judge, plot = (
        tmp_path / "new" / "critic.json",
        tmp_path / "art" / "plot.svg",
    )
    spec = 'critic:teacher="simulated/critic:miss=0,false_alarm=0,no_marker=0"'
    words = ["calibrate", spec, "--input", source, "--target-precision", "0.9"]
    words += ["--output", str(judge), "--plot", str(plot)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert plot.read_text().startswith("<svg")
    out = tmp_path / "kept" / "rows.jsonl"
    words = ["filter", "--input", source, "--output", str(out)]
    result = CliRunner().invoke(main, [*words, "--filter", str(judge)])
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["rows.dropped.jsonl", "rows.jsonl", "rows.md"]
    assert "precision 1.000" in (out.parent / "rows.md").read_text()
