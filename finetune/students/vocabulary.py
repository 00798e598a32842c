"""Students with fewer tokens: those of some rows, and what any other text can be spelt with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from finetune.core.rows import JsonObject
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Fields of a model's configuration that are ids, or lists of them.
_IDS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id"),
    *("decoder_start_token_id", "unk_token_id", "cls_token_id"),
    *("mask_token_id", "forced_bos_token_id", "forced_eos_token_id"),
)
_TODO = "Give a student whose tokenizer.json is of one of these."


class Smaller(NamedTuple):
    """A tokenizer with fewer tokens.

    Attributes:
        tokenizer: that has them.
        kept: [V] id in the larger one of each of its tokens, by its own ids.
    """

    tokenizer: PreTrainedTokenizerBase
    kept: list[int]


def smaller_tokenizer(
    tokenizer: PreTrainedTokenizerBase, used: Iterable[int]
) -> Smaller:
    """The tokenizer without the tokens that nobody uses.

    It keeps what is used, special and added tokens, and bytes or single characters, so that any
    text can still be spelt; of BPE also what merges on the way to a kept token give. Texts of kept
    tokens are spelt as before: every merge that led to them is there, and no other is preferred.

    Args:
        tokenizer: with a tokenizer.json, by BPE, WordPiece, WordLevel or Unigram.
        used: ids.

    Raises:
        WrongUse: another kind of tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = {} if backend is None else json.loads(backend.to_str())
    model = state.get("model", {})
    kind = model.get("type")
    if kind not in ("BPE", "WordPiece", "WordLevel", "Unigram"):
        raise WrongUse(
            "the student's tokenizer",
            f"one of {kind or type(tokenizer).__name__}",
            "BPE, WordPiece, WordLevel or Unigram",
            _TODO,
        )
    pieces = _pieces(model)
    wanted = {*used, *_spelling(state, pieces)}
    added = {token["id"] for token in state["added_tokens"]}
    wanted |= added
    if kind == "Unigram":
        wanted.add(model["unk_id"])
    elif model.get("unk_token") in pieces:
        wanted.add(pieces[model["unk_token"]])
    merges = [_pair(merge) for merge in model.get("merges", ())]
    if kind == "BPE":
        wanted |= _on_the_way(merges, pieces, wanted)
    within = {*pieces.values()}
    # Tokens beyond the model's own follow it, as a tokenizer numbers them when it is read.
    kept = sorted(wanted & within) + sorted(added - within)
    numbers = {old: new for new, old in enumerate(kept)}
    _shrink(state, pieces, merges, numbers)
    return Smaller(_rebuilt(tokenizer, state, numbers), kept)


