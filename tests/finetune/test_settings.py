"""A YAML file and flags become the fields of a config, or a mistake that names the field and
what it wants.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl import SFTConfig

from finetune.settings import (
    TrainConfig,
    check_output,
    model_options,
    opened_in,
    peft_config,
    read_config,
    trainer_config,
)
from synth.core.errors import WrongUse

WORDS = st.text("abcdefghij_", min_size=1, max_size=12)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.none(),
    st.lists(st.integers(0, 9), max_size=3),
)


def config_of(output: Path, **more: Any) -> TrainConfig:
    return TrainConfig(data="d", model="m", output=output, **more)


def arguments(output: Path, **trainer: Any) -> Any:
    from transformers import TrainingArguments

    return trainer_config(
        TrainingArguments, config_of(output, trainer=trainer), "critic"
    )


@given(
    st.dictionaries(WORDS, SCALARS, max_size=4),
    st.dictionaries(WORDS, SCALARS, max_size=4),
)
def test_a_file_and_flags_are_one_mapping_in_which_flags_win(
    tmp_path_factory, written, flags
):
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    path.write_text(json.dumps(written))
    found = read_config(path, flags)
    assert found == {**written, **flags}
    assert read_config(None, flags) == flags


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-3", 0.005),
        ("1E5", 100000.0),
        ("-2", -2),
        ("true", True),
        ("null", None),
        ("[a, 2]", ["a", 2]),
        ("cosine", "cosine"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("", ""),
    ],
)
def test_texts_of_numbers_become_numbers_and_other_texts_stay(text, value):
    found = read_config(None, {"field": text})["field"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("max_steps", True, "a number"),
        ("max_steps", False, "a number"),
        ("max_steps", "many", "a number"),
        ("max_steps", 2.5, "a whole number"),
        ("max_steps", [3], "a number"),
        ("max_steps", float("nan"), "a whole number"),
        ("max_steps", float("inf"), "a whole number"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", True, "a number"),
        ("seed", "one", "a number"),
        ("seed", {"a": 1}, "a number"),
        ("save_total_limit", "two", "a number"),
        ("bf16", "False", "true or false"),
        ("use_cpu", "yes", "true or false"),
        ("dataloader_drop_last", "no", "true or false"),
        ("dataloader_drop_last", [], "true or false"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_field(
    tmp_path, field, value, wanted
):
    needed = {"save_total_limit": {"save_strategy": "steps"}}
    more = needed.get(field, {})
    with pytest.raises(WrongUse) as caught:
        arguments(tmp_path, **more, **{field: value})
    where, found, asked, todo = caught.value.args
    assert where == f"trainer field {field!r}"
    assert found == repr(value)
    assert asked == wanted
    assert "leave it out" in todo


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("max_steps", 1e3, 1000),
        ("max_steps", -1, -1),
        ("learning_rate", 1, 1.0),
        ("learning_rate", 3e-4, 3e-4),
        ("num_train_epochs", 2, 2.0),
        ("warmup_steps", 0, 0.0),
        ("data_seed", None, None),
        ("data_seed", 7.0, 7),
        ("dataloader_drop_last", True, True),
        ("lr_scheduler_kwargs", {"num_cycles": 2}, {"num_cycles": 2}),
    ],
)
def test_numbers_have_the_kind_that_is_declared(tmp_path, field, value, kept):
    found = getattr(arguments(tmp_path, **{field: value}), field)
    assert found == kept
    assert type(found) is type(kept)


def test_a_field_that_the_config_refuses_is_said_in_its_own_words(tmp_path):
    with pytest.raises(WrongUse, match="TrainingArguments") as caught:
        arguments(tmp_path, lr_scheduler_type="no such schedule")
    assert "no such schedule" in str(caught.value)
    with pytest.raises(WrongUse, match="Did you mean max_steps"):
        arguments(tmp_path, max_stepz=3)


def test_checkpoints_stand_below_the_output_and_nothing_is_reported(tmp_path):
    made = arguments(tmp_path / "out")
    assert Path(made.output_dir) == tmp_path / "out" / "checkpoints"
    assert made.report_to in ([], "none", ["none"])
    assert not (tmp_path / "out").exists()


def test_how_a_model_is_opened_is_no_field_of_the_trainer(tmp_path):
    made = arguments(tmp_path, model_init_kwargs={"dtype": "float32"})
    assert not hasattr(made, "model_init_kwargs")


@pytest.mark.parametrize(
    ("given", "options"),
    [
        (None, {}),
        ({}, {}),
        ('{"dtype": "float16"}', {"dtype": "float16"}),
        ({"attn_implementation": "eager"}, {"attn_implementation": "eager"}),
        ({"trust_remote_code": False}, {"trust_remote_code": False}),
    ],
)
def test_options_of_opening_come_as_mapping_or_as_json(
    tmp_path, given, options
):
    config = config_of(tmp_path, trainer={"model_init_kwargs": given})
    assert model_options(config) == options
    typed = opened_in("bfloat16", given)
    assert typed == {**options, "dtype": "bfloat16"}


@pytest.mark.parametrize(
    "given",
    [
        "{dtype",
        "[1, 2]",
        "3",
        7,
        ["dtype"],
        '"float32"',
        {"trust_remote_code": True},
        '{"trust_remote_code": "yes"}',
        '{"trust_remote_code": 1}',
    ],
)
def test_other_options_of_opening_are_refused_by_both_doors(tmp_path, given):
    config = config_of(tmp_path, trainer={"model_init_kwargs": given})
    for call in (
        lambda: model_options(config),
        lambda: opened_in("auto", given),
    ):
        with pytest.raises(WrongUse, match="--model-init-kwargs"):
            call()


def test_a_student_that_is_made_is_not_opened(tmp_path):
    config = TrainConfig(
        data="d",
        model="scratch:tiny",
        output=tmp_path,
        trainer={"model_init_kwargs": {}},
    )
    with pytest.raises(WrongUse, match="scratch:tiny"):
        model_options(config)


def wide(width):
    """Stands in for a model of a width."""
    config = SimpleNamespace(hidden_size=width)
    config.get_text_config = lambda: config
    return SimpleNamespace(config=config)


@pytest.mark.parametrize(
    ("lora", "says"),
    [
        ({"r": "eight"}, "a number"),
        ({"r": True}, "a number"),
        ({"r": 1.5}, "a whole number"),
        ({"r": 0}, "a number from 1 on"),
        ({"r": -4}, "a number from 1 on"),
        ({"r": 65}, "a rank up to 64"),
        ({"rank_pattern": {"q_proj": 100}}, "a rank up to 64"),
        ({"rank_pattern": {"q_proj": 0}}, "a number from 1 on"),
        ({"lora_alpha": 0}, "a number above 0"),
        ({"lora_alpha": -8}, "a number above 0"),
        ({"alpha_pattern": {"q_proj": 0}}, "a number above 0"),
        ({"lora_dropout": 1.0}, "below 1"),
        ({"lora_dropout": -0.1}, "from 0 on"),
        ({"lora_dropout": float("nan")}, "from 0 on"),
        ({"lora_dropout": "none"}, "a number"),
        ({"use_rslora": "off"}, "true or false"),
        ({"lora_alfa": 3}, "Did you mean lora_alpha"),
        ({"layers_pattern": "h"}, "target_modules"),
    ],
)
def test_adapters_that_cannot_be_made_are_refused(tmp_path, lora, says):
    with pytest.raises(WrongUse, match="--lora") as caught:
        peft_config(config_of(tmp_path, lora=lora), wide(64))
    assert says in str(caught.value)


@pytest.mark.parametrize("lora", [{}, {"r": 4.0, "lora_dropout": 0}])
def test_adapters_have_whole_ranks_and_fractions_of_dropout(tmp_path, lora):
    made = peft_config(config_of(tmp_path, lora=lora), wide(16), "SEQ_2_SEQ_LM")
    assert isinstance(made.r, int)
    assert made.r == lora.get("r", 16)
    assert isinstance(made.lora_dropout, float)
    assert made.task_type == "SEQ_2_SEQ_LM"
    assert peft_config(config_of(tmp_path), wide(1)) is None


def test_adapters_are_looked_at_before_a_model_opens(tmp_path):
    config = config_of(tmp_path, lora={"lora_dropout": 2})
    with pytest.raises(WrongUse, match="--lora lora_dropout: found 2"):
        trainer_config(SFTConfig, config, "sft")


@pytest.mark.parametrize(
    ("names", "free"),
    [
        ([], True),
        (["notes.txt"], True),
        (["README.md"], False),
        (["config.json"], False),
        (["model.safetensors"], False),
        (["pytorch_model.bin", "x.txt"], False),
        (["README.md", "train.json"], True),
        (["model.safetensors", "checkpoint-20"], True),
        (["checkpoints"], True),
        (["model.safetensors", "checkpoints"], False),
        (["adapter_config.json"], False),
        (["safetensors"], True),
    ],
)
def test_a_folder_is_written_into_unless_somebody_elses_files_would_go(
    tmp_path, names, free
):
    for name in names:
        (tmp_path / name).write_text("theirs")
    before = sorted(path.name for path in tmp_path.iterdir())
    if free:
        check_output(tmp_path)
    else:
        with pytest.raises(WrongUse, match="no training here wrote"):
            check_output(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_is_no_folder_and_no_folder_is_free(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WrongUse, match="a file"):
        check_output(tmp_path / "file")
    check_output(tmp_path / "not" / "there")
    assert not (tmp_path / "not").exists()


def test_every_default_of_a_config_passes_as_a_given_value(tmp_path):
    from transformers import TrainingArguments

    from finetune.data.trainer_fields import obeyed

    plain = arguments(tmp_path)
    names = sorted(
        field.name
        for field in fields(TrainingArguments)
        if field.name in obeyed("critic") and field.init
    )
    given = {name: field_default(name) for name in names}
    made = arguments(tmp_path, **given)
    for name in ("learning_rate", "max_steps", "seed", "weight_decay"):
        assert getattr(made, name) == getattr(plain, name)


def field_default(name: str) -> Any:
    from dataclasses import MISSING

    from transformers import TrainingArguments

    (field,) = (f for f in fields(TrainingArguments) if f.name == name)
    if field.default is not MISSING:
        return field.default
    return field.default_factory()
