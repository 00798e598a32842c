"""STaR's loop: right rationales alone, every round from the base, more steps each time, an end where nothing gets better."""

from __future__ import annotations

import json

import pytest

from finetune.flows import star
from finetune.flows.rounds import settled
from finetune.flows.star import StarConfig, run
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import write
from tests.finetune.test_train import finetune
from tests.pipeline.test_run import make_pack

# Just the question: a student of 96,000 parameters reads no instructions.
PACK = {
    "pack.yaml": """
name: bare_star
version: 1
about: Right rationales of the student.
inputs: {question: text, target: text}
steps:
  - name: attempt
    sampling: {temperature: 0.0, max_tokens: 48}
    parser: final_number
    filters: [{name: answer_match, unknown: drop}]
exports:
  sft: {prompt: "{{ question }}\\n", completion: "{{ rationale }}\\n#### {{ answer }}"}
""",
    "attempt.user.j2": "{{ question }}",
}


@pytest.mark.parametrize(
    ("shares", "patience", "ends"),
    [
        ((), 1, False),
        ((0.5,), 1, False),
        ((0.5, 0.5), 1, True),
        ((0.5, 0.6), 1, False),
        ((0.5, 0.4, 0.6), 2, False),
        ((0.5, 0.4, 0.5), 2, True),
    ],
)
def test_it_ends_where_nothing_gets_better(shares, patience, ends):
    assert settled(shares, patience) is ends


def test_steps_must_be_given(tmp_path):
    with pytest.raises(WrongUse, match="max_steps=None"):
        run(
            StarConfig(
                seeds="x", held_out="y", model="scratch:tiny", output=tmp_path
            )
        )


@pytest.mark.long
def test_rounds_restart_from_the_base_and_resume(tmp_path, monkeypatch):
    seeds, held = (
        write(tmp_path / "seeds.jsonl", make_problems(60, seed=3)),
        write(tmp_path / "held.jsonl", make_problems(10, seed=4)),
    )
    pack = make_pack(tmp_path / "pack", PACK)
    seen = []
    real = star.sft.run
    monkeypatch.setattr(
        star.sft,
        "run",
        lambda config: (
            seen.append((config.model, config.trainer["max_steps"])),
            real(config),
        )[1],
    )
    trainer = {
        "max_steps": 200,
        "per_device_train_batch_size": 16,
        "learning_rate": 5e-3,
        "disable_tqdm": True,
        "logging_strategy": "no",
    }
    options = {
        "seeds": str(seeds),
        "held_out": str(held),
        "model": "scratch:tiny",
        "output": tmp_path / "star",
        "pack": str(pack),
        "trainer": trainer,
    }
    config = StarConfig(
        teacher="simulated/slips",
        rounds=2,
        patience=9,
        max_new_tokens=48,
        growth=1.5,
        **options,
    )
    done = run(config)
    assert seen == [("scratch:tiny", 200), ("scratch:tiny", 300)]
    assert [found["steps"] for found in done] == [200, 300]
    assert done[0]["teacher"] == "simulated/slips"
    assert (
        done[1]["teacher"]
        == f"local/{tmp_path / 'star' / 'round0' / 'student'}"
    )
    assert 0 < done[1]["kept"] <= 60
    assert (
        run(config)
        == done
        == json.loads((tmp_path / "star" / "rounds.json").read_text())
    )
    assert len(seen) == 2
    words = [
        "--seeds",
        seeds,
        "--held-out",
        held,
        "--model",
        "scratch:tiny",
        "--output",
        tmp_path / "star",
        "--pack",
        pack,
        "--rounds",
        "2",
    ]
    code, said = finetune(
        "star",
        *words,
        "--patience",
        "9",
        "--max-steps",
        "200",
        "--growth",
        "1.5",
    )
    assert code == 0, said
    assert said.count("exact match") == 2
