"""`synth tune`: a model rewrites templates, rows that nobody looked at say what was gained."""

from __future__ import annotations

import json
import random
import re

import pytest
from aiohttp import web
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from synth.cli import main
from synth.runs.ledger import spent
from synth.tools.candidates import Candidate, drawn_parent
from tests.conftest import chat, serving

PACK = """\
name: sums
version: 1
about: The number that a question asks for, with a marker in front.
inputs:
  question: text
  target: {type: any, optional: true}
steps:
  - name: go
    sampling: {max_tokens: 50}
    parser: final_number
    filters: [answer_match]
exports:
  sft: {prompt: "{{ question }}\\n", completion: "{{ answer }}"}
"""
ROWS = [
    {"question": f"What is {n} + {n + 1} ?", "target": str(2 * n + 1)}
    for n in range(24)
]
GOOD = "{{ question }}\nWrite #### and the number on the last line."


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "pack.yaml").write_text(PACK)
    (folder / "go.user.j2").write_text("{{ question }}\nThink.\n")
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in ROWS)
    )
    return folder


class Teacher:
    """Adds where it is told of the marker; as editor it writes one text after the other."""

    def __init__(self, texts):
        self.texts, self.edited, self.models = texts, [], set()

    def __call__(self, body, count):
        said = body["messages"][-1]["content"]
        if "WHAT THE PROMPT IS FOR" in said:
            self.models.add(body["model"])
            text = self.texts[len(self.edited) % len(self.texts)]
            self.edited.append(said)
            return chat(
                f"<diagnosis>No form.</diagnosis><rewritten>{text}</rewritten>"
                if text
                else "I would not change a thing."
            )
        first, second = map(int, re.search(r"(\d+) \+ (\d+)", said).groups())
        total = first + second
        told = "####" in said
        return chat(f"Well.\n#### {total}" if told else f"It is {total} .")


def tuned(pack, server, *more, output="out"):
    words = [
        *("tune", str(pack), "--input", str(pack.parent / "rows.jsonl")),
        *("--teacher", "openai/m", "--api-base", server.url),
        *("--output", str(pack.parent / output), *more),
    ]
    return CliRunner(env={"OPENAI_API_KEY": "key"}).invoke(main, words)


def test_better_words_are_found_measured_and_written_only_when_told(pack):
    before = (pack / "go.user.j2").read_bytes()
    teacher = Teacher(["{{ question }}\nTry again.", GOOD])
    with serving(teacher) as server:
        done = tuned(pack, server, "--rounds", "3", "--json")
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["best"] == 2
        assert told["before"] == 0
        assert told["after"] == told["gain"] == 1
        assert told["interval"] == [1, 1]
        assert told["rows"] == {"looked_at": 12, "held_out": 12}
        assert (pack / "go.user.j2").read_bytes() == before
        asked = len(server.bodies)
        again = tuned(pack, server, "--rounds", "3", "--json")
        assert json.loads(again.stdout) == told
        assert len(server.bodies) == asked
        done = tuned(pack, server, "--rounds", "3", "--write")
        assert "gain +1.000 [+1.000, +1.000]" in done.output
        assert (pack / "go.user.j2").read_text() == GOOD + "\n"


def test_the_editor_sees_lost_rows_and_none_that_is_held_out(pack):
    teacher = Teacher([GOOD])
    with serving(teacher) as server:
        tuned(pack, server, "--rounds", "1", "--shown", "3")
    # The last 24 calls are those of the rows held out, before and after.
    last = str([body["messages"] for body in server.bodies[-24:]])
    held = set(re.findall(r"What is \d+ \+ \d+ \?", last))
    (said,) = teacher.edited
    shown = set(re.findall(r"What is \d+ \+ \d+ \?", said))
    assert len(shown) == 3
    assert len(held) == 12
    assert not shown & held
    assert "no_answer_marker" in said
    assert "{{ question }}\nThink." in said


def test_the_editor_is_told_of_values_and_of_what_a_reason_means(pack):
    teacher = Teacher([GOOD])
    with serving(teacher) as server:
        tuned(pack, server, "--rounds", "1")
    (asked,) = teacher.edited
    assert (
        "has these values, each of them, and no others: {{ question }}."
        in asked
    )
    assert "no_answer_marker (no answer is announced): " in asked


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Write #### and a number.", "it leaves question out"),
        ("{{ question }} #### {{ target }}", "it reads target"),
        ("{{ question }}\nThink.", "tried before"),
        ("{{ question }} {% if %} ####", "wanted"),
        ("{{ question }} {{ open('/etc/passwd') }} ####", "it reads open"),
        ("", "missing_tag"),
    ],
)
def test_a_text_that_cannot_stand_is_named_and_never_run(pack, text, fault):
    with serving(Teacher([text])) as server:
        done = tuned(pack, server, "--rounds", "2")
        assert done.exit_code == 0, done.output
        assert done.output.count(fault) == 2
        assert "no rewriting keeps more" in done.output
        # 12 rows to look at and 12 held out, once each, and two rewritings.
        assert len(server.bodies) == 26


