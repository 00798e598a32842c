"""Which weights a server has, from what it says of a few tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from finetune.core.rows import JsonObject
from finetune.core.tensors import RowLogProbs
from finetune.data.tokens import IGNORED
from finetune.rollouts.text_server import Text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# [P, V] log-probabilities of what may stand behind each of P probes.
Logs = RowLogProbs

# Prompts that a server is asked about, and tokens of the longest.
_PROBES = 8
_LONGEST = 256
# Nats a token by which a server of another model differs. bf16 rounds logits of 20 by 0.06.
_FOREIGN = 0.5
# Nats a token that fp32 may differ by.
_EXACT = 1e-4
# Versions that differ by less than so many times what the server's arithmetic adds are not told
# apart; a text of one is then as good as one of the other.
_TELLING = 2.0


def probes_of(rows: Sequence[JsonObject]) -> list[list[int]]:
    """Beginnings of rows that end in what is learnt, where weights that were trained differ.

    >>> probes_of([{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}])
    [[5, 6], [5, 6, 7]]
    """
    found = []
    for row in rows:
        ids = row["input_ids"][:_LONGEST]
        places = [
            place
            for place, label in enumerate(row["labels"][: len(ids)])
            if label != IGNORED and place
        ]
        # Two of a row, so that rows differ.
        found += [list(ids[:place]) for place in places[:2]]
        if len(found) >= _PROBES:
            break
    return found[:_PROBES]


def log_probs_of(
    model: PreTrainedModel, probes: Sequence[Sequence[int]]
) -> Logs:
    """What the model itself says behind each probe, on the CPU; its mode stays as it is."""
    training = model.training
    model.eval()
    found = []
    with torch.no_grad():
        for ids in probes:
            given = torch.tensor([list(ids)], device=model.device)
            logits = model(input_ids=given).logits[0, -1]
            found.append(logits.float().log_softmax(dim=-1).cpu())
    model.train(training)
    return torch.stack(found)


class Fingerprints:
    """What the student said of the probes at each version that a server may have.

    Attributes:
        known: by version: the first, and the last two.
        noise: nats a token that the server's arithmetic adds, as it was measured.
    """

    def __init__(self) -> None:
        self.known: dict[str, Logs] = {}
        self.noise = _EXACT

    def add(self, version: str, logs: Logs) -> None:
        """Takes a version down, before it is given."""
        self.known[version] = logs
        for old in list(self.known)[1:-2]:
            del self.known[old]

    def measure(self, version: str, texts: Sequence[Text]) -> float:
        """Notes what the server adds to the version that it surely has; nats a token."""
        gap = self._gap(version, texts)
        self.noise = max(self.noise, gap)
        return gap

    def is_foreign(self, gap: float) -> bool:
        """Whether so many nats a token are no rounding."""
        return gap > _FOREIGN

    def other_than(self, version: str, texts: Sequence[Text]) -> str:
        """Whose texts these are, if not a version's: another version, `unknown weights`, or "".

        Args:
            version: that should have written them.
            texts: one token behind each probe, with its log-probability.
        """
        said = _said(texts)
        own = self._of(version, texts)
        for other in self.known:
            if other == version:
                continue
            before = self._of(other, texts)
            moved = own - before
            if float(moved.square().mean().sqrt()) <= _TELLING * self.noise:
                continue
            # 0 where the server says what the other version does, 1 where it says this one's.
            share = (said - before).dot(moved) / moved.dot(moved)
            if float(share) < 0.5:
                return other
        gap = self._gap(version, texts)
        return "unknown weights" if self.is_foreign(gap) else ""

    def _of(self, version: str, texts: Sequence[Text]) -> torch.Tensor:
        tokens = torch.tensor([text.ids[0] for text in texts])
        return self.known[version].gather(1, tokens[:, None])[:, 0]

    def _gap(self, version: str, texts: Sequence[Text]) -> float:
        """Root of the mean square of what both differ by."""
        differs = _said(texts) - self._of(version, texts)
        return float(differs.square().mean().sqrt())


def _said(texts: Sequence[Text]) -> torch.Tensor:
    return torch.tensor([(text.logs or [torch.nan])[0] for text in texts])
