"""A compressor that turns demonstrations into a few vectors before a question (MEND,
arXiv:2403.06914), and its files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.core.json_files import write_json
from finetune.core.rows import JsonObject
from finetune.core.tensors import Logits
from finetune.data.tokens import IGNORED
from finetune.students.adapters import NAT, is_adapted
from finetune.students.kinds import require_kind
from finetune.students.load import is_seq2seq, load_student
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "demonstrations.json"
_WEIGHTS = "vectors.safetensors"


class Asked(NamedTuple):
    """Questions of a batch, each padded at its end.

    Attributes:
        ids: [B, T], what a start token is to a text being `start` of them.
        labels: [B, T], -100 where nothing is to be said.
        start: tokens before which nothing may stand: 0 or 1.
    """

    ids: Tensor
    labels: Tensor
    start: int


def said(model: PreTrainedModel, asked: Asked, before: Tensor | None) -> Logits:
    """[N, V] of the places that say a label, row by row.

    Args:
        model: a decoder.
        asked: questions with their answers.
        before: [B, K, H] vectors that stand before each question, behind its start; None for
            nothing.
    """
    vectors = model.get_input_embeddings()(asked.ids)
    labels = asked.labels
    mask = torch.ones_like(asked.ids)
    if before is not None:
        nothing = labels.new_full(before.shape[:2], IGNORED)
        vectors = _behind(vectors, before.to(vectors), asked.start)
        labels = _behind(labels, nothing, asked.start)
        mask = torch.ones_like(labels)
    # Padding stands behind everything: no token that counts sees it.
    logits: Logits = model(inputs_embeds=vectors, attention_mask=mask).logits
    return logits[:, :-1][labels[:, 1:] != IGNORED]


def _behind(row: Tensor, inner: Tensor, start: int) -> Tensor:
    """[B, T + K, ...]: [B, K, ...] stands behind the first `start` of [B, T, ...]."""
    head, rest = row.tensor_split([start], dim=1)
    return torch.cat([head, inner, rest], dim=1)


class Compressor(nn.Module):
    """A language model that reads demonstrations, then as many places as there are vectors, whose
    states become the vectors.

    Args:
        body: without a head.
        count: vectors.
        width: of the model that they are for.
    """

    def __init__(self, body: PreTrainedModel, count: int, width: int) -> None:
        super().__init__()
        self.body = body
        self.config = body.config
        table = body.get_input_embeddings().weight
        # Places begin as words do, each as another one.
        chosen = torch.randint(len(table), (count,), device=table.device)
        self.places = nn.Parameter(table.detach()[chosen].clone())
        self.project = nn.Linear(table.shape[1], width).to(table)
        if table.shape[1] == width:
            nn.init.eye_(self.project.weight)
            nn.init.zeros_(self.project.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, K, H] vectors.

        Args:
            ids: [B, L] demonstrations, padded at their beginnings.
            mask: [B, L] which are there.
        """
        words = self.body.get_input_embeddings()(ids)
        places = self.places.expand(len(ids), -1, -1)
        there = torch.cat([mask, mask.new_ones(places.shape[:2])], dim=1)
        states = self.body(
            inputs_embeds=torch.cat([words, places], dim=1),
            attention_mask=there,
            position_ids=(there.cumsum(dim=1) - 1).clamp(min=0),
        ).last_hidden_state
        vectors: Tensor = self.project(states[:, -len(self.places) :])
        return vectors

    def save(self, folder: Path, model: str) -> None:
        """Writes the body as transformers loads it, and the rest beside it.

        Args:
            folder: where to.
            model: that the vectors are for.
        """
        self.body.save_pretrained(folder)
        own = {
            name: value.detach().contiguous()
            for name, value in self.named_parameters()
            if not name.startswith("body.")
        }
        save_file(own, str(folder / _WEIGHTS))
        path = Path(model)
        named = str(path.absolute()) if path.exists() else model
        facts = {
            "model": named,
            "vectors": len(self.places),
            "width": self.project.out_features,
        }
        write_json(folder / FILE, facts)


def open_compressor(
    folder: str, count: int, width: int, where: str
) -> tuple[Compressor, PreTrainedTokenizerBase]:
    """(compressor, its tokenizer): one that was saved, or a new one out of a language model.

    Args:
        folder: of one of the two.
        count: vectors.
        width: of the model that they are for.
        where: what named it.

    Raises:
        WrongUse: nothing to open there, or vectors of another number or width.
    """
    if not (Path(folder) / FILE).is_file():
        _check_plain(folder, where)
        model, tokenizer = load_student(folder)
        return Compressor(model.base_model, count, width), tokenizer
    made, tokenizer = load_compressor(folder)
    kept = len(made.places)
    wide = made.project.out_features
    if (kept, wide) != (count, width):
        raise WrongUse(
            where,
            f"{kept} vectors of width {wide}",
            f"{count} of width {width}",
            "Give --vectors and --model as they were.",
        )
    return made, tokenizer


def _check_plain(folder: str, where: str) -> None:
    """Refuses what becomes no compressor, whose weights are those of a decoder alone."""
    found = ""
    if is_seq2seq(folder):
        found = "an encoder-decoder"
    if is_adapted(folder) or (Path(folder) / NAT).is_file():
        found = "adapters upon another model"
    if found:
        raise WrongUse(
            where,
            found,
            "a decoder in one piece",
            "Give a --compressor; `finetune export --to vllm` makes one of LoRA adapters.",
        )


def load_compressor(
    folder: str,
) -> tuple[Compressor, PreTrainedTokenizerBase]:
    """What `Compressor.save` wrote, and the tokenizer beside it.

    Raises:
        WrongUse: nothing of that kind there.
    """
    require_kind(folder, "demonstrations", folder)
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    facts = _facts(folder)
    body = AutoModel.from_pretrained(folder)
    made = Compressor(body, facts["vectors"], facts["width"])
    made.load_state_dict(load_file(str(Path(folder) / _WEIGHTS)), strict=False)
    return made, AutoTokenizer.from_pretrained(folder)


def model_of(folder: str) -> str:
    """The model that a saved compressor's vectors are for."""
    return str(_facts(folder)["model"])


def _facts(folder: str) -> JsonObject:
    text = (Path(folder) / FILE).read_text(encoding="utf-8")
    found: JsonObject = json.loads(text)
    return found


def padded(
    lists: Sequence[Sequence[int]], fill: int, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """[B, T] numbers, and [B, T] which are there (1 or 0).

    >>> padded([[5], [6, 7]], 0, left=True)[0].tolist()
    [[0, 5], [6, 7]]
    """
    width = max(map(len, lists), default=0)
    numbers = torch.full((len(lists), width), fill)
    mask = torch.zeros(len(lists), width, dtype=torch.long)
    for row, one in enumerate(lists):
        start = width - len(one) if left else 0
        numbers[row, start : start + len(one)] = torch.tensor(
            one, dtype=torch.long
        )
        mask[row, start : start + len(one)] = 1
    return numbers, mask
