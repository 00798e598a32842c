"""Several processes train to the loss and the weights of one on the joint batch; the first of them
writes and speaks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from trl import SFTConfig

import synth
from finetune.cli import launching as launching_module
from finetune.cli import main, shared
from finetune.core.sharding import held, size
from finetune.data.held_out import HeldOut
from finetune.settings import Shape, TrainConfig, trainer_config
from finetune.students.encoders import open_encoder
from finetune.students.load import load_student
from synth.core.errors import WrongUse
from synth.local_models.minilm import MINILM
from synth.teachers.simulation.word_problems import make_problems
from tests import tiny
from tests.conftest import ROOT, write

STEPS = [
    *("--learning-rate", "1e-2", "--max-steps", "3", "--disable-tqdm"),
    *("--optim", "sgd", "--max-grad-norm", "0"),
]


def finetune(*words):
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "finetune.cli", *map(str, words)],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with rows of each kind."""
    folder = tmp_path_factory.mktemp("processes")
    synth.run(
        "cot",
        make_problems(40, seed=6),
        teacher="simulated/perfect",
        output=folder / "run",
    )
    numbers = range(40)
    # Of as many words each: every batch is a mean over its own tokens.
    texts = [
        {"text": tiny.FACTS[n % 8], "label": ["cold", "hot"][n % 2]}
        for n in numbers
    ]
    write(folder / "texts.jsonl", texts)
    pairs = [
        {
            "prompt": f"What is {n} + {n} ?",
            "chosen": f" it is {2 * n}",
            "rejected": f" it is a {n}",
        }
        for n in numbers
    ]
    write(folder / "pairs.jsonl", pairs)
    write(
        folder / "held.jsonl",
        [{**row, "prompt": f"How much is {row['prompt']}"} for row in pairs],
    )
    synth.run(
        "cot",
        make_problems(20, seed=77),
        teacher="simulated/perfect",
        output=folder / "held",
    )
    stages = [
        {
            "context": f"Fact {n}: ",
            "prompt": f"What is {n} + {n} ?",
            "completion": f" it is {2 * n}",
            "size": n * 7 % 40,
        }
        for n in numbers
    ]
    write(folder / "fade.jsonl", stages)
    judged = [
        {
            "question": f"What is {n} + {n} ?",
            "rationale": f"it is {n}",
            "answer": f"{n}",
            "is_correct": n % 2 == 0,
        }
        for n in numbers
    ]
    write(folder / "judged.jsonl", judged)
    lists = [
        {
            "query": f"What is {n} + {n} ?",
            "documents": [f"it is {2 * n}", f"a dog {n}"],
            "scores": [1.0, 0.1],
        }
        for n in numbers
    ]
    write(folder / "lists.jsonl", lists)
    # Without dropout, which is another one in each process.
    model = open_encoder("bi", MINILM)
    config = model[0].auto_model.config
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model.save_pretrained(str(folder / "encoder"))
    return folder


def commands(data):
    run = ["--data", data / "run", "--model", tiny.causal()]
    pairs = ["--data", data / "pairs.jsonl", "--model", tiny.causal()]
    lists = ["--data", data / "lists.jsonl", "--model", data / "encoder"]
    return {
        "sft": ["sft", *run],
        "sft, adapters": ["sft", *run, "--lora", "r=4"],
        "dpo": ["dpo", *pairs],
        "rank": ["rank", *pairs],
        "fade": ["fade", "--data", data / "fade.jsonl", *run[2:]],
        "curriculum": [
            *("curriculum", "--data", data / "fade.jsonl", *run[2:]),
            *("--by", "size"),
        ],
        "critic": ["critic", "--data", data / "judged.jsonl", *run[2:]],
        "codistill": ["codistill", *run, "--teacher", tiny.other()],
        "distill": ["distill", *run, "--teacher", tiny.other()],
        "distill, layers": [
            *("distill", *run, "--teacher", tiny.wide()),
            *("--loss", "forward_kl", "--loss", "hidden_mse:layers=uniform"),
        ],
        "distill, a head of its own": [
            *("distill", "--data", data / "run", "--model", tiny.untied()),
            *("--teacher", tiny.wide(), "--loss", "hidden_mse"),
        ],
        "distill, pairs": [
            *("distill", *pairs, "--teacher", tiny.other()),
            *("--loss", "contrastive"),
        ],
        "distill, classes": [
            *("distill", "--task", "classify", "--data", data / "texts.jsonl"),
            *("--model", tiny.encoder("classify")),
            *("--teacher", tiny.encoder("classify", 64, 4)),
            *(
                "--loss",
                "forward_kl",
                "--loss",
                "hidden_mse",
                "--likelihood",
                1,
            ),
        ],
        "retriever": ["retriever", *lists],
        "retriever, a library's loss": [
            *("retriever", *lists, "--loss", "multiple_negatives_ranking"),
        ],
    }


