"""What is read of the source of a config is what its class says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from finetune.data import declared_fields
from finetune.data.declared_fields import (
    UNKNOWN,
    as_declared,
    of_class,
    of_command,
)
from finetune.settings import check_fields, read_config
from synth.core.bare_words import BareWord
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.data.test_trainer_fields import CONFIGS, kinds


def taken(kind, value):
    """A value as a field of this kind takes it; None where it refuses it."""
    try:
        return as_declared("field", value, kind)
    except WrongUse:
        return None


@pytest.mark.parametrize("command", CONFIGS)
def test_the_source_says_what_the_class_says(command):
    last = list(kinds(command))[-1]
    name, read = of_command(command)
    wanted = of_class(last)
    assert name == last.__name__
    assert set(read) == set(wanted)
    assert len(read) > 100
    known = {field: read[field].default for field in read}
    known = {f: value for f, value in known.items() if value is not UNKNOWN}
    assert len(known) > 100
    assert known == {field: wanted[field].default for field in known}
    for field, declared in read.items():
        for value in (True, 2, 2.5, "text"):
            assert taken(declared.kind, value) == taken(
                wanted[field].kind, value
            ), field


@pytest.mark.parametrize(
    ("recipe", "trainer", "says"),
    [
        ("sft", {"learnin_rate": 1e-4}, "Did you mean learning_rate"),
        ("sft", {"learning_rate": "abc"}, "wanted a number"),
        ("curriculum", {"bf16": "yes"}, "wanted true or false"),
        ("distill", {"push_to_hub": True}, "hf upload"),
        ("plad", {"padding_free": True}, "Rows with a weight"),
        ("dpo", {"save_steps": 5}, "without 'save_strategy'"),
        ("kto", {"bet": 0.1}, "Did you mean beta"),
    ],
)
def test_a_field_is_refused_before_anything_is_loaded(recipe, trainer, says):
    with pytest.raises(WrongUse, match=says):
        check_fields(recipe, trainer)


@pytest.mark.parametrize(
    ("recipe", "trainer"),
    [
        ("sft", {"max_length": 96, "model_init_kwargs": {"dtype": "float32"}}),
        ("dpo", {"loss_type": ["sigmoid"]}),
        ("critic", {"per_device_eval_batch_size": 4}),
        ("orpo", {}),
    ],
)
def test_a_field_that_a_config_takes_passes(recipe, trainer):
    check_fields(recipe, trainer)


def test_of_files_that_stand_elsewhere_nothing_is_said(monkeypatch):
    monkeypatch.setitem(
        declared_fields._SOURCES, "nat", ("SFTConfig", ("trl/no/such.py",))
    )
    of_command.cache_clear()
    check_fields("nat", {"learnin_rate": 1e-4})
    of_command.cache_clear()


_WITHOUT_TORCH = """
import sys
from finetune.cli import main
try:
    main(sys.argv[1:])
finally:
    assert not {"torch", "transformers", "trl"} & {*sys.modules}
"""


def test_a_mistyped_field_is_said_without_loading_torch(tmp_path):
    write(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    words = ["--model", "scratch:tiny", "--output", str(tmp_path / "s")]
    words += ["--data", str(tmp_path / "rows.jsonl"), "--learnin-rate", "1e-4"]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, "sft", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Did you mean learning_rate" in done.stderr


def test_a_bare_word_is_what_its_field_declares(tmp_path):
    assert taken("bool", BareWord("no")) is False
    assert taken("int", BareWord("1_000")) == 1000
    assert taken("float", BareWord("1_000.5")) == 1000.5
    assert taken("str | None", BareWord("no")) == "no"
    assert taken("int", BareWord("no")) is None
    file = tmp_path / "config.yaml"
    file.write_text("bf16: no\nmax_steps: 1_000\nsave_strategy: no\n")
    check_fields("sft", read_config(file, {}))
