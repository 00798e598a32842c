"""Every field of every trainer's config is obeyed or refused by name; none is accepted and ignored."""

from __future__ import annotations

import warnings
from dataclasses import MISSING, fields
from importlib import import_module

import pytest

from finetune.data.trainer_fields import OBEYED, OF_COMMANDS, obeyed, refused
from finetune.settings import (
    TrainConfig,
    built,
    model_options,
    refuse_of_stages,
    trainer_config,
)
from synth.core.errors import WrongUse

CONFIGS = {
    "sft": ["trl.SFTConfig"],
    "sft, weighted": ["trl.SFTConfig"],
    "sft, encoder-decoder": ["transformers.Seq2SeqTrainingArguments"],
    "sft, encoder-decoder, weighted": ["transformers.Seq2SeqTrainingArguments"],
    "nat": ["trl.SFTConfig"],
    "distill": ["trl.SFTConfig"],
    "distill, encoder-decoder": ["transformers.Seq2SeqTrainingArguments"],
    "distill, encoder": ["transformers.TrainingArguments"],
    "codistill": ["transformers.TrainingArguments"],
    "dpo": ["trl.DPOConfig"],
    "kto": ["trl.KTOConfig"],
    "cpo": ["trl.experimental.cpo.CPOConfig"],
    "orpo": ["trl.experimental.orpo.ORPOConfig"],
    "grpo": ["trl.GRPOConfig"],
    "critic": ["transformers.TrainingArguments"],
    "retriever": [
        "sentence_transformers.SentenceTransformerTrainingArguments",
        "sentence_transformers.CrossEncoderTrainingArguments",
        "sentence_transformers.multi_vector_encoder.MultiVectorEncoderTrainingArguments",
    ],
}


def kinds(command):
    for name in CONFIGS[command]:
        module, kind = name.rsplit(".", 1)
        yield getattr(import_module(module), kind)


def given(tmp_path, **trainer):
    return TrainConfig(data="d", model="m", output=tmp_path, trainer=trainer)


def other(field):
    """A value that is not the field's default."""
    found = (
        field.default
        if field.default_factory is MISSING
        else field.default_factory()
    )
    return not found if isinstance(found, bool) else "something"


def test_all_commands_are_walked():
    assert set(CONFIGS) == set(OF_COMMANDS) - {"stages"}


@pytest.mark.parametrize("command", CONFIGS)
def test_each_field_is_obeyed_or_refused(command, tmp_path):
    todos = refused(command)
    for kind in kinds(command):
        known = [field for field in fields(kind) if field.init]
        assert len(known) > 100
        # A new field of a new version: read what it does, then name it in `trainer_fields`.
        assert (
            not {field.name for field in known} - obeyed(command) - set(todos)
        )
        for field in known:
            if field.name in todos:
                with pytest.raises(WrongUse, match=rf"'{field.name}'.* obeys"):
                    trainer_config(
                        kind,
                        given(tmp_path, **{field.name: other(field)}),
                        command,
                    )


@pytest.mark.parametrize("fields", [{}, {"gradient_checkpointing": True}])
def test_no_training_begins_with_a_warning(tmp_path, fields):
    (kind,) = kinds("sft")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = trainer_config(kind, given(tmp_path, **fields), "sft")
    asked = fields.get("gradient_checkpointing", False)
    assert made.gradient_checkpointing is asked
    assert made.activation_checkpointing is asked


def test_a_field_that_is_obeyed_is_not_refused_by_all():
    assert not OBEYED & set.intersection(
        *(set(refused(command)) for command in CONFIGS)
    )


def test_a_default_asks_for_nothing_and_passes(tmp_path):
    (kind,) = kinds("sft")
    copied = {
        "eval_strategy": "no",
        "push_to_hub": False,
        "load_best_model_at_end": False,
        "remove_unused_columns": True,
    }
    assert trainer_config(
        kind, given(tmp_path, **copied), "sft"
    ).output_dir == str(tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("command", "fields", "says"),
    [
        (
            "sft",
            {"save_steps": 5},
            "'save_steps': found 5.* without 'save_strategy'",
        ),
        ("sft", {"packing_strategy": "wrapped"}, "without 'packing'"),
        ("sft", {"run_name": "x"}, "without 'report_to'"),
        ("dpo", {"ref_model_sync_steps": 4}, "without 'sync_ref_model'"),
        (
            "dpo",
            {"train_sampling_strategy": "group_by_length"},
            "rows go as they stand",
        ),
        ("sft, weighted", {"shuffle_dataset": True}, "Rows with a weight"),
        ("distill", {"loss_type": "dft"}, "Give --loss of"),
        ("distill", {"label_smoothing_factor": 0.1}, "no such part"),
    ],
)
def test_a_field_that_would_do_nothing_as_the_others_stand_is_refused(
    tmp_path, command, fields, says
):
    (kind,) = kinds(command)
    with pytest.raises(WrongUse, match=says):
        trainer_config(kind, given(tmp_path, **fields), command)


def test_fields_that_belong_together_pass(tmp_path):
    (kind,) = kinds("sft")
    made = trainer_config(
        kind,
        given(
            tmp_path,
            save_strategy="steps",
            save_steps=5,
            packing=True,
            packing_strategy="wrapped",
        ),
        "sft",
    )
    assert made.save_steps == 5


def test_a_checkpoint_is_refused_where_a_command_trains_more_than_once():
    with pytest.raises(WrongUse, match="of one stage"):
        refuse_of_stages({"resume_from_checkpoint": "x"})


def test_how_weights_are_opened_is_said_or_refused(tmp_path):
    assert model_options(given(tmp_path)) == {}
    assert model_options(
        given(tmp_path, model_init_kwargs='{"dtype": "float32"}')
    ) == {"dtype": "float32"}
    assert model_options(
        given(tmp_path, model_init_kwargs={"dtype": "float32"})
    ) == {"dtype": "float32"}
    for wrong in ("float32", "[1]", {"trust_remote_code": True}):
        with pytest.raises(WrongUse, match="--model-init-kwargs"):
            model_options(given(tmp_path, model_init_kwargs=wrong))
    scratch = TrainConfig(
        data="d",
        model="scratch:tiny",
        output=tmp_path,
        trainer={"model_init_kwargs": {"dtype": "float32"}},
    )
    with pytest.raises(WrongUse, match="is made"):
        model_options(scratch)


def test_what_a_trainer_says_against_its_settings_is_a_mistake_of_the_call():
    def refuses(**_):
        raise ValueError("two things at once")

    with pytest.raises(WrongUse, match="two things at once"):
        built(refuses)


@pytest.mark.parametrize(
    "theirs",
    ["README.md", "model.safetensors", "config.json", "tokenizer.json"],
)
def test_a_folder_with_somebody_elses_model_or_readme_is_left_alone(
    theirs, tmp_path
):
    from finetune.settings import check_output

    check_output(tmp_path / "new")
    check_output(tmp_path)
    (tmp_path / theirs).write_text("mine")
    with pytest.raises(WrongUse, match="no training here wrote"):
        check_output(tmp_path)
    (tmp_path / "train.json").write_text("{}")
    check_output(tmp_path)
    with pytest.raises(WrongUse, match="a file"):
        check_output(tmp_path / theirs)
