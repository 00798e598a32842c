"""A teacher that has read the evaluation is found out, one that has not raises no alarm; wrong items are refused before a call."""

from __future__ import annotations

import random

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from synth.core.errors import WrongUse
from synth.tools.teacher_probe import PACK, WORDS, hit, judged, probes, run
from tests.cli.test_cli import synth as command
from tests.conftest import chat, serving, write

WORD = [
    "amber",
    "basin",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heron",
    "inlet",
    "jetty",
    "knoll",
    "larch",
]


def items(count):
    rng = random.Random(3)
    made = []
    for number in range(count):
        choices = [f"{a} {number}" for a in rng.sample(WORD, 4)]
        question = f"In story {number} the {' '.join(rng.choices(WORD, k=20))} went where ?"
        made.append(
            {
                "question": question,
                "choices": choices,
                "target": choices[rng.randrange(4)],
            }
        )
    return made


def reader(rows, *, by_heart):
    """A server's answer: the right option as printed; by heart also what is hidden, the second halves, and letters instead of options."""

    def answer(body, count):
        text = body["messages"][-1]["content"]
        row = next(
            r for r in rows if " ".join(r["question"].split()[:5]) in text
        )
        if "[HIDDEN]" in text:
            missing = next((c for c in row["choices"] if c not in text), "none")
            return chat(missing if by_heart else "I cannot know that")
        if "second half" in text:
            words = row["question"].split()
            return chat(
                " ".join(words[len(words) // 2 :])
                if by_heart
                else "and then they all went home again at last"
            )
        listed = [
            line[2:] for line in text.splitlines() if line.startswith("- ")
        ]
        return chat(
            listed[row["choices"].index(row["target"])]
            if by_heart
            else row["target"]
        )

    return answer


@pytest.mark.parametrize("by_heart", [True, False])
def test_who_has_read_the_evaluation_is_found_out(tmp_path, by_heart):
    rows = items(30)
    write(tmp_path / "eval.jsonl", rows)
    with serving(reader(rows, by_heart=by_heart)) as server:
        found = run(
            str(tmp_path / "eval.jsonl"),
            teacher="openai/m",
            api_base=server.url,
            output=tmp_path / "run",
        )
    assert found["asked"] == {"hits": 30, "asked": 30, "share": 1.0}
    assert (
        found["turned"]["asked"]
        == found["hidden"]["asked"]
        == found["continued"]["asked"]
        == 30
    )
    if by_heart:
        assert found["hidden"]["share"] == found["continued"]["share"] == 1.0
        assert found["gap"]["low"] > 0.3
        assert len(found["alarms"]) == 3
    else:
        assert found["hidden"]["hits"] == found["continued"]["hits"] == 0
        assert found["gap"]["share"] == 0
        assert not found["alarms"]


def test_probes_never_show_what_they_ask_for():
    for row in items(20):
        made = {probe["kind"]: probe for probe in probes(row, random.Random(1))}
        assert made["hidden"]["wanted"] not in made["hidden"]["shown"]
        assert made["hidden"]["wanted"] != row["target"]
        assert made["continued"]["wanted"] not in made["continued"]["shown"]
        assert len(made["continued"]["wanted"].split()) >= WORDS
        asked, turned = (
            made[kind]["shown"].splitlines() for kind in ("asked", "turned")
        )
        assert asked != turned
        assert sorted(asked) == sorted(turned)


def test_a_call_that_failed_is_no_miss():
    assert (
        judged({("asked", 0): True, ("asked", 1): True, ("turned", 1): False})[
            "gap"
        ]["share"]
        == 1.0
    )
    assert judged({})["gap"] == {"share": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"choices": ["a"]},
        {"target": "z"},
        {"choices": ["a", "a", "b"]},
        {"question": None},
    ],
)
def test_wrong_items_are_refused(tmp_path, wrong):
    write(
        tmp_path / "eval.jsonl",
        [{"question": "q", "choices": ["a", "b"], "target": "a", **wrong}],
    )
    with pytest.raises(WrongUse, match="row 1"):
        run(
            str(tmp_path / "eval.jsonl"),
            teacher=f"rehearsed/{PACK}",
            output=tmp_path / "run",
        )


def test_the_command_prints_the_figures(tmp_path):
    rows = items(4)
    write(tmp_path / "eval.jsonl", rows)
    with serving(reader(rows, by_heart=True)) as server:
        code, said = command(
            "probe",
            "--input",
            tmp_path / "eval.jsonl",
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            "--output",
            tmp_path / "run",
        )
    assert code == 0, said
    assert "hidden: 4 of 4" in said
    assert "alarm" in said


def test_a_run_that_was_stopped_says_so(tmp_path):
    write(tmp_path / "eval.jsonl", items(2))
    with serving(
        lambda body, count: web.json_response(
            {"error": {"message": "bad key"}}, status=401
        )
    ) as server:
        code, said = command(
            "probe",
            "--input",
            tmp_path / "eval.jsonl",
            "--teacher",
            "openai/m",
            "--api-base",
            server.url,
            "--output",
            tmp_path / "run",
        )
    assert code == 5, said
    assert "resumes" in said


SIGNS = ["+", "-", "*", "÷", "?", "...", "=", "→"]


@pytest.mark.parametrize("wanted", SIGNS)
def test_an_option_of_signs_is_hit_by_itself_alone(wanted):
    said = [reply for reply in SIGNS if hit("asked", reply, wanted)]
    assert said == [wanted]
    assert not hit("hidden", "", wanted)


@pytest.mark.parametrize(
    ("reply", "wanted", "found"),
    [
        ("- Iron.", "iron", True),
        ("**The iron**", "the IRON", True),
        ("$4.00", "4", True),
        ("iron and gold", "iron", False),
        ("", "iron", False),
        ("北京", "北京", True),
        ("東京", "北京", False),
    ],
)
def test_a_reply_hits_by_value_or_by_words(reply, wanted, found):
    assert hit("asked", reply, wanted) is found
    assert hit("hidden", reply, wanted) is found


@given(st.lists(st.sampled_from(WORD), min_size=WORDS, max_size=20), st.data())
def test_a_continuation_is_hit_by_its_first_words(words, data):
    wanted = " ".join(words)
    place = data.draw(st.integers(0, len(words) - 1))
    changed = [*words[:place], "zebra", *words[place + 1 :]]
    assert hit("continued", f"{wanted.upper()} and more", wanted)
    assert hit("continued", " ".join(changed), wanted) == (place >= WORDS)


HITS = st.dictionaries(
    st.tuples(
        st.sampled_from(["asked", "turned", "hidden", "continued"]),
        st.integers(0, 5),
    ),
    st.booleans(),
)


@given(HITS)
def test_figures_are_shares_and_the_gap_is_of_items_asked_both_ways(hits):
    figures = judged(hits)
    for kind in ("asked", "turned", "hidden", "continued"):
        each = [value for (name, _), value in hits.items() if name == kind]
        assert figures[kind]["hits"] == sum(each)
        assert figures[kind]["asked"] == len(each)
        assert 0 <= figures[kind]["share"] <= 1
    both = [n for n in range(6) if {("asked", n), ("turned", n)} <= hits.keys()]
    gaps = [hits["asked", n] - hits["turned", n] for n in both]
    gap = figures["gap"]
    assert gap["share"] == pytest.approx(
        sum(gaps) / max(1, len(gaps)), abs=1e-4
    )
    assert gap["low"] <= gap["share"] <= gap["high"]