def shrink(model: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    """The model with the embeddings and the head of some tokens alone, in place; nothing is
    trained.

    Args:
        model: of the larger vocabulary.
        kept: ids, in the order of the new ones.
    """
    rows = torch.tensor(kept, device=model.device)
    embeddings = model.get_input_embeddings()
    head = model.get_output_embeddings()
    tied = head is not None and head.weight is embeddings.weight
    embeddings.weight = _rows(embeddings.weight, rows)
    embeddings.num_embeddings = len(kept)
    numbers = {old: new for new, old in enumerate(kept)}
    if embeddings.padding_idx is not None:
        embeddings.padding_idx = numbers.get(embeddings.padding_idx)
    if head is not None:
        head.weight = embeddings.weight if tied else _rows(head.weight, rows)
        head.out_features = len(kept)
        if head.bias is not None:
            head.bias = _rows(head.bias, rows)
    model.config.get_text_config().vocab_size = len(kept)
    model.config.vocab_size = len(kept)
    for config in (model.config, model.generation_config):
        _renumber(config, numbers)
    return model


def _rows(weight: torch.Tensor, rows: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(
        weight.detach()[rows].clone(), requires_grad=weight.requires_grad
    )


def _renumber(config: object, numbers: Mapping[int, int]) -> None:
    """Ids of a configuration, by their new numbers."""
    for name in _IDS:
        value = getattr(config, name, None)
        if isinstance(value, list):
            setattr(config, name, [numbers[id_] for id_ in value])
        elif value is not None:
            setattr(config, name, numbers.get(value))


def _pieces(model: JsonObject) -> dict[str, int]:
    """Piece -> id."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        return {piece: number for number, (piece, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """Both parts, in either spelling of a tokenizer.json."""
    one, two = merge.split(" ") if isinstance(merge, str) else merge
    return one, two


def _spelling(state: JsonObject, pieces: Mapping[str, int]) -> set[int]:
    """Ids of what any text can be spelt with: bytes, or else single characters."""
    from tokenizers.pre_tokenizers import ByteLevel  # noqa: PLC0415

    if "ByteLevel" in json.dumps(state.get("pre_tokenizer")):
        alphabet = {*ByteLevel.alphabet()}
    elif state["model"].get("byte_fallback"):
        alphabet = {f"<0x{byte:02X}>" for byte in range(256)}
    else:
        prefix = state["model"].get("continuing_subword_prefix") or ""
        alphabet = {
            piece for piece in pieces if len(piece.removeprefix(prefix)) == 1
        }
    return {pieces[piece] for piece in alphabet if piece in pieces}


def _on_the_way(
    merges: Sequence[tuple[str, str]],
    pieces: Mapping[str, int],
    wanted: set[int],
) -> set[int]:
    """Ids of all that is merged on the way from characters to the wanted tokens."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    found: set[int] = set()
    for piece, number in pieces.items():
        if number not in wanted:
            continue
        parts = list(piece)
        while True:
            found |= {pieces[part] for part in parts if part in pieces}
            known = []
            for place, pair in enumerate(pairwise(parts)):
                if pair in ranks:
                    known.append((ranks[pair], place))
            if not known:
                break
            _, best = min(known)
            merged = parts[best] + parts[best + 1]
            parts[best : best + 2] = [merged]
    return found


def _shrink(
    state: JsonObject,
    pieces: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    numbers: Mapping[int, int],
) -> None:
    """Takes out of a tokenizer.json what is not kept, in place."""
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [
            entry for n, entry in enumerate(model["vocab"]) if n in numbers
        ]
        model["unk_id"] = numbers[model["unk_id"]]
    else:
        model["vocab"] = {}
        for piece, old in sorted(pieces.items(), key=itemgetter(1)):
            if old in numbers:
                model["vocab"][piece] = numbers[old]
    if model["type"] == "BPE":
        kept = model["vocab"]
        model["merges"] = []
        for one, two in merges:
            whole = one + two
            if one in kept and two in kept and whole in kept:
                model["merges"].append([one, two])
    for token in state["added_tokens"]:
        token["id"] = numbers[token["id"]]
    if state.get("padding"):
        state["padding"]["pad_id"] = numbers[state["padding"]["pad_id"]]
    if state.get("post_processor"):
        _renumber_processor(state["post_processor"], numbers)


def _renumber_processor(
    processor: JsonObject, numbers: Mapping[int, int]
) -> None:
    """New ids of the tokens that are set around a text."""
    for part in processor.get("processors", ()):
        _renumber_processor(part, numbers)
    for token in (processor.get("special_tokens") or {}).values():
        token["ids"] = [numbers[id_] for id_ in token["ids"]]
    for side in ("sep", "cls"):
        if side in processor:
            content, old = processor[side]
            processor[side] = [content, numbers[old]]


def _rebuilt(
    tokenizer: PreTrainedTokenizerBase,
    state: JsonObject,
    numbers: Mapping[int, int],
) -> PreTrainedTokenizerBase:
    """The tokenizer with another tokenizer.json, all else as it was."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(name)
        for spare in ("vocab.json", "merges.txt", "vocab.txt"):
            (folder / spare).unlink(missing_ok=True)
        _write(folder / "tokenizer.json", state)
        settings = folder / "tokenizer_config.json"
        said = json.loads(settings.read_text(encoding="utf-8"))
        listed: dict[str, Any] = said.get("added_tokens_decoder") or {}
        renumbered = {}
        for old, token in listed.items():
            new = numbers[int(old)]
            renumbered[str(new)] = token
        if listed:
            said["added_tokens_decoder"] = renumbered
            _write(settings, said)
        return AutoTokenizer.from_pretrained(name)


def _write(path: Path, content: JsonObject) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
