"""A student as a folder that transformers, vLLM and SGLang open as it is: merged weights, a
tokenizer, and what tells a server where replies end and how chats are written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from finetune.core.rows import JsonObject
from finetune.data.prompts import of_student
from finetune.generation.continuations import end_tokens
from finetune.sharing.chat_formats import TEXT_TEMPLATE
from finetune.students import adapters
from finetune.students.kinds import KINDS, check_kind
from finetune.students.load import is_seq2seq, load_student
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NumberType = Literal["f32", "f16", "bf16"]
_NUMBER_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
_CONFIG = "config.json"
_GENERATION = "generation_config.json"
_INDEX = "model.safetensors.index.json"
_SPELLING = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")
_WEIGHTS = (".safetensors", ".bin")
# Kinds of students whose folders do not hold all that their commands read.
_AT_HOME = ("ctc", "mask-predict", "demonstrations", "supernet", "experts")
_TODO = "Give the folder that a training wrote, whole."


class Served(NamedTuple):
    """What went into a folder for servers.

    Attributes:
        tokenizer: as it was written.
        ends: texts of the tokens that end a reply.
        template: `own`: the student's chat template; `text`: messages one after the other, for a
            student that was trained on texts or has no template.
        number_type: of the weights.
    """

    tokenizer: PreTrainedTokenizerBase
    ends: list[str]
    template: Literal["own", "text"]
    number_type: str


def check_student(student: str) -> None:
    """Looks whether a student can be served elsewhere; opens no weights.

    Args:
        student: a folder, or a name of the hub, of which nothing is known before it is opened.

    Raises:
        WrongUse: files are missing, with their names; gates or an encoder-decoder, which no server
            opens, or a student that writes no text.
    """
    folder = Path(student)
    where = f"STUDENT {student}"
    check_kind(student, ("language",), where, "a language model")
    if (folder / adapters.NAT).is_file():
        raise WrongUse(
            where,
            "gated adapters of `finetune nat`",
            "a model that servers know, or LoRA adapters",
            "Serve it with `finetune serve`.",
        )
    if folder.is_dir() and (lacking := _lacking(folder)):
        raise WrongUse(
            where,
            f"a folder without {', '.join(lacking)}",
            "weights, a configuration and a tokenizer",
            _TODO,
        )
    if is_seq2seq(student):
        raise WrongUse(
            where,
            "an encoder-decoder",
            "a decoder, which these servers ask",
            "Serve it with `finetune serve`.",
        )


def check_pushed(student: Path) -> None:
    """Refuses a student that nobody could open elsewhere: it needs its train.json, which stays, or
    a model in another folder here.

    Raises:
        WrongUse: with the command that takes it.
    """
    kinds = [name for name in KINDS if name not in _AT_HOME]
    wanted = "a student whose folder is all that it needs"
    check_kind(str(student), kinds, f"STUDENT {student}", wanted)


def _lacking(folder: Path) -> list[str]:
    """What a student's folder should hold and does not."""
    names = {path.name for path in folder.iterdir()}
    lacking = []
    if adapters.is_adapted(str(folder)):
        wanted = ("adapter_model.safetensors", "adapter_model.bin")
        if not names & {*wanted}:
            lacking.append(wanted[0])
    else:
        if _CONFIG not in names:
            lacking.append(_CONFIG)
        lacking += _lacking_weights(folder, names)
    if not names & {*_SPELLING}:
        lacking.append(_SPELLING[0])
    return lacking


def _lacking_weights(folder: Path, names: set[str]) -> list[str]:
    """Names of files of weights that a folder should hold and does not."""
    if _INDEX in names:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return sorted({*index["weight_map"].values()} - names)
    if any(name.endswith(_WEIGHTS) for name in names):
        return []
    return ["model.safetensors"]


def write_served(
    student: str, folder: Path, number_type: NumberType | None = None
) -> Served:
    """Writes a student as servers open it.

    Adapters are added to their base in float32, and the sum is rounded to the type of the base.

    Args:
        student: a folder, or a name of the hub.
        folder: that is there; it gets `model*.safetensors`, `config.json`,
            `generation_config.json`, `tokenizer.json`, `tokenizer_config.json` and
            `chat_template.jinja`.
        number_type: of the weights; None for that of the student's files.

    Raises:
        WrongUse: see `check_student`; a student that cannot be opened, or has no end token.
    """
    check_student(student)
    # Of adapters this is the type of their base.
    model, tokenizer = load_student(student, {"dtype": "auto"})
    wanted = str(model.dtype).removeprefix("torch.")
    if number_type is not None:
        wanted = _NUMBER_TYPES[number_type]
    merged = _merged(model, wanted)
    ends = _ends(merged, tokenizer, student)
    template: Literal["own", "text"] = "own"
    if of_student(student) == "never" or not tokenizer.chat_template:
        template = "text"
        tokenizer.chat_template = _begun(tokenizer) + TEXT_TEMPLATE
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    said = [str(tokenizer.convert_ids_to_tokens(end)) for end in ends]
    if lacking := missing(folder):
        raise WrongUse(
            f"STUDENT {student}",
            f"an export without {', '.join(lacking)}",
            "all that a server opens",
            "Save its tokenizer as tokenizer.json first (a fast tokenizer of transformers).",
        )
    return Served(tokenizer, said, template, wanted)


def _merged(model: PreTrainedModel, number_type: str) -> PreTrainedModel:
    """The model without adapters, in a number type."""
    import torch  # noqa: PLC0415 - seconds

    if hasattr(model, "merge_and_unload"):
        # Short floats would round twice.
        model = model.float().merge_and_unload()
    made: PreTrainedModel = model.to(getattr(torch, number_type))
    made.config.dtype = getattr(torch, number_type)
    return made


def _ends(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, student: str
) -> list[int]:
    """Ids of the tokens that end a reply, which the model's generation config says from here on."""
    ends = sorted(end_tokens(model, tokenizer))
    if not ends:
        raise WrongUse(
            f"STUDENT {student}",
            "no end token",
            "one in its tokenizer or its generation_config.json",
            "Without one a server's replies never end: name it in tokenizer_config.json.",
        )
    settings = model.generation_config
    settings.eos_token_id = ends if len(ends) > 1 else ends[0]
    settings.pad_token_id = tokenizer.pad_token_id
    settings.bos_token_id = tokenizer.bos_token_id
    return ends


def _begun(tokenizer: PreTrainedTokenizerBase) -> str:
    """A template's words for the token that the tokenizer puts before a text; "" where it puts
    none.
    """
    first = tokenizer("a")["input_ids"][:1]
    if tokenizer.bos_token_id is None or first != [tokenizer.bos_token_id]:
        return ""
    return "{{ bos_token }}"


def missing(folder: Path) -> list[str]:
    """What a server wants of a folder and does not find there.

    Args:
        folder: of `write_served`.
    """
    wanted = [_CONFIG, _GENERATION, "tokenizer_config.json", _SPELLING[0]]
    names = {path.name for path in folder.iterdir()}
    lacking = [name for name in wanted if name not in names]
    lacking += _lacking_weights(folder, names)
    if _GENERATION in names:
        text = (folder / _GENERATION).read_text(encoding="utf-8")
        settings: JsonObject = json.loads(text)
        if settings.get("eos_token_id") is None:
            lacking.append(f"{_GENERATION}: eos_token_id")
    if "chat_template.jinja" not in names:
        lacking.append("chat_template.jinja")
    return lacking
