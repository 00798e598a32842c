"""What a library says against a model's folder, said as a mistake of the call."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune.students.kinds import kind_of
from finetune.students.scratch import is_scratch
from finetune.students.truncate import is_truncated
from synth.core.errors import PotstillError, WrongUse, is_out_of_memory
from synth.inputs.hub import settle_hub
from synth.inputs.names import require_there
from synth.local_models.minilm import folder_of

# Torch's writer of checkpoints, in what it says of a file that it cannot write.
_TORCH = "PytorchStreamWriter"
# Kinds of students that are no encoder, whatever opens them.
_ELSEWHERE = ("language", "experts")


@contextmanager
def opening(where: str, named: str, wanted: str, todo: str) -> Iterator[None]:
    """Around a call that opens a model.

    Files that are cut short or damaged make libraries raise errors of any class, such as those of
    safetensors and tokenizers.

    Args:
        where: what named the model.
        named: its folder, or its name on the hub; a student of another kind is named with the
            command that takes it.
        wanted: what should stand there.
        todo: what to do instead.

    Raises:
        WrongUse: no model could be opened, with the first line of why; or the name can only be a
            path, and nothing stands there, or it asks for a student that is made.
    """
    if is_scratch(named) or is_truncated(named):
        made = "on the spot" if is_scratch(named) else "of a larger one"
        raise WrongUse(where, f"a student that is made {made}", wanted, todo)
    require_there(where, named, wanted)
    settle_hub(folder_of(named))
    try:
        yield
    except PotstillError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        lines = str(error).splitlines() or [""]
        why = lines[0] if isinstance(error, OSError | ValueError) else ""
        why = why or f"{type(error).__name__}: {lines[0]}"
        found = f"no model ({why})"
        kind = kind_of(named)
        if kind is not None and kind.said != wanted and kind.name in _ELSEWHERE:
            found = f"{kind.said} ({why})"
            todo = kind.todo
        raise WrongUse(where, found, wanted, todo) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around a call that writes weights: what libraries say of a full disk is said as the machine
    says it.

    Raises:
        OSError: no weights could be written.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - for those who train

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _TORCH not in str(error):
            raise
        said = re.search(r"os error (\d+)", str(error))
        number = int(said[1]) if said else errno.EIO
        raise OSError(number, os.strerror(number), str(folder)) from error
