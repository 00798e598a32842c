"""Negative-assisted training: wrong rationales in an adapter of their own, a gate that adds or
subtracts it (arXiv:2312.12832).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import tanh
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import rows
from finetune.data.field_ranges import check_adapter
from finetune.data.tokens import Prepared
from finetune.settings import (
    TrainConfig,
    check_rank,
    model_options,
    trainer_config,
)
from finetune.students import adapters, scratch, training_rows
from finetune.students import load as student
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.processes.ranks import is_first_process

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class NatConfig:
    """The adapters' shape; defaults are those of the paper (section 4.1).

    Attributes:
        r: rank of both adapters.
        alpha: their scale is alpha / r.
        dropout: of what goes into them.
        targets: ends of the names of the layers that get them: queries and values.
        bottleneck: width of the gate's value layer.
    """

    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    bottleneck: int = 128


def run(config: TrainConfig, *, nat: NatConfig | None = None) -> JsonObject:
    """Trains the negative adapter on wrong rows, then the positive one and the gate on right rows,
    the negative one frozen.

    Writes the student, which `evaluate` and `local/` load like any other, and `weighted.jsonl`: the
    right rows with `teacher_weight` = 0.5 + tanh(mean KL(negative || student)), for a plain student
    that learns from this one (section 3.3).

    Args:
        config: rows of `prompt`, `completion`, `label` (`synth export --to labelled`); steps or
            epochs are those of each of two stages.
        nat: the adapters' shape.

    Returns:
        The content of OUTPUT/train.json; `losses` are those of both stages.

    Raises:
        WrongUse: no wrong or no right rows, no such layers, a model or a trainer field that cannot
            be used.
    """
    nat = nat or NatConfig()
    if (
        config.lora is not None
        or scratch.is_scratch(config.model)
        or student.is_seq2seq(config.model)
    ):
        todo = (
            "Run `finetune sft` first and give its folder, without --lora: this recipe has "
            "two adapters of its own."
        )
        raise WrongUse(
            "nat",
            f"--model {config.model}, --lora {config.lora}",
            "a trained decoder without adapters",
            todo,
        )
    for name, value in (
        ("r", nat.r),
        ("lora_alpha", nat.alpha),
        ("lora_dropout", nat.dropout),
    ):
        check_adapter(f"nat {name.removeprefix('lora_')}", name, value)
    parts = _parts(config.data)
    from transformers import set_seed  # noqa: PLC0415
    from trl import SFTConfig, SFTTrainer  # noqa: PLC0415 - 8 s of imports

    from finetune.students import gated  # noqa: PLC0415 - torch

    args = trainer_config(SFTConfig, config, "nat")
    set_seed(args.seed)  # adapters are drawn
    model, tokenizer = student.load_learner(config.model, model_options(config))
    check_rank("--r", nat.r, model)
    if not (count := gated.adapt(model, **asdict(nat))):
        raise WrongUse(
            "--targets",
            ", ".join(nat.targets),
            "ends of the names of linear layers",
            "Look at the model's modules.",
        )
    made = {
        side: training_rows.for_sft(config, args, part, tokenizer)
        for side, part in parts.items()
    }
    trainers = []
    for mode, side in (("negative", "wrong"), ("both", "right")):
        gated.set_mode(model, mode)  # type: ignore[arg-type]
        trainers.append(
            SFTTrainer(
                model=model,
                args=args,
                train_dataset=training_rows.dataset(made[side]),
                processing_class=tokenizer,
            )
        )
        if mode == "negative":
            loss = student.trained(trainers[0]).training_loss
            first = student.over_processes(trainers[0], loss)

    def learnt(info: JsonObject) -> Row:
        if is_first_process():
            _write_weights(config.output, model, parts["right"], made["right"])
        return {"losses": [first, info["loss"]], "layers": count}

    return student.train_and_keep(
        trainers[1],
        tokenizer,
        config,
        len(parts["right"]),
        keep=lambda: keep(config, nat, model),
        facts=made["right"].record(),
        learnt=learnt,
    )


def _parts(source: str) -> dict[str, Dataset]:
    data = rows.labelled_rows(source)
    labels = [bool(label) for label in data["label"]]
    parts: dict[str, list[int]] = {"right": [], "wrong": []}
    for position, label in enumerate(labels):
        parts["right" if label else "wrong"].append(position)
    for name, positions in parts.items():
        if not positions:
            raise WrongUse(
                f"--input {source}",
                f"no {name} row",
                "right rows and wrong ones",
                "Export with --to labelled, draw more.",
            )
    return {
        name: data.select(positions).remove_columns("label")
        for name, positions in parts.items()
    }


def keep(config: TrainConfig, nat: NatConfig, model: PreTrainedModel) -> None:
    """Writes the adapters, and the name of the base that they belong to."""
    from safetensors.torch import save_file  # noqa: PLC0415

    from finetune.students.gated import state  # noqa: PLC0415

    config.output.mkdir(parents=True, exist_ok=True)
    save_file(state(model), str(config.output / "nat.safetensors"))
    base = (
        str(Path(config.model).resolve())
        if Path(config.model).is_dir()
        else config.model
    )
    write_json(config.output / adapters.NAT, {"base": base, **asdict(nat)})


def _write_weights(
    output: Path, model: PreTrainedModel, right: Dataset, made: Prepared
) -> None:
    model.eval()
    with (output / "weighted.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps(row, ensure_ascii=False) + "\n"
            for row in _weighted(model, right, made)
        )


def _weighted(
    model: PreTrainedModel, right: Dataset, made: Prepared
) -> Iterator[JsonObject]:
    import torch  # noqa: PLC0415

    from finetune.students.gated import divergence  # noqa: PLC0415

    for tokens, position in zip(made.rows, made.positions, strict=True):
        ids, labels = (
            torch.tensor([tokens[name]], device=model.device)
            for name in ("input_ids", "labels")
        )
        yield {
            **right[position],
            "teacher_weight": round(
                0.5 + tanh(divergence(model, ids, labels)), 4
            ),
        }
