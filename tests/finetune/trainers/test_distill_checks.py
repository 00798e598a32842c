"""Which losses, teachers and texts go together: settings alone, before a model is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetune.data.held_out import HeldOut
from finetune.data.teacher_prompts import TeacherPrompt
from finetune.settings import TrainConfig
from finetune.teachers.served_settings import Servers
from finetune.trainers.distill_checks import check_whole, checked
from finetune.trainers.distill_settings import DistillConfig
from finetune.trainers.on_policy_settings import OnPolicy
from synth.core.errors import WrongUse

DISK: dict[str, Any] = {"offline": "d"}
URL: dict[str, Any] = {"servers": Servers(urls=("http://127.0.0.1:1/v1",))}
MODEL: dict[str, Any] = {"teachers": ("t",)}
PROMPT = TeacherPrompt(user="{{ hint }}")
HINTED: dict[str, Any] = {**MODEL, "prompt": PROMPT}
MEAN: dict[str, Any] = {"teachers": ("self:ema",), "prompt": PROMPT}
WRITES = OnPolicy(share=0.1)
ADAPTS = OnPolicy(schedule="adaptive", hold_out=0.1)
ALL = OnPolicy(share=1.0)


@pytest.mark.parametrize(
    ("source", "losses", "own"),
    [
        (DISK, ["top_k"], OnPolicy()),
        (DISK, ["top_k", "reverse_kl=0.5"], OnPolicy()),
        (DISK, ["top_k", "multi_exit"], OnPolicy()),
        (URL, ["top_k", "jsd=0.5:schedule=linear"], ADAPTS),
        (URL, ["forward_kl", "taid"], WRITES),
        (URL | {"prompt": PROMPT}, ["forward_kl", "reverse_kl"], WRITES),
        (HINTED, ["forward_kl", "logit_mse", "multi_exit"], ADAPTS),
        (HINTED, ["forward_kl", "hidden_mse", "rkd"], WRITES),
        (HINTED, ["contrastive"], ALL),
        (HINTED, ["minillm"], ALL),
        (MEAN, ["forward_kl", "reverse_kl"], WRITES),
        (MEAN, ["contrastive"], ALL),
        ({"teachers": ("self:base",)}, ["forward_kl", "hidden_mse"], WRITES),
    ],
)  # fmt: skip
def test_what_goes_together(source, losses, own):
    config = DistillConfig(losses=tuple(losses), on_policy=own, **source)
    assert len(checked(config)) == len(losses)


@pytest.mark.parametrize(
    ("source", "losses", "own", "where", "says"),
    [
        (DISK, ["top_k"], WRITES, "--offline", "rows that were taught"),
        (DISK, ["top_k"], ADAPTS, "--offline", "rows that were taught"),
        (DISK, ["top_k"], OnPolicy(corrupt=0.1), "--offline", "rows that were"),
        (DISK, ["top_k", "logit_mse"], OnPolicy(), "--loss logit_mse", "likeliest"),
        (DISK, ["top_k", "hidden_mse"], OnPolicy(), "hidden_mse", "with --offline"),
        (DISK, ["forward_kl:temperature=2.0"], OnPolicy(), "--offline", "=2"),
        (DISK | {"prompt": PROMPT}, ["top_k"], OnPolicy(), "prompt", "teach"),
        (URL, ["top_k", "hidden_mse"], OnPolicy(), "hidden_mse", "with --teacher-url"),
        (URL, ["top_k", "dpkd=0.1"], OnPolicy(), "--loss dpkd", "likeliest tokens"),
        (URL, ["contrastive"], ALL, "contrastive", "with --teacher-url"),
        (URL, ["minillm"], ALL, "minillm", "with --teacher-url"),
        (URL, ["uld"], OnPolicy(), "uld", "with --teacher-url"),
        (URL, ["multi_exit"], OnPolicy(), "1 servers", "own exits teach"),
        (URL | MODEL, ["top_k"], OnPolicy(), "1 servers", "one source"),
        (HINTED, ["forward_kl", "minilm"], OnPolicy(), "--teacher-prompt", "minilm"),
        (MEAN, ["forward_kl", "rkd"], OnPolicy(), "self:ema", "rkd"),
        (HINTED, ["uld"], OnPolicy(), "--teacher-prompt", "student's tokenizer"),
        ({"prompt": PROMPT}, ["multi_exit"], OnPolicy(), "prompt", "no --teacher"),
        (HINTED, ["minillm"], OnPolicy(share=1, teacher_share=0.2), "share", "prompt"),
        (MODEL, ["minillm"], OnPolicy(share=1, top_p=0.9), "minillm", "--top-p"),
        (MODEL, ["contrastive"], OnPolicy(share=1, completions=2), "contrastive", "2"),
    ],
)  # fmt: skip
def test_what_does_not_is_refused(source, losses, own, where, says):
    config = DistillConfig(losses=tuple(losses), on_policy=own, **source)
    with pytest.raises(WrongUse) as caught:
        checked(config)
    assert where in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lora": {}}, "--lora"),
        ({"held_out": HeldOut(data="rows.jsonl")}, "--held-out rows.jsonl"),
        ({"tokens_per_batch": 9}, "--tokens-per-batch 9"),
        ({"model": "scratch:t5-tiny"}, "an encoder-decoder"),
    ],
)
def test_what_trains_a_model_of_its_own_names_what_it_refuses(options, says):
    plain = {"data": "rows", "model": "scratch:tiny", "output": Path("out")}
    check_whole(TrainConfig(**plain), "experts", "mixture", decoder=True)
    config = TrainConfig(**{**plain, **options})
    with pytest.raises(WrongUse, match=f"^{says}|found {says}"):
        check_whole(config, "experts", "mixture", decoder=True)
