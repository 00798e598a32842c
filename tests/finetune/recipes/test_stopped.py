"""Commands that train students of forms of their own, stopped anywhere: the same command again ends as if nothing had been."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

import synth
from finetune.core.json_files import check_writable, write_json, write_whole
from finetune.students import load
from tests import tiny
from tests.conftest import rest_long, write
from tests.finetune.recipes.test_distill_layers import QUIET
from tests.finetune.test_train import finetune

COMMANDS = (
    "heads",
    "experts",
    "demonstrations",
    "supernet",
    "ctc",
    "mask-predict",
    "add-kinds",
)
ROOT = Path(synth.__file__).parent.parent


def tagger(folder):
    """A model with a head for two kinds of words and for words outside."""
    shutil.copytree(tiny.encoder("tokens"), folder, dirs_exist_ok=True)
    names = dict(enumerate(("O", "B-warm", "B-hot")))
    config = transformers.AutoConfig.from_pretrained(folder)
    config.id2label = names
    config.label2id = {name: number for number, name in names.items()}
    config.save_pretrained(folder)
    return folder


def words_of(command, folder):
    folder.mkdir(exist_ok=True)
    encoder = tiny.encoder("mlm")
    tags = [{"tokens": f.split(), "tags": ["a", "b"]} for f in tiny.FACTS]
    texts = [
        {"text": fact, "label": str(n % 2)} for n, fact in enumerate(tiny.FACTS)
    ]
    pairs = [
        {"prompt": f"What is {fact} ?", "completion": fact.split()[n], "task": task}
        for n, task in enumerate(("first", "second"))
        for fact in tiny.FACTS
    ]  # fmt: skip
    tagged = write(folder / "tags.jsonl", tags)
    labelled = write(folder / "texts.jsonl", texts)
    beasts = write(
        folder / "beasts.jsonl",
        [{**row, "tags": ["B-dog", "O"]} for row in tags],
    )
    former = write(
        folder / "former.jsonl",
        [{**row, "tags": ["B-warm", "B-hot"]} for row in tags],
    )
    asked = write(folder / "pairs.jsonl", pairs)
    return {
        "heads": ["--model", encoder, "--head", f"a:task=tokens,rows={tagged}", "--head", f"b:task=classify,rows={labelled}"],
        "experts": ["--model", tiny.causal(), "--input", asked],
        "demonstrations": ["--model", tiny.causal(), "--input", asked, "--shots", 2, "--vectors", 2],
        "supernet": ["--model", encoder, "--teacher", encoder, "--input", labelled, "--layers", "1,2", "--heads", "2,4", "--feed-forward", "32,64"],
        "ctc": ["--model", encoder, "--input", asked, "--prior-rows", asked],
        "mask-predict": ["--model", encoder, "--input", asked, "--prior-rows", asked],
        "add-kinds": ["--model", tagger(folder / "tagger"), "--input", beasts, "--former-rows", former],
    }[command]  # fmt: skip


def words_of_run(command, folder, out, *more):
    return [
        command, *words_of(command, folder), *QUIET, "--output", out,
        "--learning-rate", "1e-3", "--per-device-train-batch-size", 4, "--max-steps", 6,
        "--save-strategy", "steps", "--save-steps", 2, *more,
    ]  # fmt: skip


def run(command, folder, out, *more):
    return finetune(*words_of_run(command, folder, out, *more))


def weights(out):
    found = {}
    for path in sorted(out.rglob("*.safetensors")):
        if "checkpoints" not in path.parts:
            place = path.relative_to(out)
            for name, value in load_file(path).items():
                found[f"{place} {name}"] = value
    return found


@contextmanager
def interrupted(kind, method, when):
    """Ctrl-C at the first call of a method that `when` holds for."""
    plain = getattr(kind, method)

    def stop(self, *args, **options):
        if when(self, *args):
            raise KeyboardInterrupt
        return plain(self, *args, **options)

    setattr(kind, method, stop)
    try:
        yield
    finally:
        setattr(kind, method, plain)


@pytest.mark.slow
@pytest.mark.parametrize("command", rest_long(COMMANDS, 2))
def test_a_training_that_goes_on_is_one_that_was_never_stopped(
    command, tmp_path
):
    rows = tmp_path / "rows"
    code, said = run(command, rows, tmp_path / "whole")
    assert code == 0, said
    out = tmp_path / "s"
    at_step = lambda trainer, *_: trainer.state.global_step == 5  # noqa: E731
    with interrupted(transformers.Trainer, "training_step", at_step):
        code, said = run(command, rows, out, "--resume")
    assert (code, (out / "train.json").exists()) == (130, False), said
    # Again in the middle of the save: the folder is half written.
    amid = lambda _, folder, *__: "checkpoint-" not in str(folder)  # noqa: E731
    tokenizers = transformers.PreTrainedTokenizerBase
    with interrupted(tokenizers, "save_pretrained", amid):
        code, said = run(command, rows, out, "--resume")
    assert (code, (out / "train.json").exists()) == (130, False), said
    code, said = run(command, rows, out, "--resume")
    assert code == 0, said
    assert not (out / "checkpoints" / "saving").exists()
    first, second = weights(tmp_path / "whole"), weights(out)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def files(out):
    return {
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file() and "checkpoints" not in path.parts
    }


BESIDE = ("experts", "nat", "critic", "curriculum", "retriever", "distill")


def words_beside(command, folder):
    """Of commands that write more than a student and its record."""
    folder.mkdir()
    rows = [
        {
            "prompt": f"What is {fact} ?", "completion": f"{fact} it is", "label": n % 2 == 0, "task": f"t{n % 2}", "size": n % 2,
            "question": fact, "rationale": f"since {fact}", "answer": "4", "is_correct": n % 2 == 0, "query": f"a {fact}", "positive": fact,
        }
        for n, fact in enumerate(tiny.FACTS * 4)
    ]  # fmt: skip
    names = {
        "nat": ("prompt", "completion", "label"),
        "critic": ("question", "rationale", "answer", "is_correct"),
        "retriever": ("query", "positive"),
        "experts": ("prompt", "completion", "task"),
        "curriculum": ("prompt", "completion", "size"),
        "distill": ("prompt", "completion"),
    }[command]
    rows = [{name: row[name] for name in names} for row in rows]
    data = write(folder / "rows.jsonl", rows)
    model = tiny.encoder("mlm")
    if command not in ("critic", "retriever"):
        model = tiny.causal()
    more = {
        "critic": ["--held-out", 0.5],
        "curriculum": ["--by", "size", "--order", "0,1"],
        "distill": ["--teacher", tiny.wide()],
    }.get(command, [])
    return [command, "--model", model, "--input", data, *more]


@pytest.mark.parametrize("command", rest_long(BESIDE, 3))
def test_the_record_is_written_last(command, tmp_path):
    words = words_beside(command, tmp_path / "rows")
    words += ["--max-steps", 1, "--output", tmp_path / "s"]
    code, said = finetune(*words)
    assert code == 0, said
    whole = files(tmp_path / "s")
    record = json.loads((tmp_path / "s" / "train.json").read_text())
    written = []

    def stop(path, content):
        if path == tmp_path / "s" / "train.json":
            written.append(json.loads(json.dumps(content)))
            raise KeyboardInterrupt
        write_json(path, content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(load, "write_json", stop)
        code, said = finetune(*words)
    # The record of the training before it is gone, too.
    assert code == 130, said
    assert files(tmp_path / "s") == whole - {"train.json"}
    assert written[0].keys() == record.keys()


def pressed(words, when):
    """(exit code, what stood on the screen) of a command at which Ctrl-C was pressed once `when` held."""
    screen = Path(words[words.index("--output") + 1]).with_suffix(".screen")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with screen.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "finetune.cli", *words],
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not when() and process.poll() is None:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(timeout=120)
        finally:
            process.kill()
    return code, screen.read_text()


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_leaves_a_training_that_goes_on(command, tmp_path):
    rows = tmp_path / "rows"
    steps = ["--max-steps", 60, "--save-steps", 10, "--resume"]
    code, said = run(command, rows, tmp_path / "whole", *steps)
    assert code == 0, said
    out = tmp_path / "s"
    words = list(map(str, words_of_run(command, rows, out, *steps)))
    state = out / "checkpoints" / "checkpoint-20" / "trainer_state.json"
    code, said = pressed(words, state.exists)
    assert (code, (out / "train.json").exists()) == (130, False), said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert said.splitlines()[-1].endswith(": interrupted")
    code, said = run(command, rows, out, *steps)
    assert code == 0, said
    assert "goes on from step" in said
    first, second = weights(tmp_path / "whole"), weights(out)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def small_disk(most):
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, kept)


@pytest.mark.parametrize("command", rest_long(COMMANDS, 1))
@pytest.mark.parametrize("strategy", ["no", "steps"])
def test_a_full_disk_is_said_as_one(command, strategy, tmp_path):
    words = words_of(command, tmp_path / "rows")
    base = [command, *words, "--output", tmp_path / "s", "--max-steps", 1]
    # The library's copy of the rows is made.
    code, said = finetune(*base[:-3], tmp_path / "first", *base[-2:])
    assert code == 0, said
    with small_disk(5000):
        code, said = finetune(*base, "--save-strategy", strategy)
    assert code == 5, said
    assert "File too large" in said
    assert not (tmp_path / "s" / "train.json").exists()


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "evaluation.json"
    write_whole(path, "before")
    with small_disk(10), pytest.raises(OSError, match="too large"):
        write_whole(path, "x" * 99)
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["evaluation.json"]
    link = tmp_path / "link"
    link.symlink_to(path)
    write_whole(link, "behind")
    assert (link.is_symlink(), path.read_text()) == (True, "behind")


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_measured(
    tmp_path,
):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OSError, match="Not a directory"):
        check_writable(file / "a" / "b")
    check_writable(tmp_path / "a" / "b")
    rows = write(tmp_path / "rows.jsonl", [{"text": "red", "label": "cold"}])
    code, said = finetune(
        "evaluate-encoder", "nobody/model", "--task", "classify", "--input", rows, "--output", file / "o",
    )  # fmt: skip
    assert (code, "Not a directory" in said) == (2, True), said
