"""What synth writes, finetune reads; so do load_dataset and TRL's own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

import synth
from finetune.data import rows
from synth.core.errors import WrongUse
from synth.teachers.simulation.word_problems import make_problems
from tests.cli.test_cli import synth as command
from tests.conftest import write


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    synth.run(
        "cot",
        make_problems(60, seed=6),
        teacher="simulated/mixed",
        output=out,
        draws=4,
    )
    return out


@pytest.fixture(scope="module")
def student(run_folder):
    """A small student that TRL's commands can load."""
    from finetune.students import scratch

    data = rows.sft_rows(run_folder)
    model, tokenizer = scratch.build("scratch:tiny", rows.texts(data), 0)
    folder = run_folder.parent / "student"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_run_folder_is_read_directly(run_folder):
    assert rows.sft_rows(run_folder).column_names == ["prompt", "completion"]
    pairs = rows.preference_rows(run_folder)
    assert pairs.column_names == ["prompt", "chosen", "rejected"]
    assert len(pairs) > 5


def test_files_and_folders_are_read_too(tmp_path, run_folder):
    for name in ("x.jsonl", "x.parquet", "folder"):
        assert (
            command(
                "export", run_folder, "--to", "sft", "--output", tmp_path / name
            )[0]
            == 0
        )
        assert len(rows.sft_rows(tmp_path / name)) == len(
            rows.sft_rows(run_folder)
        )
    chat = write(
        tmp_path / "chat.jsonl",
        [{"messages": [{"role": "user", "content": "a"}], "id": 1}],
    )
    assert rows.sft_rows(chat).column_names == ["messages"]


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(WrongUse, match="columns prompt, completion"):
        rows.sft_rows(write(tmp_path / "x.jsonl", [{"a": 1}]))
    with pytest.raises(WrongUse, match="no such file or folder"):
        rows.sft_rows(tmp_path / "none")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("squad", None),
        ("openai/gsm8k", None),
        # An owner and a name that ends like a file; no folder of that name is here.
        ("owner/name.json", None),
        ("v1.0", None),
        ("a b.jsonl", None),
        ("link.jsonl", None),
        ("pipe", None),
        ("n" * 300, None),
        ("rows/none.jsonl", r"Did you mean some.jsonl\?"),
        ("none.jsonl", "no such file or folder"),
        ("./none", "no such file or folder"),
        ("a/b/c", "no such file or folder"),
        ("~nobody-has-this-name/x", "no such file or folder"),
        ("gone.jsonl", "a link that leads nowhere"),
        ("s3://bucket/x.jsonl", "a URL of a store"),
        ("https://u:hunter2@host/x.jsonl?sig=hunter2", "a URL of a store"),
    ],
)
def test_what_is_no_path_is_left_to_the_hub(
    tmp_path, monkeypatch, source, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.0").mkdir()
    (tmp_path / "rows").mkdir()
    for name in ("a b.jsonl", "rows/some.jsonl"):
        write(tmp_path / name, [{"text": "a"}])
    (tmp_path / "link.jsonl").symlink_to("a b.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    if says is None:
        assert rows.there(source) == source
        return
    with pytest.raises(WrongUse, match=says) as caught:
        rows.there(source)
    assert "hunter2" not in str(caught.value)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "rows.jsonl", [{"text": "a"}])
    assert len(rows.load("~/rows.jsonl")) == 1
    with pytest.raises(WrongUse, match=r"Did you mean rows\.jsonl"):
        rows.load("~/row.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "target"),
    [
        pytest.param("sft", None, marks=pytest.mark.long),
        pytest.param("sft", "multitask", marks=pytest.mark.long),
        pytest.param("dpo", "preference", marks=pytest.mark.long),
    ],
)
def test_trls_own_commands_train_on_the_folders_unchanged(
    recipe, target, run_folder, student, tmp_path
):
    folder = run_folder
    if target:
        folder = tmp_path / target
        assert (
            command("export", run_folder, "--to", target, "--output", folder)[0]
            == 0
        )
    assert len(datasets.load_dataset(str(folder), split="train")) > 5
    flags = "--max_steps 2 --per_device_train_batch_size 2 --bf16 false --gradient_checkpointing false --use_cpu true --report_to none"
    args = [
        recipe,
        "--model_name_or_path",
        str(student),
        "--dataset_name",
        str(folder),
        "--output_dir",
        str(tmp_path / "out"),
        *flags.split(),
    ]
    trl = Path(sys.executable).with_name("trl")
    done = subprocess.run(
        [str(trl), *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "model.safetensors").is_file()
