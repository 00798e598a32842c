"""What a library says against a model's folder, said as a mistake of the call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from finetune.core.hub import settle_hub
from synth.core.errors import PotstillError, WrongUse, is_out_of_memory
from synth.inputs.names import require_there
from synth.local_models.minilm import folder_of


@contextmanager
def opening(where: str, named: str, wanted: str, todo: str) -> Iterator[None]:
    """Around a call that opens a model.

    Files that are cut short or damaged make libraries raise errors of any class, such as those of
    safetensors and tokenizers.

    Args:
        where: what named the model.
        named: its folder, or its name on the hub.
        wanted: what should stand there.
        todo: what to do instead.

    Raises:
        WrongUse: no model could be opened, with the first line of why; or the name can only be a
            path, and nothing stands there.
    """
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
        raise WrongUse(where, f"no model ({why})", wanted, todo) from error
