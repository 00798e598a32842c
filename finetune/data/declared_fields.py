"""Fields of a trainer's config as they are declared: of a class, or of the files that it stands in,
which are read without running them. Torch and TRL take ten seconds to load; a mistyped field is
said in one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synth.core.bare_words import read_like
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Words of a declaration that say nothing of a value's kind.
_NO_KINDS = {"class", "None", "NoneType", "Optional", "Union", "typing"}
# The default of a field whose source computes it.
UNKNOWN = object()

_TRANSFORMERS = "transformers/training_args.py"
_TRL = (_TRANSFORMERS, "trl/trainer/base_config.py")
_SFT = ("SFTConfig", (*_TRL, "trl/trainer/sft_config.py"))
_PLAIN = ("TrainingArguments", (_TRANSFORMERS,))
_TWO_SIDES = (
    "Seq2SeqTrainingArguments",
    (_TRANSFORMERS, "transformers/training_args_seq2seq.py"),
)
_ENCODERS = (_TRANSFORMERS, "sentence_transformers/base/training_args.py")
# Command -> the config's class, and the files of its fields, those of its parents first.
_SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sft": _SFT,
    "sft, weighted": _SFT,
    "sft, encoder-decoder": _TWO_SIDES,
    "sft, encoder-decoder, weighted": _TWO_SIDES,
    "nat": _SFT,
    "distill": _SFT,
    "distill, encoder-decoder": _TWO_SIDES,
    "distill, encoder": _PLAIN,
    "codistill": _PLAIN,
    "dpo": ("DPOConfig", (*_TRL, "trl/trainer/dpo_config.py")),
    "kto": ("KTOConfig", (*_TRL, "trl/trainer/kto_config.py")),
    "cpo": ("CPOConfig", (*_TRL, "trl/experimental/cpo/cpo_config.py")),
    "orpo": ("ORPOConfig", (*_TRL, "trl/experimental/orpo/orpo_config.py")),
    "grpo": ("GRPOConfig", (*_TRL, "trl/trainer/grpo_config.py")),
    "critic": _PLAIN,
    "retriever": (
        "MultiVectorEncoderTrainingArguments",
        (
            *_ENCODERS,
            "sentence_transformers/multi_vector_encoder/training_args.py",
        ),
    ),
}


class Declared(NamedTuple):
    """One field.

    Attributes:
        kind: its type, as the source spells it.
        default: its value where none is given; `UNKNOWN` where that is computed.
    """

    kind: str
    default: object


Fields = Mapping[str, Declared]


def of_class(kind: type[DataclassInstance]) -> Fields:
    """The fields of a class that is loaded."""
    found = {}
    for field in fields(kind):
        if not field.init:
            continue
        default = (
            field.default
            if field.default_factory is MISSING
            else field.default_factory()
        )
        plain = getattr(default, "value", default)
        found[field.name] = Declared(str(field.type), plain)
    return found


@cache
def of_command(command: str) -> tuple[str, Fields]:
    """The name of a command's config, and its fields as the installed packages' files have them.

    Args:
        command: of `trainer_fields.OF_COMMANDS`.

    Returns:
        No fields where a file is not there: another version of a package keeps it elsewhere.
    """
    name, files = _SOURCES[command]
    found: dict[str, Declared] = {}
    for file in files:
        path = _installed(file)
        if path is None:
            return name, {}
        found |= _in_file(path)
    return name, found


def as_declared(where: str, value: object, declared: str) -> object:
    """A value of a field as its declaration has it: 2 is 2.0 where a fraction is declared (models
    refuse 2 there), 1e3 is 1000 where a whole number is.

    Raises:
        WrongUse: no number where one is declared, or a text where a flag is: "False" would be on.
    """
    kinds = set(re.findall(r"\w+", declared)) - _NO_KINDS
    if not kinds - {"bool", "int", "float"}:
        value = read_like(value, True if "bool" in kinds else 0)
    # A field that is off asks for nothing.
    off = value is None or (value is False and "None" in declared)
    if kinds == {"bool"} and not isinstance(value, bool | int) and not off:
        raise _of_another_kind(where, value, "true or false")
    if off or not kinds or kinds - {"int", "float"}:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _of_another_kind(where, value, "a number")
    if kinds == {"float"}:
        return float(value)
    if isinstance(value, int) or value.is_integer():
        return int(value)
    if "float" in kinds:
        return value
    raise _of_another_kind(where, value, "a whole number")


def _of_another_kind(where: str, value: object, wanted: str) -> WrongUse:
    return WrongUse(
        where,
        repr(value),
        wanted,
        "Give it a value of this kind, or leave it out.",
    )


def _installed(file: str) -> Path | None:
    """PACKAGE/FILE where that package is installed, which is not imported."""
    package, _, rest = file.partition("/")
    spec = find_spec(package)
    if spec is None:
        return None
    folders = spec.submodule_search_locations or ()
    paths = (Path(folder, rest) for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _in_file(path: Path) -> dict[str, Declared]:
    """The fields of all dataclasses of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: dict[str, Declared] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.decorator_list:
            found |= dict(_in_class(node))
    return found


def _in_class(node: ast.ClassDef) -> Iterator[tuple[str, Declared]]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(
            line.target, ast.Name
        ):
            kind = ast.unparse(line.annotation)
            # What belongs to the class is no field.
            if "ClassVar" not in kind:
                yield line.target.id, Declared(kind, _default(line.value))


def _default(value: ast.expr | None) -> object:
    """A default that is written out, in `field(default=...)` or alone."""
    if isinstance(value, ast.Call):
        given = {word.arg: word.value for word in value.keywords}
        value = given.get("default")
    try:
        return ast.literal_eval(value) if value is not None else UNKNOWN
    except ValueError:
        return UNKNOWN
