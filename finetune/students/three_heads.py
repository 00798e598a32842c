"""One encoder with three heads: a vector a text, a weight a term, and a vector a token (BGE-M3,
arXiv:2402.03216).

The heads are layers of sentence-transformers behind the encoder's own, so the model is saved whole
and opens anywhere as an encoder with a vector a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from finetune.core.tensors import Inputs

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TERMS = "term_weights"
TOKENS = "token_vectors"
HEADS = ("dense", "sparse", "multi")
# What each head counts in the sum that teaches them all (the paper's code: 1, 0.3, 1).
SUM = {"dense": 1.0, "sparse": 0.3, "multi": 1.0}
# Numbers of a token's vector at most.
_TOKEN_WIDTH = 128

WordWeights = Annotated[Tensor, "text vocabulary"]
TokenVectors = Annotated[Tensor, "text token width"]
TokenMask = Annotated[Tensor, "text token"]
Likeness = Annotated[Tensor, "query text"]


@dataclass(frozen=True)
class Encoded:
    """What the heads make of N texts.

    Attributes:
        dense: [N, D] unit vectors.
        words: [N, V] the highest weight of each word of the vocabulary in the text, 0 or more;
            those of marks such as [CLS] are 0.
        tokens: [N, T, d] unit vectors.
        mask: [N, T], True for the tokens that are compared: all but the first mark.
    """

    dense: Tensor
    words: WordWeights
    tokens: TokenVectors
    mask: TokenMask


def add_heads(model: SentenceTransformer) -> SentenceTransformer:
    """The model with the two heads that it lacks, which begin at random."""
    from sentence_transformers.base.modules import Dense  # noqa: PLC0415

    if has_heads(model):
        return model
    width = model[0].get_embedding_dimension()
    weigh = torch.nn.ReLU()
    for out, name, activation in (
        (1, TERMS, weigh),
        (min(width, _TOKEN_WIDTH), TOKENS, None),
    ):
        head = Dense(
            width,
            out,
            activation_function=activation,
            module_input_name="token_embeddings",
            module_output_name=name,
        )
        model.append(head.to(model.device))
    return model


def has_heads(model: SentenceTransformer) -> bool:
    """Whether a model was saved with the two heads."""
    return any(
        getattr(part, "module_output_name", "") == TERMS for part in model
    )


def encode(model: SentenceTransformer, features: Inputs) -> Encoded:
    """What the heads make of texts that the model's tokenizer read."""
    found = model(dict(features))
    ids = found["input_ids"]
    there = found["attention_mask"].bool()
    marks = torch.tensor(model.tokenizer.all_special_ids, device=ids.device)
    counted = there & ~torch.isin(ids, marks)
    weights = found[TERMS].squeeze(-1).float() * counted
    vocabulary = len(model.tokenizer)
    words = weights.new_zeros(len(ids), vocabulary)
    dense = torch.nn.functional.normalize(
        found["sentence_embedding"].float(), dim=-1
    )
    tokens = torch.nn.functional.normalize(found[TOKENS].float(), dim=-1)
    mask = there.clone()
    # The first mark stands for the whole text, which is the dense head's part.
    mask[:, 0] = False
    return Encoded(
        dense=dense,
        words=words.scatter_reduce(1, ids, weights, "amax"),
        tokens=tokens,
        mask=mask,
    )


def likenesses(queries: Encoded, texts: Encoded) -> dict[str, Likeness]:
    """[Q, N] scores by each head: cosines; sums of products of word weights, 0 or more; and the
    mean over the query's tokens of its best cosine with a token of the text.
    """
    from sentence_transformers.util.similarity import maxsim  # noqa: PLC0415

    late: Likeness = maxsim(
        queries.tokens,
        texts.tokens,
        a_mask=queries.mask,
        b_mask=texts.mask,
        length_normalize=True,
    )
    return {
        "dense": queries.dense @ texts.dense.T,
        "sparse": queries.words @ texts.words.T,
        "multi": late,
    }


@dataclass(frozen=True)
class HeadScorer:
    """A model of three heads as what encodes and compares texts.

    Args:
        model: with its heads.
        head: dense, sparse or multi; "" for the weighted sum of the three.
    """

    model: SentenceTransformer
    head: str = ""

    def encode_query(
        self, texts: Sequence[str], *, show_progress_bar: bool = False
    ) -> list[Encoded]:
        """Each text alone."""
        del show_progress_bar
        found = []
        for text in texts:
            with torch.no_grad():
                features = self.model.preprocess([text])
                found.append(encode(self.model, features))
        return found

    encode_document = encode_query

    def similarity(
        self, queries: Sequence[Encoded], texts: Sequence[Encoded]
    ) -> Likeness:
        """[Q, N] scores of texts for queries."""
        scores = likenesses(_together(queries), _together(texts))
        if self.head:
            return scores[self.head]
        return summed(scores)

    def similarity_pairwise(
        self, queries: Sequence[Encoded], texts: Sequence[Encoded]
    ) -> Tensor:
        """[N] scores of the pairs."""
        return self.similarity(queries, texts).diagonal()


def summed(scores: dict[str, Tensor]) -> Tensor:
    """The heads' scores, each times what it counts in SUM."""
    total = torch.zeros_like(scores["dense"])
    for head, share in SUM.items():
        total = total + share * scores[head]
    return total


def _together(encoded: Sequence[Encoded]) -> Encoded:
    """Several texts as one batch, their tokens filled up."""
    longest = max(one.mask.shape[1] for one in encoded)
    return Encoded(
        dense=torch.cat([one.dense for one in encoded]),
        words=torch.cat([one.words for one in encoded]),
        tokens=torch.cat([_filled(one.tokens, longest) for one in encoded]),
        mask=torch.cat([_filled(one.mask, longest) for one in encoded]),
    )


def _filled(part: Tensor, longest: int) -> Tensor:
    """[N, longest, ...], zeros behind."""
    shape = (len(part), longest - part.shape[1], *part.shape[2:])
    return torch.cat([part, part.new_zeros(shape)], dim=1)
