"""Encoders of many sizes from one training, and the search for the best within a budget
(AutoDistil, arXiv:2201.12507).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.data import encoder_rows
from finetune.settings import (
    TrainConfig,
    built,
    check_output,
    trainer_config,
)
from finetune.students import load as student
from finetune.students.heads import settle_tokenizer
from finetune.students.opening import opening, writing
from finetune.trainers.distill_checks import check_whole
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


SCRATCH = "scratch"
TABLE = "search.json"
_MOST_TOKENS = 512
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class SupernetConfig:
    """What `finetune supernet` is told besides a training's own settings.

    Attributes:
        teacher: an encoder.
        layers: numbers of layers; ascending, as the others.
        heads: numbers of attention heads.
        inner: widths of the feed-forward layers.
        relation_heads: of the loss; None for as many as divide all numbers of heads and the
            teacher's.
    """

    teacher: str
    layers: Sequence[int]
    heads: Sequence[int]
    inner: Sequence[int]
    relation_heads: int | None = None


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """What `finetune search-supernet` is told.

    Attributes:
        supernet: a folder of `finetune supernet`.
        held_out: rows of `text`.
        most: weights of the student.
        output: where it goes.
        teacher: None for that of the training.
    """

    supernet: str
    held_out: str
    most: int
    output: Path
    teacher: str | None = None


def run(config: TrainConfig, *, supernet: SupernetConfig) -> JsonObject:
    """Trains all encoders of a space.

    Args:
        config: data (rows of `text`), model (an encoder that holds the largest one, or `scratch`),
            output, fields of transformers' TrainingArguments.
        supernet: the space, and who teaches.

    Returns:
        The content of OUTPUT/train.json; OUTPUT is the largest encoder.

    Raises:
        WrongUse: data, models, sizes or a trainer field that cannot be used; nothing was trained.
    """
    check_whole(config, "supernet", "encoders")
    data = encoder_rows.read(config.data, "mlm")
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.losses.minilm import Minilm  # noqa: PLC0415
    from finetune.students import supernet as nets  # noqa: PLC0415
    from finetune.trainers.supernet import SupernetTrainer  # noqa: PLC0415

    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    if args.world_size > 1:
        raise WrongUse(
            f"--processes {args.world_size}",
            "encoders of another size in each step",
            "one process",
            "Leave it out.",
        )
    teacher, tokenizer = _opened(supernet.teacher, "--teacher")
    space = nets.Space(supernet.layers, supernet.heads, supernet.inner)
    heads = _relation_heads(supernet, teacher)
    set_seed(args.seed)
    source = None
    if config.model != SCRATCH:
        source = _opened(config.model, "--model")[0]
    model = nets.begun((source or teacher).config, space, source)
    net = nets.Supernet(model.to(args.device), space)
    made = _rows(data, tokenizer)
    trainer = built(
        SupernetTrainer,
        model=model,
        args=args,
        train_dataset=made,
        processing_class=tokenizer,
        data_collator=_padding(tokenizer),
        net=net,
        teacher=teacher.to(args.device),
        loss=Minilm(heads=heads),
    )
    facts = {
        "teacher": str(Path(supernet.teacher).absolute())
        if Path(supernet.teacher).exists()
        else supernet.teacher,
        "relation_heads": heads,
    }
    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        len(made),
        keep=lambda: nets.keep(config.output, net, facts),
        facts={**facts, "encoders": len(space.all())},
    )


def search(config: SearchConfig) -> JsonObject:
    """Measures every encoder within the budget on held-out texts, and writes the one with the
    smallest loss; nothing is trained.

    Returns:
        The content of OUTPUT/search.json: `best`, and `encoders`, each with layers, heads,
        feed_forward, width, parameters and loss (nats a token, of relations), the best first.

    Raises:
        WrongUse: nothing within the budget, rows or models that cannot be used, or an output
            folder with a model that no command here wrote.
    """
    import torch  # noqa: PLC0415

    from finetune.losses.minilm import Minilm  # noqa: PLC0415 - torch
    from finetune.students import supernet as nets  # noqa: PLC0415 - torch
    from finetune.trainers.supernet import apart  # noqa: PLC0415 - torch

    # An earlier search may be written over.
    if not (config.output / TABLE).is_file():
        check_output(config.output)
    net, facts = nets.load(config.supernet)
    teacher, tokenizer = _opened(
        config.teacher or facts["teacher"], "--teacher"
    )
    loss = Minilm(heads=facts["relation_heads"])
    data = encoder_rows.read(config.held_out, "mlm", "--held-out")
    batches = list(_batches(_rows(data, tokenizer), tokenizer))
    found: list[tuple[float, int, nets.Sizes]] = []
    for sizes, weights in nets.affordable(net, config.most):
        total = tokens = 0.0
        for batch in batches:
            count = float(batch["attention_mask"].sum())
            with torch.no_grad():
                value = apart(net, sizes, teacher, batch, loss)
            total += float(value) * count
            tokens += count
        found.append((total / tokens, weights, sizes))
    if not found:
        least = min(
            nets.count(net.model.config, one) for one in net.space.all()
        )
        raise WrongUse(
            f"--most-parameters {config.most}",
            f"{least} weights of the smallest encoder",
            "at least as many",
            "Raise it.",
        )
    # Of two that are as near the smaller one.
    found.sort()
    width = net.model.config.hidden_size // net.space.heads[-1]
    table = [
        {
            "layers": sizes.layers,
            "heads": sizes.heads,
            "feed_forward": sizes.inner,
            "width": width * sizes.heads,
            "parameters": weights,
            "loss": round(value, 6),
        }
        for value, weights, sizes in found
    ]
    info: JsonObject = {
        "supernet": config.supernet,
        "teacher": config.teacher or facts["teacher"],
        "rows": len(data),
        "best": table[0],
        "encoders": table,
    }
    config.output.mkdir(parents=True, exist_ok=True)
    # First, so that the same command may write over what an end amid it leaves.
    write_json(config.output / TABLE, info)
    with writing(config.output):
        net.taken(found[0][2]).save_pretrained(config.output)
        tokenizer.save_pretrained(config.output)
    return info


def _opened(
    name: str, where: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A frozen encoder without a head, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    from finetune.students.supernet import sizes_of  # noqa: PLC0415 - torch

    with opening(f"{where} {name}", name, "an encoder", "Give its folder."):
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModel.from_pretrained(name)
    sizes_of(model.config, f"{where} {name}")
    settle_tokenizer(tokenizer, "mlm", f"{where} {name}", model.config)
    tokenizer.padding_side = "right"
    return model.eval().requires_grad_(False), tokenizer


def _relation_heads(supernet: SupernetConfig, teacher: PreTrainedModel) -> int:
    """Those of the loss, which divide every width.

    Raises:
        WrongUse: some that do not.
    """
    config = teacher.config
    shared = math.gcd(*supernet.heads, config.num_attention_heads)
    heads = supernet.relation_heads or shared
    size = config.hidden_size // config.num_attention_heads
    widths = [size * number for number in supernet.heads]
    if any(width % heads for width in (*widths, config.hidden_size)):
        raise WrongUse(
            f"--relation-heads {heads}",
            f"widths of {', '.join(map(str, widths))} and {config.hidden_size}",
            "a number that divides them all",
            f"Give {shared}, or leave it out.",
        )
    return heads


def _rows(
    data: Sequence[JsonObject], tokenizer: PreTrainedTokenizerBase
) -> list[JsonObject]:
    most = min(_MOST_TOKENS, tokenizer.model_max_length)
    return encoder_rows.of_task(data, "mlm", tokenizer, most, {}, where="rows")


def _padding(tokenizer: PreTrainedTokenizerBase) -> object:
    from transformers import DataCollatorWithPadding  # noqa: PLC0415

    return DataCollatorWithPadding(tokenizer)


def _batches(
    rows: Sequence[JsonObject], tokenizer: PreTrainedTokenizerBase
) -> Iterator[dict[str, Tensor]]:
    for start in range(0, len(rows), _BATCH):
        part = list(rows[start : start + _BATCH])
        yield dict(tokenizer.pad(part, return_tensors="pt"))
