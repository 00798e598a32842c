"""Small real trainings through the commands: from scratch, with LoRA, with preferences; and the evaluation of them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import synth
from finetune.cli import main
from finetune.settings import read_config
from finetune.students.scratch import SIZES, build, build_tokenizer
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests.conftest import write

FAST = [
    "--max-steps",
    "20",
    "--per-device-train-batch-size",
    "8",
    "--learning-rate",
    "5e-3",
    "--disable-tqdm",
    "--logging-strategy",
    "no",
]


def finetune(*args):
    result = CliRunner().invoke(main, [str(a) for a in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run folder, a config file and a student trained on the run."""
    out = tmp_path_factory.mktemp("made")
    synth.run(
        "cot",
        make_problems(60, seed=6),
        teacher="simulated/mixed",
        output=out / "run",
        draws=4,
    )
    (out / "sft.yaml").write_text(
        "weight_decay: 1e-2\nmax_length: 96\nmax_steps: 9999\n"
    )
    code, said = finetune(
        "sft",
        "--data",
        out / "run",
        "--model",
        "scratch:tiny",
        "--output",
        out / "sft",
        "--config",
        out / "sft.yaml",
        *FAST,
    )
    assert code == 0, said
    assert "20 steps" in said
    return out


@pytest.mark.slow
def test_sft_writes_a_student_that_evaluate_loads(made):
    info = json.loads((made / "sft" / "train.json").read_text())
    assert info["trainable"] == info["parameters"] < 150_000
    write(made / "test.jsonl", make_problems(20, seed=7))
    code, said = finetune(
        "evaluate",
        "--data",
        made / "test.jsonl",
        "--model",
        made / "sft",
        "--output",
        made / "ev",
        "--max-new-tokens",
        40,
    )
    assert code == 0, said
    found = json.loads((made / "ev" / "evaluation.json").read_text())
    assert found["rows"] == 20
    assert (
        0
        <= found["exact_match"]["low"]
        <= found["exact_match"]["share"]
        <= found["exact_match"]["high"]
        <= 1
    )
    assert (
        len((made / "ev" / "predictions.jsonl").read_text().splitlines()) == 20
    )


@pytest.mark.slow
def test_dpo_and_lora_on_top(made):
    code, said = finetune(
        "dpo",
        "--data",
        made / "run",
        "--model",
        made / "sft",
        "--output",
        made / "dpo",
        "--beta",
        "0.3",
        *FAST,
    )
    assert code == 0, said
    code, said = finetune(
        "sft",
        "--data",
        made / "run",
        "--model",
        made / "sft",
        "--output",
        made / "lora",
        "--lora",
        "r=4,lora_alpha=8",
        *FAST,
    )
    assert code == 0, said
    info = json.loads((made / "lora" / "train.json").read_text())
    assert info["trainable"] < info["parameters"] / 4
    assert (made / "lora" / "adapter_config.json").is_file()
    code, said = finetune(
        "evaluate",
        "--data",
        made / "run",
        "--model",
        made / "lora",
        "--output",
        made / "ev2",
        "--limit",
        5,
        "--max-new-tokens",
        8,
    )
    assert code == 0, said


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sft", "--model", "scratch:tyny"], "Did you mean tiny"),
        (
            ["sft", "--model", "scratch:tiny", "--learning-rat", "1"],
            "Did you mean learning_rate",
        ),
        (["sft", "--model", "none/here"], "no model"),
        (["sft", "--model", "scratch:tiny", "--lora", "rr=4"], "LoraConfig"),
        (["sft", "--model", "scratch:tiny", "stray"], "--field value"),
        (["dpo", "--model", "scratch:tiny"], "finetune sft"),
        (["evaluate", "--model", "none/here"], "no model"),
    ],
)
def test_wrong_use_exits_with_2_before_training(args, says, made, tmp_path):
    code, said = finetune(
        *args, "--data", made / "run", "--output", tmp_path / "x"
    )
    assert code == 2, said
    assert says in said


def test_flags_overrule_the_file_and_numbers_are_numbers(tmp_path):
    (tmp_path / "c.yaml").write_text("learning_rate: 5e-3\nmax_steps: 3\n")
    assert read_config(tmp_path / "c.yaml", {"max_steps": 4}) == {
        "learning_rate": 0.005,
        "max_steps": 4,
    }
    (tmp_path / "c.yaml").write_text("max_steps: 3\nmax_steps: 4\n")
    with pytest.raises(WrongUse, match=r"c\.yaml:2.*twice"):
        read_config(tmp_path / "c.yaml", {})


def test_scratch_students_are_the_same_every_time_and_round_trip_text():
    texts = ["Sam has 7 coins .", "first 7 + 5 = 12 . #### 12"]
    (one, tokenizer), (two, _) = (
        build("scratch:tiny", texts, 3) for _ in range(2)
    )
    assert all(
        bool((a == b).all())
        for a, b in zip(one.parameters(), two.parameters(), strict=True)
    )
    assert tokenizer.decode(tokenizer(texts[1])["input_ids"]) == texts[1]
    assert tokenizer.tokenize("Sam 57 sox") == [
        "Sam",
        "57",
        "s",
        "\u21b3o",
        "<unk>",
    ][:2] + tokenizer.tokenize("sox")
    assert len(build_tokenizer(texts, 10)) >= 10
    assert set(SIZES) == {"tiny", "mini", "small"}
