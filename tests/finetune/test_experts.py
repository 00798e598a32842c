"""A student of experts keeps its balance while it learns from a teacher: the loss that its family adds is added."""

from __future__ import annotations

import json

import pytest
import torch

from finetune.data import rows
from finetune.data.tokens import tokenised
from finetune.students.scratch import build_tokenizer
from tests.conftest import write
from tests.finetune.test_train import finetune


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    out = tmp_path_factory.mktemp("experts")
    write(
        out / "rows.jsonl",
        [
            {"prompt": f"what is {n} ?\n", "completion": f"it is {n}"}
            for n in range(8)
        ],
    )
    tokenizer = build_tokenizer(["what is ? it"], 200)
    torch.manual_seed(0)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "moe_intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "output_router_logits": True,
        "router_aux_loss_coef": 0.5,
        "head_dim": 16,
    }
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(
            vocab_size=len(tokenizer),
            num_key_value_heads=2,
            eos_token_id=2,
            **shape,
            **experts,
        )
    )
    model.save_pretrained(out / "student")
    tokenizer.save_pretrained(out / "student")
    return out


@pytest.mark.slow
def test_the_loss_of_a_mixture_of_experts_is_added(mixture, tmp_path):
    from finetune.students.load import load_student

    model, tokenizer = load_student(str(mixture / "student"))
    made = tokenised(
        rows.sft_rows(mixture / "rows.jsonl"), tokenizer, where="rows"
    )
    batch = {
        name: torch.tensor([row[name] for row in made])
        for name in ("input_ids", "labels")
    }
    with torch.no_grad():
        wanted = float(
            model(
                **batch, attention_mask=torch.ones_like(batch["input_ids"])
            ).aux_loss
        )
    assert wanted > 1
    still = [
        "--max-steps",
        1,
        "--learning-rate",
        0,
        "--per-device-train-batch-size",
        8,
        "--disable-tqdm",
        "--logging-strategy",
        "no",
    ]
    words = [
        "--data",
        mixture / "rows.jsonl",
        "--model",
        mixture / "student",
        "--teacher",
        mixture / "student",
        "--output",
        tmp_path,
    ]
    for more, coefficient in (
        ([], 0.5),
        (["--router-aux-loss-coef", 2], 2.0),
        (["--router-aux-loss-coef", 0], 0.0),
    ):
        code, said = finetune("distill", *words, *still, *more)
        assert code == 0, said
        # Student and teacher are one: what is left is the balance.
        assert json.loads((tmp_path / "train.json").read_text())[
            "loss"
        ] == pytest.approx(coefficient * wanted, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_experts_keep_their_balance_in_any_batches_and_are_measured(
    mixture, tmp_path
):
    write(
        tmp_path / "held.jsonl",
        [{"prompt": "is it 9 ?\n", "completion": "it is 9"}],
    )
    found = []
    for more in ([], ["--padding-free"], ["--gradient-checkpointing"]):
        code, said = finetune(
            "distill",
            *("--data", mixture / "rows.jsonl", "--output", tmp_path),
            *("--model", mixture / "student"),
            *("--teacher", mixture / "student", "--max-steps", 1),
            *("--held-out", tmp_path / "held.jsonl", "--learning-rate", 0),
            *("--tokens-per-batch", 64, "--disable-tqdm", *more),
        )
        assert code == 0, said
        info = json.loads((tmp_path / "train.json").read_text())
        (measured,) = info["held_out"]["measured"]
        # Student and teacher are one: what is left is the balance.
        assert measured["kl"] == pytest.approx(0, abs=1e-5)
        assert measured["loss"] > 0.5
        found.append((info["loss"], measured["loss"]))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[2] == pytest.approx(found[0], rel=1e-4)
