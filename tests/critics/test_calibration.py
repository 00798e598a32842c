"""Promises, curves and pictures of scores; cards tell them; critics that forged rows fool are not paid."""

from __future__ import annotations

import json
import random
from math import exp, log
from xml.dom.minidom import parseString

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synth
from synth.core.errors import Stopped, WrongUse
from synth.core.records import Verdict
from synth.critics.calibration import (
    labels_of,
    promised,
)
from synth.filters.critic import Critic
from synth.filters.length import Length
from synth.statistics.curves import (
    bins,
    calibration_error,
    choose,
    isotonic,
    platt,
    plot,
    probability,
)
from synth.statistics.thresholds import NotEnoughEvidence
from tests.cli.test_cli import synth as command
from tests.conftest import chat, serving, write
from tests.filters.test_critic import labelled

PAIRS = st.lists(
    st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60
)


def overconfident(count, seed=0):
    """Scores whose logit is three times too large."""
    rng = random.Random(seed)
    chances = [rng.uniform(0.1, 0.9) for _ in range(count)]
    scores = [1 / (1 + exp(-3 * log(c / (1 - c)))) for c in chances]
    return scores, [rng.random() < c for c in chances]


def test_platt_finds_the_slope_and_improves_fresh_rows():
    curve = platt(*overconfident(4000))
    assert curve["a"] == pytest.approx(1 / 3, abs=0.05)
    scores, labels = overconfident(2000, seed=1)
    after = [probability(curve, s) for s in scores]
    assert (
        calibration_error(after, labels)
        < 0.05
        < calibration_error(scores, labels)
    )


@given(PAIRS)
def test_isotonic_rises_and_keeps_the_mean(pairs):
    scores, labels = [s for s, _ in pairs], [y for _, y in pairs]
    curve = isotonic(scores, labels)
    assert curve["share"] == sorted(curve["share"])
    assert curve["to"] == sorted(curve["to"])
    assert sum(probability(curve, s) for s in scores) == pytest.approx(
        sum(labels), abs=1e-6
    )


@given(PAIRS)
def test_bins_hold_all_rows_and_errors_are_shares(pairs):
    scores, labels = [s for s, _ in pairs], [y for _, y in pairs]
    assert sum(part["rows"] for part in bins(scores, labels)) == len(pairs)
    assert 0 <= calibration_error(scores, labels) <= 1
    parseString(plot(bins(scores, labels), bins(scores, labels), 0.5))  # noqa: S318 - ours
    assert all(0 <= probability(platt(scores, labels), s) <= 1 for s in scores)


def test_a_curve_is_chosen_only_where_it_helps():
    rng = random.Random(0)
    honest = [rng.random() for _ in range(600)]
    labels = [rng.random() < s for s in honest]
    chosen = choose(honest, labels, range(600))
    assert (
        calibration_error([probability(chosen, s) for s in honest], labels)
        < 0.06
    )
    assert choose(*overconfident(600), range(600))["kind"] == "platt"
    assert choose([0.3, 0.9], [True, True], [1, 2]) == {"kind": "raw"}


def test_a_filter_without_scores_is_refused():
    with pytest.raises(WrongUse, match="without scores"):
        promised(Length(), labelled(5), target_precision=0.9)
    with pytest.raises(WrongUse, match="is_correct = None"):
        promised(
            Critic(teacher="simulated/critic"),
            [{"question": "q", "rationale": "1 + 1 = 2", "answer": "2"}],
            target_precision=0.9,
        )


def test_the_command_writes_a_filter_that_the_filter_command_reads(tmp_path):
    write(tmp_path / "labelled.jsonl", labelled(300))
    write(
        tmp_path / "rows.jsonl",
        [
            {k: v for k, v in row.items() if k != "is_correct"}
            for row in labelled(40, seed=3)
        ],
    )
    spec = 'critic:teacher="simulated/critic:miss=0.02,false_alarm=0.1,no_marker=0",votes=3'
    files = [
        "--output",
        tmp_path / "critic.json",
        "--plot",
        tmp_path / "plot.svg",
    ]
    code, output = command(
        "calibrate",
        spec,
        "--input",
        tmp_path / "labelled.jsonl",
        "--target-precision",
        "0.9",
        *files,
    )
    assert code == 0, output
    assert "precision" in output
    assert (
        json.loads((tmp_path / "critic.json").read_text())["promise"]["low"]
        >= 0.9
    )
    parseString((tmp_path / "plot.svg").read_text())  # noqa: S318 - ours
    code, output = command(
        "filter",
        "--input",
        tmp_path / "rows.jsonl",
        "--output",
        tmp_path / "kept.jsonl",
        "--filter",
        tmp_path / "critic.json",
    )
    assert code == 0, output
    assert "with confidence 0.9" in (tmp_path / "kept.md").read_text()
    assert (
        0
        <= json.loads((tmp_path / "kept.jsonl").read_text().splitlines()[0])[
            "marks"
        ]["critic"]["probability"]
        <= 1
    )
    code, output = command(
        "calibrate",
        spec,
        "--input",
        tmp_path / "rows.jsonl",
        "--target-precision",
        "0.9",
        *files,
    )
    assert code == 2


def test_too_few_labels_are_an_error_that_says_how_many(tmp_path):
    write(tmp_path / "labelled.jsonl", labelled(20))
    files = [
        "--input",
        tmp_path / "labelled.jsonl",
        "--output",
        tmp_path / "critic.json",
    ]
    code, output = command(
        "calibrate",
        "critic:teacher=simulated/critic",
        *files,
        "--target-precision",
        "0.95",
    )
    assert code == 2
    assert "more rows" in output
    assert not (tmp_path / "critic.json").exists()


