"""What kind of student a folder holds, and which command takes it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from finetune.core.rows import JsonObject
from finetune.data.prompts import RECORD
from finetune.students import adapters
from finetune.students.scratch import is_scratch
from synth.core.errors import WrongUse
from synth.inputs.hub import settle_hub
from synth.inputs.names import not_there


class Kind(NamedTuple):
    """A kind of student.

    Attributes:
        name: of the kind.
        said: in words.
        todo: which command takes it.
        tag: what the hub calls it; "" for nothing that the hub knows.
    """

    name: str
    said: str
    todo: str
    tag: str = ""


_ENCODER_TODO = (
    "`finetune heads`, `ctc`, `mask-predict`, `retriever` and `distill --task` begin with "
    "it."
)
_ALL = (
    Kind(
        "language",
        "a language model",
        "`finetune evaluate` measures it, `finetune serve` answers with it.",
        "text-generation",
    ),
    Kind(
        "heads",
        "an encoder with several heads",
        "`finetune evaluate-encoder STUDENT --head NAME` measures one of them.",
    ),
    Kind(
        "classify",
        "a model with a head for classes of texts",
        "`finetune evaluate-encoder STUDENT --task classify` measures it.",
        "text-classification",
    ),
    Kind(
        "tokens",
        "a model with a head for classes of words",
        "`finetune evaluate-encoder STUDENT --task tokens` measures it.",
        "token-classification",
    ),
    Kind(
        "mlm",
        "an encoder of masked words, which writes no text",
        _ENCODER_TODO,
        "fill-mask",
    ),
    Kind("encoder", "an encoder, which writes no text", _ENCODER_TODO),
    Kind(
        "ctc",
        "a student of `finetune ctc`",
        "`finetune evaluate-ctc STUDENT` measures it.",
    ),
    Kind(
        "mask-predict",
        "a student of `finetune mask-predict`",
        "`finetune evaluate-mask-predict STUDENT` measures it.",
    ),
    Kind(
        "demonstrations",
        "a compressor of demonstrations",
        "`finetune evaluate-demonstrations STUDENT` measures it.",
    ),
    Kind(
        "supernet",
        "encoders of many sizes in one",
        "`finetune search-supernet STUDENT` takes one of them out.",
    ),
    Kind(
        "experts",
        "a folder with a model for each task",
        "Give the folder of one task, which stands in it under the task's name.",
    ),
    Kind(
        "bi",
        "a retriever of kind bi",
        "`finetune evaluate-retriever --kind bi` measures it.",
        "sentence-similarity",
    ),
    Kind(
        "multi",
        "a retriever of kind multi",
        "`finetune evaluate-retriever --kind multi` measures it.",
    ),
    Kind(
        "sparse",
        "a retriever of kind sparse",
        "`finetune evaluate-retriever --kind sparse` measures it.",
    ),
    Kind(
        "cross",
        "a ranker of kind cross",
        "`finetune evaluate-retriever --kind cross` measures it.",
        "text-ranking",
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}

# Files that say by themselves what a folder holds, in the order in which they are looked for.
_FILES = {
    "heads.json": "heads",
    "supernet.json": "supernet",
    "demonstrations.json": "demonstrations",
    "experts.json": "experts",
    "lengths.safetensors": "mask-predict",
    adapters.NAT: "language",
}
# What sentence-transformers writes.
_MODULES = "modules.json"
_LIBRARY = "config_sentence_transformers.json"
_CLASSES = {
    "SentenceTransformer": "bi",
    "CrossEncoder": "cross",
    "MultiVectorEncoder": "multi",
    "SparseEncoder": "sparse",
}
# Of peft's adapters.
_TASKS = {
    "CAUSAL_LM": "language",
    "SEQ_2_SEQ_LM": "language",
    "SEQ_CLS": "classify",
    "TOKEN_CLS": "tokens",
    "FEATURE_EXTRACTION": "encoder",
}
# How the names of transformers' classes end.
_PAIRS = "ForSequenceClassification"
_HEADS = {
    _PAIRS: "classify",
    "ForTokenClassification": "tokens",
}
# Weights that go with one of the files above.
_BESIDE = (
    "heads.safetensors",
    "vectors.safetensors",
    "prototypes.safetensors",
    "nat.safetensors",
    "adapter_model.safetensors",
)


def kind_of(model: str) -> Kind | None:
    """What a student is, by its files; None where they do not say. No weights are opened.

    Args:
        model: a folder, or a name of the hub.
    """
    folder = Path(model)
    for file, name in _FILES.items():
        if (folder / file).is_file():
            return KINDS[name]
    if (folder / _MODULES).is_file():
        library = _read(folder / _LIBRARY)
        named = str(library.get("model_type", "SentenceTransformer"))
        return KINDS.get(_CLASSES.get(named, ""))
    if "stretch" in _read(folder / RECORD):
        return KINDS["ctc"]
    if adapters.is_adapted(model):
        task = _read(folder / adapters.CONFIG).get("task_type")
        return KINDS.get(_TASKS.get(str(task), ""))
    return KINDS.get(_by_config(_config(model)))


def _by_config(config: JsonObject) -> str:
    """The kind of a plain model, by its configuration; "" for none known."""
    from transformers.models.auto import modeling_auto as auto  # noqa: PLC0415 - seconds

    # A class is named where weights were saved.
    named = str((config.get("architectures") or [""])[0])
    if named.endswith(_PAIRS) and len(config.get("id2label") or {}) == 1:
        # One class is a score of both texts.
        return "cross"
    for end, name in _HEADS.items():
        if named.endswith(end):
            return name
    kind = str(config.get("model_type", ""))
    writes = config.get("is_encoder_decoder") or config.get("is_decoder")
    if kind in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not writes:
        return "mlm" if named.endswith("ForMaskedLM") else "encoder"
    if kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or writes:
        return "language"
    return ""


def _config(model: str) -> JsonObject:
    """The content of config.json; {} where none can be read."""
    if is_scratch(model):
        return {}
    if Path(model).is_dir():
        return _read(Path(model) / "config.json")
    from transformers import AutoConfig  # noqa: PLC0415 - seconds

    settle_hub(model)
    try:
        found: JsonObject = AutoConfig.from_pretrained(model).to_dict()
    except (OSError, ValueError, TypeError, AttributeError):
        # Whoever opens the model says what is wrong with it.
        return {}
    return found


def _read(path: Path) -> JsonObject:
    """A file of JSON; {} where none can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def check_kind(
    model: str, takes: Collection[str], where: str, wanted: str
) -> None:
    """Refuses a student of another kind, before it is opened. What is of no known kind passes.

    Args:
        model: a folder, or a name of the hub.
        takes: names of kinds.
        where: what named it.
        wanted: instead.

    Raises:
        WrongUse: with the command that takes it.
    """
    kind = kind_of(model)
    if kind is not None and kind.name not in takes:
        raise WrongUse(where, kind.said, wanted, kind.todo)


def require_kind(model: str, name: str, where: str) -> None:
    """Refuses all but the folder of one command.

    Args:
        model: a folder.
        name: of the command, and of what it writes.
        where: what named it.

    Raises:
        WrongUse: what it is instead, with the command that takes it; or what is near, where nothing
            stands there.
    """
    wanted = f"a folder of `finetune {name}`"
    if not Path(model).expanduser().exists():
        raise not_there(where, model, wanted)
    check_kind(model, (name,), where, wanted)
    if kind_of(model) is None:
        todo = "Give its --output."
        raise WrongUse(where, "nothing of that kind", wanted, todo)


def unmark(folder: Path) -> None:
    """Takes away what would say of a folder that it holds a student of another kind, before one is
    written over it.
    """
    marks = (*_FILES, *_BESIDE, _MODULES, _LIBRARY, adapters.CONFIG)
    for name in marks:
        (folder / name).unlink(missing_ok=True)
