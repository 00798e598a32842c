"""New kinds of entities for a tagger that keeps its old ones (IS3, arXiv:2402.10447)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject, without
from finetune.core.unread import refuse_unread
from finetune.data import encoder_rows
from finetune.data.tags import OUTSIDE
from finetune.recipes.distill_encoder import collator
from finetune.settings import TrainConfig, built, model_options, trainer_config
from finetune.students import load as student
from finetune.students.heads import open_head
from finetune.trainers.distill_checks import check_whole
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from finetune.trainers.new_kinds import NewKinds

FILE = "prototypes.safetensors"
_MOST_TOKENS = 512
_BATCH = 32


def run(
    config: TrainConfig, *, kinds: NewKinds, former_rows: str | None
) -> JsonObject:
    """Trains a tagger on rows that mark new kinds alone.

    Args:
        config: data (rows of `tokens` and `tags`), model (a tagger with a class "O"), output,
            fields of transformers' TrainingArguments.
        kinds: what keeps the old ones.
        former_rows: rows that the tagger was trained on, for its prototypes; None where
            MODEL/prototypes.safetensors has them, or words of the new rows must do.

    Returns:
        The content of OUTPUT/train.json, with `old`, `new` and `prototypes`: names of classes.

    Raises:
        WrongUse: data, model or a trainer field that cannot be used; nothing was trained.
    """
    check_whole(config, "add-kinds", "tagger")
    data = encoder_rows.read(config.data, "tokens")
    # Seconds of imports.
    from transformers import TrainingArguments, set_seed  # noqa: PLC0415

    from finetune.students.wider_head import widen  # noqa: PLC0415
    from finetune.trainers.new_kinds import NewKindsTrainer  # noqa: PLC0415

    where = f"--model {config.model}"
    args = trainer_config(TrainingArguments, config, "distill, encoder")
    args.remove_unused_columns = False
    former, tokenizer = open_head(config.model, "tokens")
    named = encoder_rows.classes_in(data, "tokens", f"--input {config.data}")
    old = dict(former.config.id2label)
    outside = _outside(old, where)
    _check_read(kinds, former_rows, old)
    new = [name for name in named.values() if name not in old.values()]
    if not new:
        raise WrongUse(
            f"--input {config.data} tags",
            f"no kind beside {', '.join(old.values())}",
            "tags of a new kind",
            "For kinds that the tagger knows, take finetune distill or finetune heads.",
        )
    set_seed(args.seed)
    model, _ = open_head(config.model, "tokens", options=model_options(config))
    widen(model, new, where)
    tokenizer.padding_side = "right"
    classes = dict(model.config.id2label)
    reading = _Reading(tokenizer, classes)
    made = reading.rows(data, f"--input {config.data}")
    former = former.to(args.device).eval().requires_grad_(False)
    prototypes = _former_prototypes(config, reading, former, made, former_rows)
    trainer = built(
        NewKindsTrainer,
        model=model,
        args=args,
        train_dataset=made,
        processing_class=tokenizer,
        data_collator=collator("tokens", tokenizer),
        teacher=former,
        kinds=kinds,
        prototypes=prototypes,
        outside=outside,
    )

    def keep() -> None:
        trainer.save_model(str(config.output))
        own = means(trainer.model, reading, made, None)
        _keep({**own, **prototypes}, classes, config.output)

    return student.train_and_keep(
        trainer,
        tokenizer,
        config,
        len(made),
        keep=keep,
        facts={
            "task": "tokens",
            "old": list(old.values()),
            "new": new,
            "prototypes": [classes[n] for n in sorted(prototypes)],
        },
    )


def _check_read(
    kinds: NewKinds, former_rows: str | None, old: Mapping[int, str]
) -> None:
    """Refuses what keeps old kinds where there is none, and rows for prototypes without a weight.

    Raises:
        WrongUse: which option.
    """
    usual = type(kinds)
    for option, is_given in {
        "--former-rows": former_rows is not None,
        "--prototypes": kinds.prototypes != usual.prototypes,
        "--old-gradient": kinds.old_gradient != usual.old_gradient,
        "--relabel": kinds.relabel != usual.relabel,
    }.items():
        refuse_unread(
            option,
            is_given=is_given,
            is_read=len(old) > 1,
            found=f"a tagger of {OUTSIDE} alone",
            reader="a tagger that knows a kind",
        )
    refuse_unread(
        f"--former-rows {former_rows}",
        is_given=former_rows is not None,
        is_read=kinds.prototypes > 0,
        found="--prototypes 0",
        reader="prototypes with a weight",
    )


def _keep(
    prototypes: Mapping[int, Tensor], classes: Mapping[int, str], folder: Path
) -> None:
    """Writes the mean states of all kinds by their names."""
    from safetensors.torch import save_file  # noqa: PLC0415 - torch

    kept = {
        classes[number]: state.cpu().contiguous()
        for number, state in prototypes.items()
        if classes[number] != OUTSIDE
    }
    save_file(kept, str(folder / FILE))


def _outside(classes: Mapping[int, str], where: str) -> int:
    """The number of the class of words outside."""
    for number, name in classes.items():
        if name == OUTSIDE:
            return number
    raise WrongUse(
        where,
        f"classes {', '.join(classes.values())}",
        f"{OUTSIDE!r}, which words outside of all kinds have",
        "Train the tagger on such tags.",
    )


class _Reading:
    """Rows of words as the model reads them.

    Args:
        tokenizer: of the tagger.
        classes: names by number.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, classes: Mapping[int, str]
    ) -> None:
        self.tokenizer = tokenizer
        self.classes = classes
        self.collate = collator("tokens", tokenizer)

    def rows(self, data: Sequence[JsonObject], where: str) -> list[JsonObject]:
        """Ids, `labels` and `counted`."""
        most = min(_MOST_TOKENS, self.tokenizer.model_max_length)
        return encoder_rows.of_task(
            data, "tokens", self.tokenizer, most, self.classes, where=where
        )

    def batches(
        self, rows: Sequence[JsonObject], model: PreTrainedModel
    ) -> Iterator[dict[str, Tensor]]:
        """Rows side by side, where the model is."""
        for start in range(0, len(rows), _BATCH):
            batch = self.collate(rows[start : start + _BATCH])
            yield {name: one.to(model.device) for name, one in batch.items()}


