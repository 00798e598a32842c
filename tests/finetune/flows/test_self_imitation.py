"""Self-imitation: what is kept is learnt, each round goes on from the last one's student, and is played once."""

from __future__ import annotations

import json

import pytest

from finetune.flows import self_imitation
from finetune.flows.self_imitation import ImitationConfig, run
from synth.core.errors import WrongUse
from tests.conftest import chat, serving, write
from tests.finetune.test_train import finetune

CONCEPTS = [
    {"concept": concept, "frame": "are"}
    for concept in ("Dogs", "Cats", "Cows", "Hens", "Pigs", "Bees")
]
TRAINER = {
    "max_steps": 60,
    "per_device_train_batch_size": 8,
    "learning_rate": 5e-3,
    "disable_tqdm": True,
    "logging_strategy": "no",
}


def answer(body, count):
    """As a writer it finishes the line, as a critic it finds all true but what is said of cats."""
    text = body["messages"][-1]["content"]
    if "truth" in text:
        return chat(json.dumps({"truth": 0.1 if "Cats" in text else 0.9}))
    return chat("kind animals")


@pytest.mark.long
@pytest.mark.slow
def test_rounds_go_on_from_the_student_before_and_are_played_once(
    tmp_path, monkeypatch
):
    seen = []
    real = self_imitation.sft.run
    monkeypatch.setattr(
        self_imitation.sft,
        "run",
        lambda config: (seen.append(config.model), real(config))[1],
    )
    seeds = write(tmp_path / "seeds.jsonl", CONCEPTS)
    with serving(answer) as server:
        config = ImitationConfig(
            seeds=str(seeds), model="scratch:tiny", output=tmp_path / "out", teacher="openai/m", critics={"critic": "openai/m"}, rounds=2, patience=9,
            trainer=TRAINER, run={"api_base": server.url, "overrides": {"write.draws": 1, "write.sampling": {"temperature": 0.0, "max_tokens": 4}}},
        )  # fmt: skip
        done = run(config)
        asked = len(server.bodies)
        assert run(config) == done
        assert len(server.bodies) == asked
    assert seen == [
        "scratch:tiny",
        str(tmp_path / "out" / "round0" / "student"),
    ]
    assert (done[0]["asked"], done[0]["kept"]) == (6, 5)
    assert (
        done[1]["teacher"] == f"local/{tmp_path / 'out' / 'round0' / 'student'}"
    )
    assert done[1]["kept"] >= 4
    words = [
        "--seeds",
        seeds,
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "out",
        "--critic",
        "critic=openai/m",
        "--rounds",
        "2",
        "--patience",
        "9",
    ]
    code, said = finetune("self-imitation", *words, "--max-steps", "60")
    assert code == 0, said
    assert "round 0: 5 of 6 draws kept" in said


def test_a_round_that_keeps_nothing_says_so(tmp_path):
    seeds = write(tmp_path / "seeds.jsonl", CONCEPTS[1:2])
    with (
        serving(answer) as server,
        pytest.raises(WrongUse, match="nothing of openai/m was kept"),
    ):
        run(
            ImitationConfig(
                seeds=str(seeds), model="scratch:tiny", output=tmp_path / "out", teacher="openai/m", critics={"critic": "openai/m"},
                run={"api_base": server.url}, trainer=TRAINER,
            )
        )  # fmt: skip
