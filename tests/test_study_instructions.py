"""The study of instructions, without models that exist: its sets, its sums, and a whole round."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext

import pytest
from aiohttp.web import Response
from click.testing import CliRunner

from examples.real import models, server, students
from examples.real import study_instructions as study
from synth.core.errors import WrongUse
from tests.conftest import chat, write

TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} <eos> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
WORDS = [
    *("user", "assistant", "say", "north", "south", "sea", "land", "river"),
    *("Answer", "with", "one", "of", "these:", "which", "way", "it", "is"),
]
# First reply, second reply, and the votes of three people.
PAIRS = [
    ("north sea", "south land", (1, 1, 2)),
    ("south land", "north river", (2, 2, 2)),
    ("land", "sea", (0, 0, 1)),
    ("land", "sea", (1, 2, 0)),
    ("", "sea", (2, 2, 2)),
]


@pytest.fixture
def data(tmp_path):
    pairs = [
        {
            "instruction": f"say which {n}",
            "input": "way it is",
            "response1": first,
            "response2": second,
            **{f"annotator{k + 1}": vote for k, vote in enumerate(votes)},
        }
        for n, (first, second, votes) in enumerate(PAIRS)
    ]
    # Another pair of the same instruction.
    pairs.append({**pairs[0], "response1": "north north"})
    asked = [
        {"question": f"which way {n}", "choices": choices, "answer": "north"}
        for n, choices in enumerate(
            [["south", "north"], ["north", "sea"], ["north", "north"]]
        )
    ]
    folder = tmp_path / "data"
    for name, rows in (
        ("pandalm/dev.jsonl", pairs),
        ("palm_cot/commonsense_qa_train.jsonl", asked),
    ):
        path = folder / name
        path.parent.mkdir(parents=True)
        write(path, rows)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny student with a chat template."""
    from finetune.students import scratch

    folder = tmp_path_factory.mktemp("base")
    model, tokenizer = scratch.build("scratch:tiny", WORDS * 3, 0)
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def plan_of(**changed):
    sizes = {
        "teacher": "qwen-0.5b",
        "student": "smollm2-135m",
        "dollars": 0.02,
        "steps": 3,
        "batch": 2,
        "length": 64,
        "learning_rate": 5e-3,
        "pairs": 2,
        "questions": 2,
    }
    return study.Plan(**{**sizes, **changed})


def test_a_pair_stands_for_its_instruction_where_two_people_agree(data):
    pairs = {row["question"]: row for row in study.preferred(data)}
    assert [*sorted(pairs)] == [
        "say which 0\nway it is",
        "say which 1\nway it is",
    ]
    assert pairs["say which 0\nway it is"]["other"] == "south land"
    second = pairs["say which 1\nway it is"]
    assert second["preferred"] == "north river"
    assert second["other"] == "south land"
    assert len(study.questions(data)) == 2


def test_sets_that_are_too_small_are_named_before_any_call(data):
    with pytest.raises(WrongUse, match=r"--pairs 9: found 2.*Give --pairs 2"):
        study.held_out(data, plan_of(pairs=9))
    with pytest.raises(WrongUse, match="--questions 3: found 2"):
        study.held_out(data, plan_of(questions=3))


def test_the_likeliest_choice_a_token_counts():
    rows = [
        {"choices": ["a", "b", "c"], "answer": "b"},
        {"choices": ["a", "b"], "answer": "b"},
    ]
    assert list(study.hits([3.0, 1.0, 2.0, 0.5, 0.6], rows)) == [1.0, 0.0]


def test_a_difference_is_paired_by_item():
    """Items differ by far more than students do: unpaired, nothing could be told."""
    first = [float(n) for n in range(40)]
    second = [n + 0.1 for n in range(40)]
    assert study.difference(second, first) == "+0.100 (+0.100 to +0.100)"
    seeds = [{study.NLL: [1.0, 4.0]}, {study.NLL: [3.0, 4.0]}]
    assert study.over_seeds(seeds, study.NLL) == [2.0, 4.0]


def test_tables_show_every_seed_and_each_two_recipes():
    def student(right):
        return {
            study.NLL: [2.0, 2.0],
            study.LIKELIER: [1, 0],
            study.RIGHT: right,
        }

    made = {
        "a": {
            "rows": 3,
            "counts": {"asked": 5, "dropped": {"refusal": 2}},
            "prompt_tokens": 1200,
            "completion_tokens": 900,
            "usd": 0.0048,
        }
    }
    after = {
        "a": [student([1, 1]), student([1, 0])],
        "b": [student([0, 0]), student([0, 0])],
    }
    text = study.report(made, student([1, 0]), after)
    assert "| `a` | 3 | 5 | refusal 2 | 1,200 | 900 | 0.0048 |" in text
    assert f"| {study.RIGHT} | before | 0.500 |  |" in text
    assert f"| {study.RIGHT} | `a` | 1.000 0.500 | +0.250 (" in text
    assert f"| {study.RIGHT} | `a` | `b` | +0.750 (" in text


