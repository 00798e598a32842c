"""Rounds are played once, resume where they stopped, and end where nothing gets better."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.flows.rounds import play, settled
from finetune.flows.star import StarConfig
from finetune.flows.star import run as star
from synth.core.errors import WrongUse

SCORES = st.lists(st.integers(0, 4), min_size=1, max_size=9)


def ends_at(scores: list[int], patience: int) -> int:
    """Rounds that are played, counted slowly: those since the best one so far, against the
    patience.
    """
    best, since = -1, 0
    for number, score in enumerate(scores, 1):
        if score > best:
            best, since = score, 0
        else:
            since += 1
        if since == patience:
            return number
    return len(scores)


@given(SCORES, st.integers(1, 4), st.integers(0, 9))
def test_rounds_end_where_patience_does_and_resume_anywhere(
    tmp_path_factory, scores, patience, stopped
):
    path = tmp_path_factory.mktemp("r") / "rounds.json"
    played: list[int] = []

    def one(number: int) -> dict[str, int]:
        if len(played) == stopped and stopped not in resumed:
            resumed.append(stopped)
            raise KeyboardInterrupt
        played.append(number)
        return {"round": number, "score": scores[number]}

    resumed: list[int] = []

    def again() -> list[dict[str, int]]:
        return play(
            path,
            one,
            lambda result: result["score"],
            rounds=len(scores),
            patience=patience,
        )

    try:
        found = again()
    except KeyboardInterrupt:
        found = again()
    count = ends_at(scores, patience)
    assert [result["score"] for result in found] == scores[:count]
    assert played == list(range(count))
    assert json.loads(path.read_text()) == found
    assert again() == found
    assert len(played) == count


@given(SCORES, st.integers(1, 4))
def test_a_loop_that_has_settled_stays_so_until_something_is_better(
    scores, patience
):
    if settled(scores, patience):
        assert settled([*scores, min(scores)], patience)
        assert not settled([*scores, max(scores) + 1], patience)
    assert not settled(scores[:patience], patience)


@pytest.mark.parametrize("steps", [None, True, 0, -3, 2.5, "20"])
def test_steps_of_the_first_round_are_a_whole_number_from_1_on(tmp_path, steps):
    config = StarConfig(
        seeds="s",
        held_out="h",
        model="m",
        output=tmp_path / "out",
        trainer={"max_steps": steps},
    )
    with pytest.raises(WrongUse, match=f"max_steps={steps}"):
        star(config)
    assert not (tmp_path / "out").exists()


def test_a_loop_does_not_take_a_checkpoint_and_does_not_shrink(tmp_path):
    with pytest.raises(WrongUse, match="resume_from_checkpoint"):
        star(
            StarConfig(
                seeds="s",
                held_out="h",
                model="m",
                output=tmp_path,
                trainer={"max_steps": 2, "resume_from_checkpoint": "c"},
            )
        )
    with pytest.raises(WrongUse, match=r"growth=0\.9"):
        star(
            StarConfig(
                seeds="s",
                held_out="h",
                model="m",
                output=tmp_path,
                growth=0.9,
                trainer={"max_steps": 2},
            )
        )
