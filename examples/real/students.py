"""A small student: trained in all its weights, and asked which of a few labels is likeliest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.real.tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Row = Mapping[str, Any]
SFT = (
    *("--num-train-epochs", "1", "--per-device-train-batch-size", "8"),
    *("--learning-rate", "5e-5", "--lr-scheduler-type", "cosine"),
    *("--warmup-steps", "5", "--max-length", "192"),
)
_BATCH = 32


def finetune(*words: object) -> None:
    """Runs the command, with all cores that this process may use; its output goes to standard
    error.
    """
    line = [str(word) for word in words]
    sys.stderr.write(f"finetune {' '.join(line)}\n")
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "finetune.cli", *line],
        check=True,
        stdout=sys.stderr,
        env={**os.environ, "OMP_NUM_THREADS": str(_cores())},
    )


def _cores() -> int:
    """How many this process may use; more threads than these would wait for each other."""
    return len(os.sched_getaffinity(0))


def file_name(name: str) -> str:
    """A name without blanks and signs."""
    return "".join(s if s.isalnum() else "_" for s in name)


def lesson(task: Task, row: Row) -> dict[str, Any]:
    """A row that a student learns: the text, and the label that somebody gave."""
    completion = [{"role": "assistant", "content": row["answer"]}]
    return {"prompt": task.prompt(row), "completion": completion}


def train(
    folder: Path,
    data: Path,
    base: Path,
    seed: int,
    settings: Sequence[object] = SFT,
) -> Path:
    """A student that learnt from a file of lessons, by settings of `finetune sft`; once trained, it
    is not trained again.
    """
    if not (folder / "train.json").is_file():
        finetune(
            *("sft", "--input", data, "--model", base, "--output", folder),
            *(*settings, "--seed", seed),
        )
    return folder


def choose(model: Path, task: Task, rows: Sequence[Row]) -> tuple[int, int]:
    """(texts judged as people did, all) where a student must choose: the label whose first token
    it finds likeliest counts, whatever else it would rather say.
    """
    import torch  # noqa: PLC0415 - seconds

    from finetune.data.prompts import ids_of  # noqa: PLC0415
    from finetune.students.load import load_student  # noqa: PLC0415

    network, tokenizer = load_student(str(model))
    network.eval()
    first = [
        tokenizer(label, add_special_tokens=False)["input_ids"][0]
        for label in task.choices
    ]
    if len({*first}) < len(first):
        raise ValueError(f"labels of {task.name} that begin alike")
    asked = sorted(
        ((ids_of(task.prompt(row), tokenizer, "always"), row) for row in rows),
        key=lambda pair: len(pair[0]),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(_cores())
    try:
        hits = sum(
            _hits(network, first, task, asked[start : start + _BATCH])
            for start in range(0, len(asked), _BATCH)
        )
    finally:
        torch.set_num_threads(threads)
    return hits, len(asked)


def _hits(
    network: PreTrainedModel,
    first: Sequence[int],
    task: Task,
    batch: Sequence[tuple[list[int], Row]],
) -> int:
    """How many rows of a batch, the shortest prompt first, are judged as people did."""
    import torch  # noqa: PLC0415 - as above

    longest = len(batch[-1][0])
    # Padding stands to the left, so that every prompt ends at the last place.
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for line, (prompt, _) in enumerate(batch):
        ids[line, -len(prompt) :] = torch.tensor(prompt)
        mask[line, -len(prompt) :] = 1
    with torch.inference_mode():
        heads = network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=1,
        )
    chosen = heads.logits[:, -1, first].argmax(-1).tolist()
    return sum(
        task.choices[choice] == row["target"]
        for choice, (_, row) in zip(chosen, batch, strict=True)
    )
