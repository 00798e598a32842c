"""Who is told of a training: those who are named, if their package is there, and nothing that is a secret."""

from __future__ import annotations

import json
import sys

import pytest

from finetune.data.reporters import REPORTERS, reporters
from finetune.settings import TrainConfig, check_fields, trainer_config
from synth.core.errors import WrongUse
from tests.conftest import write
from tests.finetune.test_train import finetune


def test_all_that_transformers_knows_are_known():
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
    )

    assert set(REPORTERS) == set(INTEGRATION_TO_CALLBACK)


@pytest.mark.parametrize("value", ["none", None, False, [], ["none"]])
def test_nobody_is_told_by_default(value):
    assert reporters(value) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("all", "names"),
        ("trackioo", "Did you mean trackio"),
        (["none", "swanlab"], "pip install swanlab"),
    ],
)
def test_what_cannot_be_told_is_refused_before_anything_is_loaded(value, says):
    with pytest.raises(WrongUse, match=says):
        check_fields("sft", {"report_to": value})


def test_an_environment_names_nobody(tmp_path, monkeypatch):
    from trl import SFTConfig

    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "http://127.0.0.1:9")
    config = TrainConfig(data="d", model="m", output=tmp_path)
    assert trainer_config(SFTConfig, config, "sft").report_to == []


# As much of the package as transformers calls.
_STAND_IN = """
import json
from types import SimpleNamespace

__version__ = "1.0"
context_vars = SimpleNamespace(
    current_space_id=SimpleNamespace(get=lambda: None)
)
told = []


class Config(dict):
    def update(self, values, **_):
        told.append(values)

    def __setitem__(self, name, value):
        told.append({name: value})


config = Config()


def init(**given):
    told.append(given)


def log(values):
    told.append(values)


def finish():
    with open(PATH, "w") as file:
        json.dump(told, file, default=str)
"""


def test_a_named_reporter_is_told_all_measurements_and_no_key(
    tmp_path, monkeypatch
):
    told = tmp_path / "told.json"
    package = tmp_path / "packages"
    package.mkdir()
    (package / "trackio.py").write_text(f"PATH = {str(told)!r}\n{_STAND_IN}")
    monkeypatch.syspath_prepend(str(package))
    # Where the real one is installed, TRL has it loaded.
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    for name in ("HF_TOKEN", "OPENAI_API_KEY", "TRACKIO_KEY"):
        monkeypatch.setenv(name, "a-secret-word")
    rows = [{"prompt": f"{n} =\n", "completion": f"{n}"} for n in range(6)]
    write(tmp_path / "rows.jsonl", rows[:4])
    write(tmp_path / "held.jsonl", rows[4:])
    code, said = finetune(
        "sft",
        *("--data", tmp_path / "rows.jsonl", "--model", "scratch:tiny"),
        *("--held-out", tmp_path / "held.jsonl", "--output", tmp_path / "s"),
        *("--report-to", "trackio", "--run-name", "mine"),
        *("--max-steps", 2, "--logging-steps", 1, "--disable-tqdm"),
    )
    sys.modules.pop("trackio", None)
    assert code == 0, said
    entries = json.loads(told.read_text())
    assert entries[0]["name"] == "mine"
    assert entries[0]["space_id"] is None
    names = {name for entry in entries for name in entry}
    assert {"train/loss", "eval/loss"} <= names
    assert "a-secret-word" not in told.read_text()
    for path in (tmp_path / "s").rglob("*"):
        if path.is_file():
            assert b"a-secret-word" not in path.read_bytes(), path