def test_another_model_may_be_the_editor(pack):
    teacher = Teacher([GOOD])
    with serving(teacher) as server:
        tuned(pack, server, "--rounds", "1", "--teacher", "editor=openai/large")
        assert teacher.models == {"large"}
        assert {body["model"] for body in server.bodies} == {"m", "large"}


def test_the_budget_is_of_the_whole_search_and_the_search_goes_on(pack):
    with serving(Teacher(["{{ question }}\nTry.", GOOD])) as server:
        # Each reply has 11 tokens in and 7 out.
        price = ("--price", "1000,1000", "--rounds", "2")
        done = tuned(pack, server, *price, "--budget", "0.4")
        assert done.exit_code == 4, done.output
        assert spent(pack.parent / "out") <= 0.4
        asked = len(server.bodies)
        assert asked * 18e-3 <= 0.4
        done = tuned(pack, server, *price, "--budget", "40")
        assert done.exit_code == 0, done.output
        # 12 rows three times, 12 held out twice, two rewritings, and none of them twice.
        assert len(server.bodies) == 62


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--limit", "15"), "at least 8 of each"),
        (("--step", "gone"), "Did you mean go"),
        (("--held-out", "0.1"), "at least 8 of each"),
    ],
)
def test_what_cannot_be_is_said_before_a_call(pack, more, said):
    with serving(Teacher([GOOD])) as server:
        done = tuned(pack, server, *more)
        assert done.exit_code == 2
        assert said in done.output
        assert not server.bodies


def test_what_is_not_the_users_or_not_this_searchs_stays(pack):
    with serving(Teacher([GOOD])) as server:
        words = [
            *("tune", "cot", "--input", str(pack.parent / "rows.jsonl")),
            *("--teacher", "openai/m", "--output", str(pack.parent / "o")),
        ]
        done = CliRunner().invoke(main, [*words, "--write"])
        assert done.exit_code == 2
        assert "the built-in pack cot" in done.output
        other = pack.parent / "mine"
        other.mkdir()
        (other / "thesis.txt").write_text("mine")
        assert tuned(pack, server, output="mine").exit_code == 2
        assert not server.bodies
        assert tuned(pack, server, "--rounds", "1").exit_code == 0
        done = tuned(pack, server, "--held-out", "0.4")
        assert done.exit_code == 2
        assert "another search" in done.output


def candidate(number, scores):
    return Candidate(number, folder=None, scores=scores)


@given(
    st.lists(
        st.lists(st.sampled_from([0, 0.5, 1]), min_size=4, max_size=4),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 99),
)
def test_a_parent_is_one_that_none_beats_on_some_row(tables, seed):
    pool = [
        candidate(number, dict(enumerate(scores)))
        for number, scores in enumerate(tables)
    ]
    parent = drawn_parent(pool, random.Random(seed))
    assert any(
        parent.scores[row] == max(one.scores[row] for one in pool)
        for row in range(4)
    )


def test_a_parent_is_drawn_by_the_rows_that_it_leads_and_never_a_faulty_one():
    pool = [
        candidate(0, {"a": 0, "b": 0, "c": 0, "d": 1}),
        candidate(1, {"a": 1, "b": 1, "c": 0, "d": 1}),
        candidate(2, {"a": 0, "b": 0, "c": 1, "d": 1}),
        Candidate(3, folder=None, fault="it leaves question out"),
    ]
    draws = [drawn_parent(pool, random.Random(n)).number for n in range(300)]
    # Row d says nothing: 1 leads two rows, 2 leads one, 0 none.
    assert set(draws) == {1, 2}
    assert 0.55 < draws.count(1) / 300 < 0.78


def test_calls_that_fail_end_the_search_and_the_same_command_goes_on(pack):
    teacher = Teacher([GOOD])
    broken = [True]

    def answer(body, count):
        said = body["messages"][-1]["content"]
        if broken[0] and "WHAT THE PROMPT IS FOR" in said:
            return web.json_response(
                {"error": {"message": "no such thing"}}, status=400
            )
        return teacher(body, count)

    with serving(answer) as server:
        done = tuned(pack, server, "--rounds", "1")
        assert done.exit_code != 0
        assert "the same command goes on" in done.output
        broken[0] = False
        done = tuned(pack, server, "--rounds", "1")
        assert done.exit_code == 0, done.output
        assert "gain +1.000" in done.output