PACK = """
name: judged
version: 1
about: x
inputs: {question: text}
steps:
  - name: go
    parser: final_number
    filters:
      - {name: critic, teacher: critic, least: 0.7}
"""
# A promise is the user's to give: no pack brings one.
PROMISE = {
    "least": 0.7,
    "precision": 0.9,
    "low": 0.85,
    "confidence": 0.9,
    "target": 0.85,
    "recall": 0.8,
    "kept": 90,
    "rows": 200,
}


def judged_run(tmp_path, rows, **options):
    folder = tmp_path / "judged"
    folder.mkdir(exist_ok=True)
    (folder / "pack.yaml").write_text(PACK)
    (folder / "go.user.j2").write_text("Q: {{ question }}")
    seeds = [{"question": f"What is {n} + 4 ?"} for n in range(rows)]
    told = {"go.filters.critic.promise": PROMISE}
    return synth.run(
        folder, seeds, output=tmp_path / "run", overrides=told, **options
    )


def test_a_critic_that_forged_rows_fool_is_not_paid(tmp_path):
    with serving(
        lambda body, count: chat(
            "<critique>Fine.</critique><verdict>yes</verdict>"
        )
    ) as server:
        with pytest.raises(Stopped, match=r"accepts \d+ of 32 forged rows"):
            judged_run(
                tmp_path,
                300,
                teacher={"teacher": "simulated/perfect", "critic": "openai/m"},
                api_base=server.url,
            )
        assert 28 <= len(server.bodies) <= 36
        done = judged_run(
            tmp_path,
            20,
            teacher={"teacher": "simulated/perfect", "critic": "openai/m"},
            api_base=server.url,
        )
    assert done.counts["kept"] == 20


def test_the_card_tells_what_was_measured(tmp_path):
    done = judged_run(
        tmp_path,
        300,
        teacher={
            "teacher": "simulated/perfect",
            "critic": "simulated/critic:miss=0,false_alarm=0,no_marker=0",
        },
    )
    card = (done.folder / "README.md").read_text()
    assert done.info["calls"]["asked"] == 300 + 300 + 32
    # At most: every verdict might have to be asked for again.
    assert done.info["plan"]["calls"] == 300 + 2 * (300 + 32)
    assert "precision 0.900, at least 0.850 with confidence 0.9" in card
    assert "accepted 0.00 of forged rows (none) and 1.00 of right ones" in card


class Scored:
    """A filter whose score is a column; a row without one is not judged."""

    name = "scored"
    group = None
    score = "score"
    least = 0.5
    promise = None

    async def verdicts(self, rows, doors=None):
        return [
            Verdict(None if row["s"] is None else True, "", marks_of(row["s"]))
            for row in rows
        ]


def marks_of(score):
    return {} if score is None else {"score": score}


def scored(*groups):
    """Rows of (score, label, how many)."""
    return [
        {"s": score, "is_correct": label, "question": f"{score} {label} {n}"}
        for score, label, count in groups
        for n in range(count)
    ]


def test_no_threshold_keeps_rows_that_could_not_be_judged():
    rows = scored((0.9, True, 60), (None, True, 60))
    promise = promised(Scored(), rows, target_precision=0.9)
    assert promise["least"] == 0.9
    assert (promise["kept"], promise["rows"], promise["unknown"]) == (
        60,
        120,
        60,
    )
    assert promise["recall"] == 0.5
    assert sum(part["rows"] for part in promise["bins"]["before"]) == 60


def test_rows_that_nobody_judged_promise_nothing():
    with pytest.raises(NotEnoughEvidence, match="label about"):
        promised(Scored(), scored((None, True, 99)), target_precision=0.9)


def test_a_promise_is_json_and_holds_the_curve_that_its_error_is_of():
    rng = random.Random(2)
    rows = []
    for n in range(400):
        score = rng.random()
        label = rng.random() < 0.4 + 0.6 * score
        rows.append({"s": score, "is_correct": label, "question": str(n)})
    promise = promised(Scored(), rows, target_precision=0.8)
    assert json.loads(json.dumps(promise)) == promise
    chances = [probability(promise["curve"], row["s"]) for row in rows]
    labels = [row["is_correct"] for row in rows]
    error = calibration_error(chances, labels)
    assert promise["error"]["after"] == pytest.approx(error, abs=1e-4)
    assert promise["error"]["after"] < promise["error"]["before"]


@pytest.mark.parametrize(
    "label", [5, -1, 2, "true", "", None, 1.0, float("nan"), [], "0"]
)
def test_a_grade_is_no_label(label):
    with pytest.raises(WrongUse) as error:
        labels_of([{"right": True}, {"right": label}], "right")
    said = str(error.value)
    assert said.startswith("row 2: found right = ")
    assert "wanted true or false" in said
    assert "label=" in said


def test_ones_and_zeros_are_labels():
    rows = [{"right": label} for label in (True, False, 1, 0)]
    assert labels_of(rows, "right") == [True, False, True, False]
    assert labels_of([], "right") == []


def test_rows_without_a_question_stand_alone():
    rows = scored((0.9, True, 60), (0.1, False, 60))
    bare = [{k: v for k, v in row.items() if k != "question"} for row in rows]
    found, wanted = (
        promised(Scored(), some, target_precision=0.9) for some in (bare, rows)
    )
    assert found == wanted
    assert (found["kept"], found["effective"]) == (60, 60)