def weights(folder):
    name = "model.safetensors"
    if not (folder / name).is_file():
        name = "adapter_model.safetensors"
    return load_file(folder / name)


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "sft",
        "sft, adapters",
        "dpo",
        "rank",
        "fade",
        "curriculum",
        "codistill",
        "critic",
        "distill",
        "distill, layers",
        "distill, a head of its own",
        "distill, pairs",
        "distill, classes",
        "retriever",
        "retriever, a library's loss",
    ],
)
def test_two_processes_are_one_with_the_joint_batch(data, tmp_path, name):
    words = [*commands(data)[name], *STEPS, "--output"]
    batch = "--per-device-train-batch-size"
    one = finetune(*words, tmp_path / "one", batch, 4)
    two = finetune(*words, tmp_path / "two", batch, 2, "--processes", 2)
    assert one.count("3 steps") == two.count("3 steps") == 1
    infos = [
        json.loads((tmp_path / folder / "train.json").read_text())
        for folder in ("one", "two")
    ]
    assert infos[0]["loss"] == pytest.approx(infos[1]["loss"], rel=1e-4)
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.allclose(value, second[key], atol=1e-6), key
    # The steps moved them by more than the two differ.
    if name == "sft":
        start = weights(type(tmp_path)(tiny.causal()))
        assert max((start[k] - v).abs().max() for k, v in first.items()) > 1e-4


# Command -> the first words of another one, and what is added to them.
SHARDED = {
    "sft": ("sft", ()),
    "sft, adapters": ("sft, adapters", ()),
    "dpo": ("dpo", ()),
    "dpo, adapters": ("dpo", ("--lora", "r=4")),
    "distill": ("distill", ("--likelihood", "0.5")),
    "distill, a head of its own": ("distill, a head of its own", ()),
    "retriever": ("retriever", ()),
    "retriever, adapters": ("retriever", ("--lora", "r=4")),
}


@pytest.mark.long
@pytest.mark.parametrize("name", SHARDED)
def test_weights_in_shards_are_those_of_one_process(data, tmp_path, name):
    base, more = SHARDED[name]
    words = [*commands(data)[base], *STEPS, *more, "--output"]
    batch = "--per-device-train-batch-size"
    two = (*words, tmp_path / "two", batch, 2, "--processes", 2)
    finetune(*words, tmp_path / "one", batch, 4)
    finetune(*two, "--sharding", "fsdp2")
    first, second = (
        json.loads((tmp_path / folder / "train.json").read_text())
        for folder in ("one", "two")
    )
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
    assert first["parameters"] == second["parameters"]
    # Every weight was in shards, or the training would have stopped.
    assert second["sharding"]["kind"] == "fsdp2"
    assert 0.5 <= second["sharding"]["held"] / second["parameters"] < 0.6
    one, whole = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == whole.keys()
    for key, value in one.items():
        assert torch.allclose(value, whole[key], atol=1e-6), key
    names = [
        {path.name for path in (tmp_path / folder).iterdir()}
        for folder in ("one", "two")
    ]
    assert names[0] == names[1]
    if name == "sft":
        model, tokenizer = load_student(str(tmp_path / "two"))
        ids = tokenizer("What is 2 ?", return_tensors="pt")["input_ids"]
        assert model.generate(ids, max_new_tokens=3).shape[1] > ids.shape[1]


@pytest.mark.long
@pytest.mark.parametrize("name", ["sft, adapters", "dpo", "distill"])
def test_a_training_in_shards_goes_on_and_keeps_its_best_checkpoint(
    data, tmp_path, name
):
    held = data / "held"
    if name == "dpo":
        held = data / "held.jsonl"
    words = [*commands(data)[name], "--learning-rate", "1e-2"]
    words += ["--max-steps", "4", "--disable-tqdm", "--resume"]
    words += ["--held-out", held, "--eval-steps", "2", "--keep-best"]
    words += ["--processes", 2, "--sharding", "fsdp2", "--output", tmp_path]
    finetune(*words)
    best = json.loads((tmp_path / "train.json").read_text())["held_out"]["best"]
    assert best["kept"]
    assert best["step"] == 4
    whole = weights(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "checkpoint-4")
    finetune(*words)
    info = json.loads((tmp_path / "train.json").read_text())
    assert info["resumed_at"] == 2
    assert info["held_out"]["best"] == best
    for key, value in weights(tmp_path).items():
        assert torch.equal(value, whole[key]), key


