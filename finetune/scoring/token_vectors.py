"""Vectors of texts, and of words where they stand in a text, by the last layers of an encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from finetune.students.number_types import opening_type
from finetune.students.opening import opening
from finetune.students.padding import settle_padding
from synth.core.errors import WrongUse
from synth.local_models.minilm import folder_of

if TYPE_CHECKING:
    from transformers import BatchEncoding

    from finetune.core.arrays import VectorArray

# Their sum is a token's vector.
_LAYERS = 4
_BATCH = 64
_MOST_TOKENS = 128


class Place(NamedTuple):
    """A word in a text.

    Attributes:
        text: the whole text.
        start: place of the word's first character.
        end: behind its last one.
    """

    text: str
    start: int
    end: int


def whole(text: str) -> Place:
    """All of a text."""
    return Place(text, 0, len(text))


def place_of(text: str, word: str, where: str) -> Place:
    """Where a word first stands in a text, whatever its case: by itself, or else inside of another
    word, as in languages that write no spaces.

    Raises:
        WrongUse: it does not stand there.

    >>> place_of("The embankment of the Bank.", "bank", "row 1")
    Place(text='The embankment of the Bank.', start=22, end=26)
    """
    # Small letters may be more than their capital: the place of each one's letter is kept.
    folded = [small for letter in text for small in letter.casefold()]
    counts = [len(letter.casefold()) for letter in text]
    origins = np.repeat(np.arange(len(text)), counts).tolist()
    wanted = re.escape(word.casefold())
    said = "".join(folded)
    found = re.search(rf"(?<!\w){wanted}(?!\w)", said)
    found = found or re.search(wanted, said)
    if found is None or not word:
        raise WrongUse(
            where,
            f"no {word!r} in {text!r:.80}",
            "a text that has its word",
            "Write the word as it stands in the text.",
        )
    return Place(text, origins[found.start()], origins[found.end() - 1] + 1)


class TokenVectors:
    """A frozen encoder.

    Args:
        model: a folder or a name of the hub.

    Raises:
        WrongUse: no encoder there, or one whose tokenizer does not say where tokens stand, or whose
            states are no numbers.
    """

    def __init__(self, model: str) -> None:
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - seconds

        folder = folder_of(model)
        todo = "Give a folder or a hub name."
        with opening(f"--model {model}", model, "an encoder", todo):
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model = AutoModel.from_pretrained(folder, dtype=opening_type())
        settle_padding(self.tokenizer, f"--model {model}", self.model.config)
        if not self.tokenizer.is_fast:
            raise WrongUse(
                f"--model {model}",
                "a tokenizer that does not say where its tokens stand",
                "a fast tokenizer",
                "Take an encoder that ships tokenizer.json.",
            )
        if self.model.config.is_encoder_decoder:
            raise WrongUse(
                f"--model {model}",
                "an encoder-decoder",
                "an encoder",
                "Take one such as sentence-transformers/all-MiniLM-L6-v2.",
            )
        import torch  # noqa: PLC0415 - seconds

        self.name = model
        if torch.cuda.is_available():
            self.model.to("cuda")
        self.model.eval()

    def of(self, places: Sequence[Place]) -> VectorArray:
        """[N, D] means over the tokens of each place; of one whose tokens are cut off, the mean
        over the whole text.
        """
        order = np.argsort([len(place.text) for place in places])
        parts = []
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            parts.append(self._read([places[one] for one in batch]))
        together = np.concatenate(parts)
        if not np.isfinite(together).all():
            raise WrongUse(
                f"--model {self.name}",
                "states that are no finite numbers",
                "an encoder whose states are numbers",
                "Look at its training: its weights may hold NaN.",
            )
        found: VectorArray = np.empty_like(together)
        found[order] = together
        return found

    def _read(self, places: Sequence[Place]) -> VectorArray:
        import torch  # noqa: PLC0415 - seconds

        limit = min(_MOST_TOKENS, self.tokenizer.model_max_length)
        tokens = self.tokenizer(
            [place.text for place in places],
            padding=True,
            truncation=True,
            max_length=limit,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        inside = torch.tensor(_inside(tokens, places))
        read = {name: tokens[name] for name in self.tokenizer.model_input_names}
        device = self.model.device
        with torch.no_grad():
            states = self.model(
                **{name: ids.to(device) for name, ids in read.items()},
                output_hidden_states=True,
            ).hidden_states
        last = torch.stack(states[-_LAYERS:])
        summed = last.sum(dim=0).float().cpu()
        mask = inside[:, :, None].float()
        total = (summed * mask).sum(dim=1)
        vectors: VectorArray = (total / mask.sum(dim=1)).numpy()
        return vectors


def _inside(tokens: BatchEncoding, places: Sequence[Place]) -> list[list[bool]]:
    """[N, T], True for the tokens of a place."""
    rows = []
    for number, place in enumerate(places):
        spans = tokens["offset_mapping"][number].tolist()
        special = tokens["special_tokens_mask"][number].tolist()
        real = [not one for one in special]
        within = []
        for (start, end), is_real in zip(spans, real, strict=True):
            overlaps = start < place.end and end > place.start
            within.append(is_real and overlaps)
        rows.append(within if any(within) else real)
    return rows
