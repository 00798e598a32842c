"""Rows of every pack train a tiny student by TRL as they are, and those of retrieval by sentence-transformers."""

from __future__ import annotations

import math

import pytest

from examples.system import rehearse
from synth.core import registry
from synth.exports.base import pack_of, write_rows
from synth.packs.pack import Pack, pack_names
from synth.runs.publisher import RunFolder
from tests import tiny
from tests.conftest import rest_long

# What TRL's trainer of texts reads, and where a pack says how it is made.
TEXTS = {
    "sft": "sft",
    "multitask": "multitask",
    "conversation": "conversation",
    "messages": "messages",
}
TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"
    "{% for message in messages %}<{{ message['role'] }}>"
    "{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}"
    "{{ call['function'] | tojson }}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def exports_of(name):
    """The exports of a pack that its declared export is trained by."""
    pack = Pack.load(name)
    kinds = {**TEXTS, "triplets:flat=true,negatives=1": "retrieval"}
    if any(step.tooling for step in pack.steps):
        kinds["calls"] = "messages"
    return [
        export for export, needed in kinds.items() if needed in pack.exports
    ]


def rows_of(run, export, folder):
    """Where the rows of an export lie; None where there is none."""
    opened = RunFolder(run)
    maker = registry.build("synth.exports", export)
    path = folder / "rows.jsonl"
    folder.mkdir()
    count = write_rows(maker.rows(opened, pack_of(opened)), path)
    return path if count else None


# One that brings texts and triplets is of the quick tests.
FIRST = "abstract_descriptions"
NAMES = [FIRST, *(name for name in pack_names() if name != FIRST)]


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_long(NAMES))
def test_rows_train_as_they_are(tmp_path, name):
    exports = exports_of(name)
    run = rehearse(name, tmp_path / "run").folder if exports else None
    with_rows = [
        export
        for place, export in enumerate(exports)
        if trains(run, export, tmp_path / str(place))
    ]
    if not with_rows:
        pytest.skip(f"the case of {name} brings no row for a trainer of texts")


def trains(run, export, folder):
    """Whether an export brings rows; they are trained on."""
    import datasets

    path = rows_of(run, export, folder)
    if path is None:
        return False
    rows = datasets.load_dataset(
        "json",
        data_files=str(path),
        split="train",
        cache_dir=str(folder / "cache"),
    )
    if "triplets" in export:
        # Of one pair that has nothing beside it the loss is 0.
        assert retrieved(rows, folder) >= 0
        return True
    loss = learnt(rows, folder)
    assert math.isfinite(loss)
    assert loss > 0
    return True


def learnt(rows, folder):
    """The loss of one step of TRL's SFTTrainer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(tiny.causal())
    tokenizer.chat_template = TEMPLATE
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny.causal()),
        processing_class=tokenizer,
        train_dataset=rows,
        args=SFTConfig(
            output_dir=str(folder / "student"),
            max_steps=1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
        ),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert (batch["labels"] != -100).any()
    return trainer.train().training_loss


def retrieved(rows, folder):
    """The loss of one step of a trainer of sentence-transformers."""
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )

    model = SentenceTransformer(tiny.causal(), device="cpu")
    texts = [
        name
        for name in rows.column_names
        if name in ("anchor", "positive") or name.startswith("negative_")
    ]
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder / "student"),
            max_steps=1,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
        ),
        train_dataset=rows.select_columns(texts),
        loss=losses.MultipleNegativesRankingLoss(model),
    )
    return trainer.train().training_loss