def _former_prototypes(
    config: TrainConfig,
    reading: _Reading,
    former: PreTrainedModel,
    rows: Sequence[JsonObject],
    former_rows: str | None,
) -> dict[int, Tensor]:
    """Mean states of the old kinds: of the former rows where they are given; else as an earlier
    training kept them, and of the words that the former model itself finds in the new rows.
    """
    from safetensors.torch import load_file  # noqa: PLC0415

    old = former.config.num_labels
    outside = _outside(reading.classes, config.model)
    if former_rows is not None:
        data = encoder_rows.read(former_rows, "tokens", "--former-rows")
        read = reading.rows(data, f"--former-rows {former_rows}")
        found = means(former, reading, read, None)
    else:
        found = means(former, reading, rows, outside)
        path = Path(config.model) / FILE
        kept = load_file(path) if path.is_file() else {}
        numbers = {name: n for n, name in reading.classes.items()}
        found |= {numbers[name]: one for name, one in kept.items()}
    return {n: one for n, one in found.items() if n < old and n != outside}


def means(
    model: PreTrainedModel,
    reading: _Reading,
    rows: Sequence[JsonObject],
    guess: int | None,
) -> dict[int, Tensor]:
    """Class -> [H] mean state, as the model's head reads it, of its words.

    Args:
        model: of classes of words.
        reading: of the rows.
        rows: with labels.
        guess: words of this label are of the class that the model finds likeliest, and other words
            are left out; None for the labels as they are.
    """
    import torch  # noqa: PLC0415

    sums: dict[int, Tensor] = {}
    counts: dict[int, int] = {}
    training = model.training
    model.eval()
    for batch in reading.batches(rows, model):
        read = without(batch, ("labels", "counted"))
        with torch.no_grad():
            output = model(**read, output_hidden_states=True)
        states = output.hidden_states[-1]
        labels = batch["labels"]
        if guess is not None:
            best = output.logits.argmax(dim=-1)
            labels = best.where(labels == guess, torch.full_like(best, -1))
        for number in torch.unique(labels[batch["counted"]]).tolist():
            chosen = states[(labels == number) & batch["counted"]]
            if number >= 0:
                sums[number] = sums.get(number, 0.0) + chosen.sum(dim=0)
                counts[number] = counts.get(number, 0) + len(chosen)
    model.train(training)
    return {number: one / counts[number] for number, one in sums.items()}