def test_other_options_want_another_folder(tmp_path):
    study.settle(plan_of(), tmp_path)
    study.settle(plan_of(), tmp_path)
    with pytest.raises(WrongUse, match=r"--steps 4: found .*with 3"):
        study.settle(plan_of(steps=4), tmp_path)


def test_a_reply_is_read_behind_its_prompt_in_the_template(data, base):
    """The nats of one reply, from the logits in float64."""
    import torch

    from finetune.students.load import load_student

    sets = study.held_out(data, plan_of())
    said = study.scores(base, sets)
    row = sets.pairs[0]
    network, tokenizer = load_student(str(base))
    prompt = f"<eos> user {row['question']} <eos> assistant "
    ids = tokenizer(prompt)["input_ids"]
    reply = tokenizer(row["preferred"])["input_ids"]
    with torch.no_grad():
        logits = network(torch.tensor([ids + reply])).logits[0].double()
    chosen = logits.log_softmax(-1)[len(ids) - 1 : -1]
    nats = -chosen[range(len(reply)), reply].mean()
    assert math.isclose(said[study.NLL][0], float(nats), rel_tol=1e-5)
    assert {len(items) for items in said.values()} == {2}


def test_what_a_student_learns_gets_likelier(tmp_path, data, base):
    """It learns the preferred replies themselves, and is measured on them."""
    sets = study.held_out(data, plan_of())
    rows = [
        {"prompt": f"{row['question']}\n", "completion": row["preferred"]}
        for row in sets.pairs
    ]
    lessons = write(tmp_path / "lessons.jsonl", rows)
    plan = plan_of(steps=40)
    folder = tmp_path / "student"
    students.train(folder, lessons, base, 0, study.settings(plan))
    before = study.scores(base, sets)
    after = study.scores(folder, sets)
    assert max(after[study.NLL]) < min(before[study.NLL]) / 2
    assert after[study.LIKELIER] == [1.0, 1.0]


def test_a_study_that_was_ended_goes_on(
    tmp_path, data, base, serve, monkeypatch
):
    """Its server breaks down first. Each recipe ends where its dollars do, and is asked no more."""
    trained = []

    def answer(body, number):
        if "gain" in body["messages"][-1]["content"]:
            return chat('{"why": "More.", "gain": 1, "answerable": 1}')
        words = f"Tell me of river {number}, of sea {number * 7} and of land."
        return chat(
            words if number % 2 else f"{words} It is as long as {number}."
        )

    def train(folder, *words):
        trained.append(folder.name)
        folder.mkdir()
        for path in base.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(models, "fetch", lambda name: tmp_path / name)
    monkeypatch.setattr(models, "student", lambda name: base)
    words = ["--data", str(data), "--output", str(tmp_path / "out")]
    words += ["--pairs", "2", "--questions", "2", "--dollars", "0.02"]

    def breaks(body, number):
        return answer(body, number) if number < 12 else Response(status=401)

    def serves(url):
        monkeypatch.setattr(
            server, "serving", lambda *_, **__: nullcontext(url)
        )

    with serve(breaks) as teacher:
        serves(teacher.url)
        broken = CliRunner().invoke(study.main, [*words, "--seeds", "1"])
        assert "start the study again" in str(broken.exception)
    with serve(answer) as teacher:
        serves(teacher.url)
        first = CliRunner().invoke(study.main, [*words, "--seeds", "1"])
        assert first.exit_code == 0, first.output
        asked = len(teacher.bodies)
        again = CliRunner().invoke(study.main, [*words, "--seeds", "2"])
        assert again.exit_code == 0, again.output
        assert len(teacher.bodies) == asked
    assert trained == [
        f"{name}-{seed}" for seed in (0, 1) for name in study.RECIPES
    ]
    assert not [*(tmp_path / "out").rglob("*.safetensors")]
    for name in study.RECIPES:
        made = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert made["rows"] > 0
        assert made["usd"] <= 0.02
    # The last one: its rows are answered before others are begun.
    assert made["rows"] >= 6
    text = (tmp_path / "out" / "table.md").read_text()
    assert (
        "| `self_instruct` | `evol_instruct` | +0.000 (+0.000 to +0.000) |"
        in text
    )
    other = CliRunner().invoke(study.main, [*words, "--steps", "5"])
    assert "study_instructions: --steps 5" in str(other.exception)
