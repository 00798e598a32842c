"""`finetune export`: a student as a folder for servers, a GGUF file, or a model of Ollama."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from finetune.core.rows import JsonObject
from finetune.sharing import gguf
from finetune.sharing.gguf import Precision
from finetune.sharing.ollama import modelfile
from finetune.sharing.served import NumberType, check_student, write_served
from synth.core.errors import WrongUse

Target = Literal["vllm", "gguf", "ollama"]
TARGETS: tuple[str, ...] = get_args(Target)
PRECISIONS: tuple[str, ...] = get_args(Precision)
# What an export leaves of itself in its folder.
RECORD = "export.json"
_MODELFILE = "Modelfile"


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What is exported.

    Attributes:
        model: the student: a folder, or a name of the hub.
        to: `vllm` (also for SGLang and `transformers serve`), `gguf` or `ollama`.
        output: a folder that is missing, empty, or of an earlier export.
        precision: of the weights; None for that of the student's files (vllm) or f16. q8_0 is one
            of GGUF files alone.
    """

    model: str
    to: Target
    output: Path
    precision: Precision | None = None


def run(config: ExportConfig) -> JsonObject:
    """Exports a student; the folder is there once all of it is.

    Returns:
        The content of `OUTPUT/export.json`: `to`, `student`, `precision`, `template` (`own`, or
        `text` for messages one after the other), `form` (of the Modelfile's template, "" for none
        known), `ends` (texts of the end tokens) and `files` (bytes of each).

    Raises:
        WrongUse: a student that cannot be served, a folder with files of somebody else, no
            converter, or a precision that the target does not have.
    """
    if config.to == "vllm" and config.precision == "q8_0":
        raise WrongUse(
            "--precision q8_0",
            "--to vllm",
            "f32, f16 or bf16",
            "Leave it out, or give --to gguf.",
        )
    check_student(config.model)
    check_folder(config.output)
    if config.to != "vllm":
        gguf.converter()
    output = config.output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, so that it gets its name by a rename.
    with tempfile.TemporaryDirectory(
        dir=output.parent, prefix=f".{output.name}."
    ) as room:
        made = Path(room) / "made"
        made.mkdir()
        record = {
            "to": config.to,
            "student": config.model,
            **_WAYS[config.to](config, made),
        }
        record["files"] = _sizes(made)
        text = json.dumps(record, indent=2) + "\n"
        (made / RECORD).write_text(text, encoding="utf-8")
        # Somebody may have written there meanwhile.
        check_folder(output)
        if output.is_dir():
            output.rename(Path(room) / "earlier")
        made.rename(output)
    return record


def check_folder(folder: Path) -> None:
    """Checks that an export may become a folder; writes nothing.

    Raises:
        WrongUse: a file, or a folder with something that no export wrote or that was changed since.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise WrongUse(
            str(folder), "a file", "a folder", "Give another --output."
        )
    found = _sizes(folder)
    written = _written(folder)
    strange = [name for name in found if found[name] != written.get(name)]
    if strange := [name for name in strange if name != RECORD or not written]:
        listed = ", ".join(strange[:3])
        raise WrongUse(
            str(folder),
            f"{listed}, which no export wrote or somebody changed",
            "an empty folder, or one of an earlier export",
            "Give another --output, or move these files elsewhere.",
        )


def _written(folder: Path) -> Mapping[str, int]:
    """Name -> bytes of what an earlier export wrote; {} where there was none."""
    try:
        text = (folder / RECORD).read_text(encoding="utf-8")
        files: Mapping[str, int] = json.loads(text)["files"]
        return dict(files)
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _sizes(folder: Path) -> dict[str, int]:
    """Path -> bytes of each file in a folder."""
    sizes = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            name = path.relative_to(folder).as_posix()
            sizes[name] = path.lstat().st_size
    return sizes


def _to_vllm(config: ExportConfig, made: Path) -> JsonObject:
    """Writes the folder of a server."""
    wanted = cast("NumberType | None", config.precision)
    served = write_served(config.model, made, wanted)
    return {
        "precision": served.number_type,
        "template": served.template,
        "ends": served.ends,
    }


def _to_gguf(config: ExportConfig, made: Path) -> JsonObject:
    """Writes a GGUF file."""
    return _converted(config, made)[0]


def _to_ollama(config: ExportConfig, made: Path) -> JsonObject:
    """Writes a GGUF file and its Modelfile."""
    record, text = _converted(config, made)
    (made / _MODELFILE).write_text(text, encoding="utf-8")
    return record


def _converted(config: ExportConfig, made: Path) -> tuple[JsonObject, str]:
    """A record of the GGUF file that is written, and the Modelfile for it."""
    precision = config.precision or "f16"
    name = f"{Path(config.model).resolve().name}-{precision}.gguf"
    weights = made.parent / "weights"
    weights.mkdir()
    served = write_served(config.model, weights)
    gguf.convert(weights, made / name, precision)
    shutil.rmtree(weights)
    text, form = modelfile(name, served)
    record = {
        "precision": precision,
        "template": served.template,
        "form": form,
        "ends": served.ends,
    }
    return record, text


_WAYS: dict[Target, Callable[[ExportConfig, Path], JsonObject]] = {
    "vllm": _to_vllm,
    "gguf": _to_gguf,
    "ollama": _to_ollama,
}
