"""Filters and critics as rewards: the student learns what earns more, and nothing is paid twice."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace
from typing import ClassVar

import pytest

from finetune.trainers.rewards import Rewards, with_journal
from synth.calls.journal import records
from synth.core import registry
from synth.core.aio import run_async
from synth.core.errors import BudgetReached
from synth.core.records import Verdict
from synth.filters.base import RowFilter
from tests.conftest import chat, serving, write
from tests.finetune.test_train import finetune

STEPS = (
    *("--max-steps", "12", "--learning-rate", "3e-3", "--disable-tqdm"),
    *("--per-device-train-batch-size", "16", "--num-generations", "8"),
    *("--max-completion-length", "8", "--logging-strategy", "no"),
)
QUESTIONS = [
    {"question": f"Which is it , {n} ?", "target": "4"} for n in range(8)
]


@pytest.fixture(scope="module")
def undecided(tmp_path_factory):
    """A student that says 4 as often as 5."""
    out = tmp_path_factory.mktemp("undecided")
    rows = [
        {"prompt": row["question"] + "\n", "completion": f"#### {n}"}
        for row in QUESTIONS
        for n in (4, 5)
    ]
    data = write(out / "rows.jsonl", rows)
    code, said = finetune(
        *("sft", "--data", data, "--model", "scratch:tiny"),
        *("--output", out / "student", "--max-steps", "60"),
        *("--learning-rate", "5e-3", "--disable-tqdm"),
        *("--per-device-train-batch-size", "8", "--logging-strategy", "no"),
    )
    assert code == 0, said
    return out / "student"


def rewarded(student, folder, *args, rows=QUESTIONS):
    data = write(folder / "questions.jsonl", rows)
    code, said = finetune(
        *("grpo", "--data", data, "--model", student),
        *("--output", folder / "better", *STEPS, *args),
    )
    assert code == 0, said
    return json.loads((folder / "better" / "train.json").read_text())


def lines(folder):
    text = (folder / "better" / "completions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_right_becomes_likelier(undecided, tmp_path):
    info = rewarded(undecided, tmp_path, "--reward", "answer_match")
    course = info["rewards"]["answer_match"]
    assert 0.2 < course["first"] < 0.8
    assert course["last"] > 0.85
    texts = lines(tmp_path)
    assert len(texts) == info["completions"] == 12 * 16
    for line in texts:
        right = "#### 4" in line["completion"]
        assert line["rewards"]["answer_match"] == float(right)
        assert bool(line["reasons"]) != right
    code, said = finetune(
        *("evaluate", "--data", tmp_path / "questions.jsonl"),
        *("--model", tmp_path / "better", "--output", tmp_path / "measured"),
    )
    assert code == 0, said
    measured = json.loads((tmp_path / "measured/evaluation.json").read_text())
    assert measured["exact_match"]["share"] == 1.0


def test_weights_turn_what_is_learnt(undecided, tmp_path):
    """The same reward with a negative weight teaches what is wrong."""
    info = rewarded(
        undecided,
        tmp_path,
        *("--reward", "answer_match", "--reward", "answer_match"),
        *("--reward-weights", "1,-3"),
    )
    assert set(info["rewards"]) == {"answer_match", "answer_match_2"}
    assert info["rewards"]["answer_match"]["last"] < 0.15


def test_a_critic_rewards_and_its_replies_are_kept(undecided, tmp_path):
    def answer(body, _):
        text = body["messages"][-1]["content"]
        right = "#### 4" in text or "answer: 4" in text.casefold()
        return chat(
            "<verdict>yes</verdict>" if right else "<verdict>no</verdict>"
        )

    with serving(answer) as server:
        spec = f"critic:teacher=openai/m,api_base={server.url},api_key_env="
        few = ("--reward", spec, "--max-steps", "2")
        first = rewarded(undecided, tmp_path, *few)
        asked = len(server.bodies)
        said = dict(records(tmp_path / "better" / "journal"))
        again = rewarded(undecided, tmp_path, *few)
    assert asked == len(said) > 0
    assert len(server.bodies) == asked
    assert first["rewards"] == again["rewards"]


def test_a_training_goes_on_and_its_texts_stand_once(undecided, tmp_path):
    few = ("--reward", "answer_match", "--resume", "--save-steps", "2")
    steps = ("--save-strategy", "steps", "--max-steps")
    rewarded(undecided, tmp_path, *few, *steps, "4")
    # As a kill behind the first checkpoint leaves it.
    shutil.rmtree(tmp_path / "better/checkpoints/checkpoint-4")
    info = rewarded(undecided, tmp_path, *few, *steps, "6")
    assert info["resumed_at"] == 2
    places = [(line["step"], line["row"]) for line in lines(tmp_path)]
    assert {step for step, _ in places} == set(range(6))
    assert len(places) == 6 * 16


def earned(parts, rows=QUESTIONS, **more):
    built = [registry.build("synth.filters", part) for part in parts]
    parser = registry.build("synth.parsers", "final_number")
    return Rewards(rows, parser, built, {2}, **more)


def asked(function, texts, rows, ids=None):
    return run_async(
        function(
            completions=texts,
            completion_ids=ids or [[5, 2]] * len(texts),
            row=rows,
            trainer_state=SimpleNamespace(global_step=0),
            prompts=[],
        )
    )


def test_what_cannot_be_read_earns_nothing_and_what_cannot_be_judged_is_left_open():
    rewards = earned(["answer_match"], [QUESTIONS[0], {"question": "Why ?"}])
    texts = ["#### 4", "#### 5", "I say.", "#### 4"]
    values = asked(rewards.functions[0], texts, [0, 0, 0, 1])
    assert values == [1.0, 0.0, 0.0, None]
    assert sum(rewards.unreadable.values()) == 1


def test_texts_that_were_cut_off_are_known():
    rewards = earned(["finish_reason"])
    texts = ["#### 4", "#### 4"]
    assert asked(rewards.functions[0], texts, [0, 0], [[5, 2], [5, 5]]) == [
        *(1.0, 0.0)
    ]


def test_texts_of_a_prompt_are_compared_with_each_other_alone():
    rewards = earned(["self_consistency"])
    texts = ["#### 4", "#### 7", "#### 4", "#### 7", "#### 7", "#### 4"]
    values = asked(rewards.functions[0], texts, [0, 1, 0, 1, 1, 0])
    assert values == [1.0] * 6
    mixed = ["#### 4", "#### 4", "#### 5"]
    assert asked(rewards.functions[0], mixed, [0, 0, 0]) == [1.0, 1.0, 0.0]


class Middling(RowFilter):
    """Drops all, with a score."""

    reasons: ClassVar = {"middling": "always"}

    def verdict(self, row):
        return Verdict(False, "middling", {"score": 0.25})


def test_a_score_is_the_reward_where_it_is_wanted():
    parser = registry.build("synth.parsers", "final_number")
    for graded, value in ((False, 0.0), (True, 0.25)):
        rewards = Rewards(QUESTIONS, parser, [Middling()], {2}, graded=graded)
        assert asked(rewards.functions[0], ["#### 4"], [0]) == [value]


def test_the_budget_of_a_critic_is_of_the_whole_training(tmp_path):
    body = chat("<verdict>yes</verdict>")
    with serving(lambda *_: body) as server:
        part = registry.build(
            "synth.filters",
            {
                "name": "critic",
                "teacher": "openai/m",
                "api_base": server.url,
                "api_key_env": "",
                "price": "100,100",
                "budget": 0.5,
            },
        )

        async def steps():
            held = Rewards(
                QUESTIONS,
                registry.build("synth.parsers", "final_number"),
                [with_journal(part, tmp_path)],
                {2},
            )
            try:
                for step in range(400):
                    await held.functions[0](
                        completions=[f"{step} #### 4"],
                        completion_ids=[[5, 2]],
                        row=[0],
                        trainer_state=SimpleNamespace(global_step=step),
                    )
            finally:
                await held.close()

        with pytest.raises(BudgetReached):
            run_async(steps())
        once = len(server.bodies)
        with pytest.raises(BudgetReached):
            run_async(steps())
    usage = body["usage"]
    tokens = usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < once == len(server.bodies)
    assert once * tokens * 100 / 1e6 <= 0.5


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--reward", "near_duplicate"), "compares all rows"),
        (("--reward", "nothing"), "nothing"),
        (("--reward", "run_python"), "tests"),
        (("--reward", "answer_match", "--reward-weights", "1,2"), "2 of them"),
        (("--reward", "answer_match", "--num-generations", "3"), "divisible"),
        (("--reward", "answer_match", "--reward-funcs", "x"), "no such field"),
        (("--reward", "answer_match", "--model", "scratch:tiny"), "trained"),
    ],
)
def test_what_cannot_be_is_refused_before_a_step(
    undecided, tmp_path, args, says
):
    data = write(tmp_path / "questions.jsonl", QUESTIONS)
    code, said = finetune(
        *("grpo", "--data", data, "--model", undecided),
        *("--output", tmp_path / "better", *STEPS, *args),
    )
    assert code == 2
    assert says in said
    assert not (tmp_path / "better" / "train.json").exists()


FLOW = """
name: reinforced
version: 1
about: The student's own texts, rewarded; then it is measured.
before:
  - name: better
    train: grpo
    from: input
    student: student
    set: {reward: answer_match, max_steps: 4, num_generations: 8,
      max_completion_length: 8, per_device_train_batch_size: 16}
  - name: measured
    evaluate: final_number
    from: input
    student: better.student
"""


def test_rows_without_a_gold_are_refused(undecided, tmp_path):
    data = write(tmp_path / "questions.jsonl", [{"question": "Which ?"}])
    code, said = finetune(
        *("grpo", "--data", data, "--model", undecided, *STEPS),
        *("--output", tmp_path / "better", "--reward", "answer_match"),
    )
    assert code == 2
    assert "wanted target" in said


def test_a_stage_of_a_flow_rewards(undecided, tmp_path):
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "flow.yaml").write_text(FLOW)
    data = write(tmp_path / "questions.jsonl", QUESTIONS)
    code, said = finetune(
        *("flow", folder, "--input", data, "--student", undecided),
        *("--output", tmp_path / "out"),
    )
    assert code == 0, said
    (record,) = (tmp_path / "out").rglob("train.json")
    info = json.loads(record.read_text())
    assert info["rewards"]["answer_match"]["mean"] > 0.1
    assert list((tmp_path / "out").rglob("evaluation.json"))
