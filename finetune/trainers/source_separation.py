"""Vectors of what translations share, apart from what each language adds (VMSST,
arXiv:2212.10726).
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from torch import Tensor

from finetune.core.tensors import Inputs, PerSequence, Scalar
from finetune.trainers.given_numbers import check_whole, finite
from finetune.trainers.text_decoder import (
    LatentVectors,
    TextDecoder,
    WordVectors,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SEPARATED = "vmsst"
# No encoder's vector has more.
_MOST_NUMBERS = 65_536

Means = Annotated[Tensor, "batch latent"]
LogVariances = Annotated[Tensor, "batch latent"]


class Gaussian(NamedTuple):
    """Normal distributions, one a text, whose numbers are independent.

    Attributes:
        mean: [B, Z].
        log_variance: [B, Z], natural logarithms.
    """

    mean: Means
    log_variance: LogVariances

    def drawn(self) -> LatentVectors:
        """[B, Z] a draw of each, with a gradient (arXiv:1312.6114, section 2.4)."""
        noise = torch.randn_like(self.mean)
        return self.mean + noise * (self.log_variance / 2).exp()

    def kl(self) -> PerSequence:
        """[B] KL(this || the standard normal) in nats, 0 or more.

        >>> one = Gaussian(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        >>> one.kl().tolist()
        [0.5]
        """
        squares = self.mean.square() + self.log_variance.exp()
        return (squares - 1 - self.log_variance).sum(dim=-1) / 2

    def where(self, chosen: PerSequence, other: Gaussian) -> Gaussian:
        """This one for texts that are chosen [B], the other one for the rest."""
        column = chosen[:, None]
        return Gaussian(
            torch.where(column, self.mean, other.mean),
            torch.where(column, self.log_variance, other.log_variance),
        )


class SourceSeparation(torch.nn.Module):
    """-log p(x | s, l) - log p(y | s, m) + w [KL(s) + KL(l) + KL(m)] of a text x and its
    translation y, the mean over pairs: with w = 1 the negative evidence lower bound.

    The semantic vector s is drawn by what the student makes of x or of y, by chance, so that both
    must say the same; l and m are the vectors of their languages, drawn by what another encoder
    makes of x and of y, each of its own text. One decoder writes both texts, each from s and its
    language's vector. Each KL is to the standard normal. The student's vector is the mean of s.

    Args:
        model: the student, whose vector is linear in what it pools (`add_mean`). The encoder of
            languages begins as its copy, and is not kept.
        weight: w, 0 or more.
        warmup: batches over which w rises from 0 in equal steps; 0 for none.
        language: numbers of a language's vector, 1 to 65,536.
        hidden: see `TextDecoder`.

    Raises:
        ValueError: parameters out of range, or a student without words' vectors.

    Source: Wieting et al., arXiv:2212.10726, and for a semantic vector from one of both texts
        arXiv:1911.03895, section 4.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        weight: float = 1.0,
        warmup: int = 0,
        language: int = 16,
        hidden: float = 0.0,
    ) -> None:
        from finetune.students.pair_parts import vector_size  # noqa: PLC0415

        super().__init__()
        check_separation(
            weight=weight, warmup=warmup, language=language, hidden=hidden
        )
        self.weight = weight
        self.warmup = warmup
        self.seen = 0
        self.model = model
        self.languages = deepcopy(model)
        width = vector_size(model)
        self.variance = torch.nn.Linear(width, width)
        self.language_mean = torch.nn.Linear(width, language)
        self.language_variance = torch.nn.Linear(width, language)
        words, size = self._words().shape
        self.decoder = TextDecoder(words, size, width + language, hidden)

    def forward(
        self,
        sentence_features: Iterable[Inputs],
        labels: PerSequence,  # noqa: ARG002
    ) -> Scalar:
        """The loss of a batch of texts and their translations, in nats a pair."""
        first, second = sentence_features
        of_first = self._semantic(first)
        of_second = self._semantic(second)
        chances = torch.rand(len(of_first.mean), device=of_first.mean.device)
        shared = of_first.where(chances < 0.5, of_second)
        semantic = shared.drawn()
        divergence = shared.kl()
        surprise = torch.zeros_like(divergence)
        for features in (first, second):
            spoken = self._language(features)
            divergence = divergence + spoken.kl()
            latent = torch.cat([semantic, spoken.drawn()], dim=-1)
            surprise = surprise + self._surprise(features, latent)
        return (surprise + self._next_weight() * divergence).mean()

    def _next_weight(self) -> float:
        """The weight of the divergences of this batch."""
        if not self.training or self.seen >= self.warmup:
            return self.weight
        self.seen += 1
        return self.weight * self.seen / self.warmup

    def _semantic(self, features: Inputs) -> Gaussian:
        mean = _vectors(self.model, features)
        return Gaussian(mean, self.variance(mean))

    def _language(self, features: Inputs) -> Gaussian:
        read = _vectors(self.languages, features)
        return Gaussian(self.language_mean(read), self.language_variance(read))

    def _surprise(self, features: Inputs, latent: LatentVectors) -> PerSequence:
        """[B] -log p of the texts in nats."""
        ids, mask = features["input_ids"], features["attention_mask"]
        found: PerSequence = self.decoder(ids, mask, latent, self._words())
        return found

    def _words(self) -> WordVectors:
        """[V, D] the vectors of the student's vocabulary."""
        reader = getattr(self.model[0], "model", None)
        if reader is None:
            raise ValueError("a student without a transformer")
        vectors: WordVectors = reader.get_input_embeddings().weight
        return vectors.float()


def _vectors(model: SentenceTransformer, features: Inputs) -> Means:
    """[B, D] what a model makes of texts."""
    found: Means = model(dict(features))["sentence_embedding"]
    return found.float()


def check_separation(
    *,
    weight: object = 1.0,
    warmup: object = 0,
    language: object = 16,
    hidden: object = 0.0,
) -> None:
    """Checks what a command line gives `SourceSeparation`.

    Raises:
        TypeError: a parameter that it has not.
        ValueError: one of another kind, or out of range.
    """
    if finite("weight", weight) < 0:
        raise ValueError(f"weight={weight}, which is below 0")
    if not 0 <= finite("hidden", hidden) < 1:
        raise ValueError(f"hidden={hidden}, which is not from 0 to below 1")
    check_whole("warmup", warmup, 0)
    check_whole("language", language, 1)
    if isinstance(language, int) and language > _MOST_NUMBERS:
        raise ValueError(
            f"language={language}, which is above {_MOST_NUMBERS:,}"
        )
