"""What a distillation keeps from step to step beside its weights, in a checkpoint: texts that are
replayed, and what is known of several teachers. Each process has its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetune.core.tensors import Inputs
from finetune.teachers.in_process import SeveralTeachers
from finetune.teachers.prompted import PromptedTeacher
from finetune.teachers.selection import Selection

_FILE = "between_steps_{rank}.pt"


def selection_of(teacher: object) -> Selection | None:
    """The policy that chooses among several teachers, where there is one."""
    if isinstance(teacher, PromptedTeacher):
        teacher = teacher.teacher
    if isinstance(teacher, SeveralTeachers):
        return teacher.selection
    return None


def save(
    folder: str, rank: int, texts: Sequence[Inputs], selection: Selection | None
) -> None:
    """Writes them beside the state of the draws."""
    kept = [_on_cpu(batch) for batch in texts]
    chosen = None if selection is None else selection.state()
    content = {"texts": kept, "selection": chosen}
    torch.save(content, Path(folder, _FILE.format(rank=rank)))


def load(folder: str, rank: int, selection: Selection | None) -> list[Inputs]:
    """The texts; the policy goes on from where it was. Of a checkpoint without such a file none."""
    path = Path(folder, _FILE.format(rank=rank))
    if not path.is_file():
        return []
    content: dict[str, Any] = torch.load(path, weights_only=True)
    if selection is not None and content["selection"] is not None:
        selection.load(content["selection"])
    texts: list[Inputs] = content["texts"]
    return texts


def _on_cpu(batch: Inputs) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in batch.items()}


@contextmanager
def drawn_apart(
    device: torch.device, seed: str = "", selection: Selection | None = None
) -> Iterator[None]:
    """Within it draws are their own: those behind it are as if there had been none.

    Args:
        device: of the training.
        seed: that the draws follow from; "" for those that come.
        selection: whose draws are put back too.
    """
    devices = [device] if device.type == "cuda" else []
    before: Mapping[str, Tensor] | None = None
    if selection is not None:
        before = selection.state()
    with torch.random.fork_rng(devices):
        if seed:
            torch.manual_seed(random.Random(seed).getrandbits(62))
        yield
    if selection is not None and before is not None:
        selection.load(before)
