"""A pack that runs, to begin one's own with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from synth.core.errors import WrongUse
from synth.inputs.strict_model import NAME
from synth.packs.pack import pack_names

_NAME = re.compile(NAME)
_PLACE = "NAME"


def write_pack(folder: Path) -> str:
    """Writes the files of a small pack into a new folder; returns what to do with it.

    Args:
        folder: does not exist, or is empty; its name is the pack's.

    Raises:
        WrongUse: a name that packs cannot have, or a folder that holds something.
    """
    name = folder.absolute().name
    where = f"synth init pack {folder}"
    if _NAME.fullmatch(name) is None:
        near = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip(
            "_0123456789"
        )
        raise WrongUse(
            where,
            f"name {name!r}",
            "a-z, digits and _, a letter first",
            f"For example: synth init pack {near or 'my_pack'}.",
        )
    if name in pack_names():
        raise WrongUse(
            where,
            f"{name!r}, which is a built-in pack",
            "a name of its own",
            f"For example: synth init pack my_{name}.",
        )
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise WrongUse(
            where,
            "something that is there already",
            "a new folder",
            "Name another folder; nothing was changed.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((Path(__file__).parent / "starter_pack").iterdir()):
        text = source.read_text(encoding="utf-8")
        # A file that came in the meantime is not written over.
        with (folder / source.name).open("x", encoding="utf-8") as file:
            file.write(text.replace(_PLACE, name))
    path = str(folder) if folder.is_absolute() else f"./{folder}"
    shown = shlex.quote(path)
    rehearsed = shlex.quote(f"rehearsed/{path}")
    return "\n".join(
        [
            f"pack -> {folder}",
            f"check it:     synth check {shown}",
            (
                f"try it:       synth run {shown} --input {shown}/seeds.jsonl --teacher "
                f"{rehearsed} --output {shlex.quote(f'{name}_run')}"
            ),
            (
                "for real:     the same with --teacher openai/gpt-4o-mini and rows of your own "
                "as --input"
            ),
        ]
    )