@pytest.mark.parametrize(
    ("more", "command", "says"),
    [
        ({"sharding": "fsdp1"}, "sft", "one of fsdp2, zero3"),
        ({"trainer": {"fsdp": True}}, "sft", "trainer field 'fsdp'"),
        ({"shape": Shape(weight_bits=4)}, "sft", "--weight-bits 4"),
        (
            {"held_out": HeldOut(data="h", measure="exact_match")},
            "sft",
            "--measure exact_match",
        ),
        ({}, "sft, weighted", "a training of the kind 'sft, weighted'"),
    ],
)
def test_what_does_not_go_with_shards_is_refused(
    tmp_path, monkeypatch, more, command, says
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    given = {"sharding": "fsdp2", **more}
    config = TrainConfig(data="d", model="m", output=tmp_path, **given)
    with pytest.raises(WrongUse, match=says):
        trainer_config(SFTConfig, config, command)


def test_one_process_has_no_shards(tmp_path):
    config = TrainConfig(data="d", model="m", output=tmp_path, sharding="fsdp2")
    with pytest.raises(WrongUse, match="Add --processes N"):
        trainer_config(SFTConfig, config, "sft")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--loss", "multi_exit"], "--loss multi_exit"),
        (["--teacher", "self:live"], "--teacher self:live"),
        (["--teacher", "t", "--on-policy", "1"], "--on-policy or --corrupt"),
    ],
)
def test_what_reads_weights_outside_of_a_pass_is_refused_in_shards(
    tmp_path, monkeypatch, more, says
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    write(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    words = ["distill", "--data", tmp_path / "rows.jsonl", "--model", "m"]
    words += ["--output", tmp_path / "o", "--sharding", "fsdp2", *more]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--kind", "cross", "--loss", "list_net"], "several passes"),
        (["--kind", "cross", "--loss", "mse"], "--kind cross"),
        (["--teacher", "t"], "--teacher t"),
        (["--loss", "cached_gist_embed"], "--loss cached_gist_embed"),
    ],
)
def test_what_does_not_go_with_retrievers_in_shards_is_refused(
    tmp_path, monkeypatch, more, says
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    rows = [{"query": "a", "documents": ["b", "c"], "scores": [1.0, 0.0]}]
    write(tmp_path / "rows.jsonl", rows)
    words = ["retriever", "--data", tmp_path / "rows.jsonl", "--model", "m"]
    words += ["--output", tmp_path / "o", "--sharding", "fsdp2", *more]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 2
    assert says in done.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="DeepSpeed may run here")
def test_deepspeed_is_refused_on_a_cpu_before_a_process_begins(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(shared, "launched", pytest.fail)
    write(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    words = ["sft", "--data", tmp_path / "rows.jsonl", "--model", "m"]
    words += ["--processes", 2, "--sharding", "zero3", "--output"]
    done = CliRunner().invoke(main, [*map(str, words), str(tmp_path / "o")])
    assert done.exit_code == 2
    assert "a machine without a GPU" in done.output
    assert "--sharding fsdp2" in done.output


def test_a_weight_that_is_whole_is_told():
    with pytest.raises(WrongUse, match="weight, which every process holds"):
        held(torch.nn.Linear(2, 2))


def test_a_weight_of_deepspeed_counts_whole_and_is_held_in_part():
    model = torch.nn.Linear(2, 2, bias=False)
    model.weight = torch.nn.Parameter(torch.empty(0))
    model.weight.ds_numel, model.weight.ds_tensor = 4, torch.zeros(2)
    assert size(model.weight) == 4
    assert held(model, "zero3") == 2


def launching(data, tmp_path, *more):
    words = [sys.executable, "-m", "finetune.cli", "sft", "--processes", "2"]
    words += ["--data", str(data / "run"), "--model", tiny.causal()]
    return subprocess.Popen(
        [*words, "--output", str(tmp_path / "o"), *more],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_wrong_use_ends_all_processes_and_is_said_once(data, tmp_path):
    process = launching(data, tmp_path, "--max-stepz", "3")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors.count("Did you mean max_steps") == 1
    assert "Traceback" not in errors
    assert not (tmp_path / "o" / "train.json").exists()


@pytest.mark.long
def test_an_interrupt_ends_all_processes(data, tmp_path):
    process = launching(data, tmp_path, "--max-steps", "100000")
    time.sleep(20)
    children = children_of(process.pid)
    assert len(children) == 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def children_of(pid):
    """Processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(number) for number in text.split()]


def sleeper(seconds, code):
    program = f"import sys, time; time.sleep({seconds}); sys.exit({code})"
    return subprocess.Popen([sys.executable, "-c", program])


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ([(0, 0), (0.2, 0)], 0),
        ([(0, 2), (0, 2)], 2),
        ([(0.3, 2), (0, 5)], 2),
        ([(60, 0), (0, 5)], 5),
        ([(0, 4), (60, 0)], 4),
    ],
)
def test_one_that_fails_ends_all_with_the_first_ones_code(
    monkeypatch, others, code
):
    monkeypatch.setattr(launching_module, "_GRACE", 1.0)
    begun = [sleeper(*one) for one in others]
    try:
        assert launching_module._watched(begun) == code
    finally:
        for process in begun:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_first_process_alone_writes_and_speaks(
    data, tmp_path, monkeypatch, rank
):
    monkeypatch.setenv("RANK", rank)
    words = [*commands(data)["sft"], *STEPS, "--output", tmp_path / "o"]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 0
    is_first = rank == "0"
    assert ("3 steps" in done.stdout) == is_first
    assert (tmp_path / "o" / "train.json").exists() == is_first
