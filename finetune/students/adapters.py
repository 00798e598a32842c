"""Students that are adapters upon a base in another folder, which may have been moved with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.core.rows import JsonObject
from finetune.data.prompts import RECORD
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.inputs.hub import settle_hub

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Peft's file of adapters, and its key for their base.
CONFIG = "adapter_config.json"
_BASE = "base_model_name_or_path"
# What a student with gated adapters is known by.
NAT = "nat.json"
_NAMED = {CONFIG: _BASE, NAT: "base"}
# In the record of a training: the base, seen from the student's folder.
_FROM_HERE = "base"


def is_adapted(model: str) -> bool:
    """Whether a folder holds adapters alone."""
    return (Path(model) / CONFIG).is_file()


def base_from(folder: Path) -> JsonObject:
    """What a record says of the base of a folder's adapters: its path from there, by which it is
    found again where both were moved; {} of other students, and of bases that are no folder.
    """
    for file, key in _NAMED.items():
        base = Path(_read(folder / file).get(key) or "/no/base")
        if base.is_dir():
            path = os.path.relpath(base.resolve(), folder.resolve())
            return {_FROM_HERE: path}
    return {}


def found_base(folder: Path, base: str) -> str:
    """Where the base of a folder's adapters stands now.

    Args:
        folder: of the adapters.
        base: as their file names it: a folder, or a name of the hub.

    Raises:
        WrongUse: it was a folder, and is gone.
    """
    if Path(base).is_dir():
        return base
    from_here = _read(folder / RECORD).get(_FROM_HERE)
    if from_here is None and not Path(base).is_absolute():
        return base
    moved = folder / str(from_here)
    if from_here is not None and moved.is_dir():
        return str(moved.resolve())
    raise WrongUse(
        f"--model {folder}",
        f"adapters upon {base}, where no model is",
        "the model that they were trained upon",
        f"Put it back, or write its folder into {CONFIG} ({_BASE}).",
    )


def load_adapted(model: str, kind: str, options: Row) -> PreTrainedModel:
    """Adapters upon their base.

    Args:
        model: their folder.
        kind: `CausalLM` or `Seq2SeqLM`.
        options: of `from_pretrained` of the base.
    """
    # Seconds of imports.
    import peft  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    said = _read(Path(model) / CONFIG)
    base = found_base(Path(model), said[_BASE])
    opened = {**options, "revision": said.get("revision")}
    settle_hub(base)
    whole = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(
        base, **opened
    )
    if (Path(model) / "tokenizer_config.json").is_file():
        size = len(transformers.AutoTokenizer.from_pretrained(model))
        # A student may have been given tokens that its base lacks.
        if size > whole.get_input_embeddings().weight.shape[0]:
            whole.resize_token_embeddings(size)
    return getattr(peft, f"PeftModelFor{kind}").from_pretrained(whole, model)


def _read(path: Path) -> JsonObject:
    """A file of JSON; {} where there is none."""
    if not path.is_file():
        return {}
    content: JsonObject = json.loads(path.read_text(encoding="utf-8"))
    return content
