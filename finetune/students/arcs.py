"""A head that scores pairs of words, for dependency trees (Dozat and Manning, 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from finetune.core.rows import JsonObject
from finetune.core.tensors import Inputs, Mask
from finetune.students.heads import open_head

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The root at place 0, then the words.
WordStates = Annotated[Tensor, "batch place width"]
# Of each word by each place that may be its head.
HeadScores = Annotated[Tensor, "batch word place"]
RelationScores = Annotated[Tensor, "batch word relation"]
# Places of heads; -100 where none is known.
Heads = Annotated[Tensor, "batch word"]

# Of the vectors that score heads and relations, and the share of their numbers that is dropped
# (Dozat and Manning, arXiv:1611.01734, table 1).
_HEAD_WIDTH = 500
_RELATION_WIDTH = 100
_DROPPED = 0.33
# In place of a score where there is no word; finite, so that no loss is.
NOWHERE = -1e4


class ArcScores(NamedTuple):
    """What a model says of the arcs of a batch.

    Attributes:
        logits: [B, W, W + 1] of each place that may be a word's head, the root first.
        relations: [B, W, R] of each word's relation to its head in `given`.
        given: [B, W] places of heads.
    """

    logits: HeadScores
    relations: RelationScores
    given: Heads


class ArcScorer(nn.Module):
    """Scores heads and relations by biaffine maps of two vectors a word: one of it as a dependent,
    one as a head.

    Args:
        width: of the encoder's states.
        relations: how many there are.
        head_width: of the vectors that score heads.
        relation_width: of those that score relations.
        dropped: share of the numbers of both, 0 to 1, that is dropped in training.

    Source: Dozat and Manning, Deep Biaffine Attention for Neural Dependency Parsing, 2017
        (arXiv:1611.01734), equations 2 to 9. The root is a vector of its own.
    """

    def __init__(
        self,
        width: int,
        relations: int,
        *,
        head_width: int = _HEAD_WIDTH,
        relation_width: int = _RELATION_WIDTH,
        dropped: float = _DROPPED,
    ) -> None:
        super().__init__()
        self.root = nn.Parameter(torch.randn(width) * width**-0.5)
        self.head_dependent = _vectors(width, head_width, dropped)
        self.head_head = _vectors(width, head_width, dropped)
        self.relation_dependent = _vectors(width, relation_width, dropped)
        self.relation_head = _vectors(width, relation_width, dropped)
        # All scores begin alike.
        self.head_map = nn.Parameter(torch.zeros(head_width, head_width))
        self.head_prior = nn.Parameter(torch.zeros(head_width))
        pair = (relations, relation_width, relation_width)
        self.relation_map = nn.Parameter(torch.zeros(pair))
        self.relation_sum = nn.Linear(2 * relation_width, relations)
        nn.init.zeros_(self.relation_sum.weight)
        nn.init.zeros_(self.relation_sum.bias)

    def heads(self, states: WordStates, there: Mask) -> HeadScores:
        """Of each word the score of each place as its head: dependent' U head + u' head.

        Args:
            states: of the root and the words.
            there: [B, W] which words are there. Others are no heads, nor is a word its own.
        """
        dependents = self.head_dependent(states[:, 1:])
        heads = self.head_head(states)
        pairs = dependents @ self.head_map @ heads.mT
        priors = heads @ self.head_prior
        scores: Tensor = pairs + priors[:, None]
        count = there.shape[1]
        words = torch.eye(count, dtype=torch.bool, device=there.device)
        # The root's place is before those of words.
        itself = nn.functional.pad(words, (1, 0), value=False)
        beyond = nn.functional.pad(~there, (1, 0), value=False)
        forbidden = beyond[:, None] | itself
        return scores.masked_fill(forbidden, NOWHERE)

    def relations(self, states: WordStates, given: Heads) -> RelationScores:
        """Of each word the score of each relation to a given head: dependent' U head + W
        (dependent, head) + b.
        """
        dependents = self.relation_dependent(states[:, 1:])
        vectors = self.relation_head(states)
        width = vectors.shape[-1]
        places = given[..., None].expand(-1, -1, width)
        heads = vectors.gather(1, places)
        pairs = torch.einsum(
            "bwd,rde,bwe->bwr", dependents, self.relation_map, heads
        )
        both = torch.cat([dependents, heads], dim=-1)
        scores: Tensor = pairs + self.relation_sum(both)
        return scores


def _vectors(width: int, made: int, dropped: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(width, made), nn.LeakyReLU(0.1), nn.Dropout(dropped)
    )


class ArcsModel(PreTrainedModel):  # type: ignore[misc]
    """An encoder and an `ArcScorer`, which reads the first token of each word.

    Args:
        body: the encoder.
        relations: how many there are; their names are those of the classes in its config.
    """

    base_model_prefix = "body"
    # Whatever the encoder was opened with: there is no attention beside it.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, body: PreTrainedModel, relations: int) -> None:
        super().__init__(body.config)
        self.body = body
        scorer = ArcScorer(body.config.hidden_size, relations)
        self.scorer = scorer.to(body.dtype)

    def states(self, firsts: Tensor, inputs: Inputs) -> WordStates:
        """States of the root and of each word's first token.

        Args:
            firsts: [B, W] places of these tokens; -1 where there is no word.
            inputs: of the encoder.
        """
        read = self.body(**inputs).last_hidden_state
        width = read.shape[-1]
        there = firsts.clamp(min=0)
        places = there[..., None].expand(-1, -1, width)
        words = read.gather(1, places)
        rows = len(read)
        root = self.scorer.root.expand(rows, 1, -1)
        return torch.cat([root, words], dim=1)

    def forward(
        self, firsts: Tensor, heads: Heads | None = None, **inputs: Tensor
    ) -> ArcScores:
        """What the model says of a batch.

        Args:
            firsts: see `states`.
            heads: for which relations are scored; those that the model finds likeliest where none
                are known.
            inputs: of the encoder.
        """
        states = self.states(firsts, inputs)
        logits = self.scorer.heads(states, firsts >= 0)
        given = logits.argmax(dim=-1)
        if heads is not None:
            given = torch.where(heads < 0, given, heads)
        return ArcScores(logits, self.scorer.relations(states, given), given)


def open_arcs(
    model: str, classes: Mapping[int, str], options: JsonObject | None = None
) -> tuple[ArcsModel, PreTrainedTokenizerBase]:
    """(an encoder with an `ArcScorer` of random weights, tokenizer).

    Args:
        model: an encoder.
        classes: names of the relations by number.
        options: of `from_pretrained`.

    Raises:
        WrongUse: nothing to open there, or a tokenizer that does not say to which word a token
            belongs.
    """
    # A tagger is opened for its encoder, which does not pool.
    tagger, tokenizer = open_head(
        model, "tokens", classes=classes, options=options
    )
    return ArcsModel(tagger.base_model, len(classes)), tokenizer
