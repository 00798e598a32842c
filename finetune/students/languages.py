"""Encoders with an adapter a language (X-MOD): `--model language:PATH:de_DE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synth.core.errors import WrongUse, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PREFIX = "language:"


def has_language(model: str) -> bool:
    """Whether a model's name asks for one of its languages."""
    return model.startswith(_PREFIX)


def without_language(model: str) -> str:
    """The model alone.

    >>> without_language("language:models/big:de_DE")
    'models/big'
    """
    return model.removeprefix(_PREFIX).rpartition(":")[0]


def speak(model: PreTrainedModel, name: str) -> None:
    """Makes a model read its texts with the adapter of the language that its name asks for.

    Embeddings and the adapters of all languages are kept from learning, so that what is learnt in
    one language serves the others (ColBERT-XM, arXiv:2402.15059, section 3).

    Raises:
        WrongUse: a model without adapters, or without this language.
    """
    language = name.rpartition(":")[2]
    known = list(getattr(model.config, "languages", []))
    if language not in known:
        raise WrongUse(
            f"--model {name}",
            f"no adapter of the language {language!r}",
            f"one of {', '.join(known)}" if known else "an X-MOD encoder",
            did_you_mean(language, known) if known else "Name another model.",
        )
    model.config.default_language = language
    for part, weight in model.named_parameters():
        if "adapter" in part or "embeddings." in part:
            weight.requires_grad = False
