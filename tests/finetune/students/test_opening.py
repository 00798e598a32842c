"""A model's folder that is damaged in any way is named with what to give instead; nothing else
passes as a mistake.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.scoring.frozen_critic import Encoder
from finetune.students.encoders import open_encoder
from finetune.students.load import is_seq2seq, load_student, start_of
from finetune.students.opening import opening
from synth.core.errors import WrongUse
from tests import tiny


def halved(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def with_text(text: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_text(text)

    return damage


def narrower(path: Path) -> None:
    """The same model with weights of another shape."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "hidden_size": 32}))


DAMAGES = [
    ("model.safetensors", halved),
    ("model.safetensors", with_text("")),
    ("model.safetensors", with_text("version https://git-lfs.github.com")),
    ("tokenizer.json", halved),
    ("tokenizer.json", with_text("{}")),
    ("tokenizer.json", with_text("[]")),
    ("tokenizer.json", with_text('{"model": {}, "added_tokens": []}')),
    ("tokenizer_config.json", with_text("{")),
    ("config.json", halved),
    ("config.json", with_text("[]")),
    ("config.json", with_text('{"model_type": "no such"}')),
    ("config.json", narrower),
]


@pytest.fixture
def damaged(tmp_path) -> Callable[..., str]:
    def made(source: str, name: str, damage: Callable[[Path], None]) -> str:
        folder = tmp_path / "model"
        shutil.copytree(source, folder)
        damage(folder / name)
        return str(folder)

    return made


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_student_is_named(damaged, name, damage):
    folder = damaged(tiny.causal(), name, damage)
    with pytest.raises(WrongUse) as caught:
        load_student(folder)
    where, found, wanted, todo = caught.value.args
    assert where == f"--model {folder}"
    assert found.startswith("no model (")
    assert "\n" not in found
    assert wanted == "a language model"
    assert "a folder that a trainer saved" in todo


@pytest.mark.parametrize(("name", "damage"), DAMAGES[:6])
def test_a_damaged_encoder_is_named_by_both_who_open_it(damaged, name, damage):
    folder = damaged(tiny.nli(), name, damage)
    for call in (
        lambda: Encoder(folder),
        lambda: open_encoder("bi", folder, "--teacher"),
    ):
        with pytest.raises(WrongUse, match="an encoder") as caught:
            call()
        assert folder in caught.value.args[0]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError("one\ntwo"), "no model (one)"),
        (ValueError("odd"), "no model (odd)"),
        (ValueError(""), "no model (ValueError: )"),
        (KeyError("model"), "no model (KeyError: 'model')"),
        (Exception("data did not match"), "no model (Exception: data did"),
        (ImportError("No module named x"), "no model (ImportError: No"),
        (RuntimeError(""), "no model (RuntimeError: )"),
    ],
)
def test_what_a_library_says_is_told_in_one_line(error, says):
    with (
        pytest.raises(WrongUse) as caught,
        opening("--model m", "m", "a model", "Give one."),
    ):
        raise error
    assert caught.value.args[1].startswith(says)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [MemoryError(), KeyboardInterrupt(), WrongUse("a", "b", "c", "d")],
)
def test_what_is_no_fault_of_the_folder_goes_on_as_it_is(error):
    with (
        pytest.raises(type(error)) as caught,
        opening("--model m", "m", "a model", "Give one."),
    ):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("name", "text", "seq2seq"),
    [
        ("adapter_config.json", '{"task_type": "SEQ_2_SEQ_LM"}', True),
        ("adapter_config.json", '{"task_type": "CAUSAL_LM"}', False),
        ("adapter_config.json", '{"task_type": null}', False),
        ("adapter_config.json", "{}", False),
        ("adapter_config.json", "{broken", False),
        ("adapter_config.json", "[]", False),
        ("adapter_config.json", "", False),
        ("config.json", '{"model_type": "t5"}', True),
        ("config.json", '{"model_type": "llama"}', False),
        ("config.json", "[]", False),
        ("config.json", "{broken", False),
        ("other.json", "{}", False),
    ],
)
def test_a_folder_of_which_nothing_can_be_read_is_no_encoder_decoder(
    tmp_path, name, text, seq2seq
):
    (tmp_path / name).write_text(text)
    assert is_seq2seq(str(tmp_path)) is seq2seq


@pytest.mark.parametrize(
    ("model", "seq2seq"),
    [
        ("scratch:tiny", False),
        ("scratch:t5-tiny", True),
        ("no/such model", False),
    ],
)
def test_names_say_it_where_nothing_is_opened(model, seq2seq):
    assert is_seq2seq(model) is seq2seq


def test_a_part_of_a_model_is_of_its_kind():
    assert is_seq2seq(f"truncate:{tiny.causal()}:layers=1") is False


class Ends:
    """A tokenizer that has an end, and a start where one is given."""

    def __init__(self, start: int | None) -> None:
        self.bos_token_id = start
        self.eos_token_id = 9


@pytest.mark.parametrize(("start", "found"), [(None, 9), (0, 0), (5, 5)])
def test_before_a_text_stands_its_start_or_the_end_of_the_last(
    start: int | None, found: int
) -> None:
    tokenizer: Any = Ends(start)
    assert start_of(tokenizer) == found
