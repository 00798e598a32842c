"""Parts of encoders that sentence-transformers does not have: a small network that compares two
vectors, and pooling by attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from sentence_transformers.base.modules import Module
from torch import Tensor

from finetune.students.layer_pooling import JoinedLayers, WeightedLayers
from finetune.students.layer_states import depth_of
from finetune.students.saved_parts import SavedPart

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from finetune.core.list_tensors import Vectors

# Numbers of the layer between two vectors and their score (DSE's code has 512).
_HIDDEN = 512
_MOST_HEADS = 8
# Layers whose means over the tokens are joined (DSE's code).
_LAST = 4
# What sentence-transformers calls the vector of a text.
_VECTOR = "sentence_embedding"

PairVectors = Annotated[Tensor, "... width"]
PairFeatures = Annotated[Tensor, "... hidden"]
PairScore = Annotated[Tensor, "..."]


class PairHead(SavedPart):
    """Scores a query's vector u and a text's v by a small network over [u, v, |u - v|, u v] (DSE,
    arXiv:1908.05161); [u, v] alone is the interaction module of D2LLM (arXiv:2406.17262).

    Args:
        width: of a vector.
        compares: with |u - v| and u v, else u and v alone.
        hidden: numbers of the layer between.
    """

    config_keys: ClassVar[list[str]] = ["width", "compares", "hidden"]

    def __init__(
        self, width: int, *, compares: bool = True, hidden: int = _HIDDEN
    ) -> None:
        super().__init__()
        self.width = width
        self.compares = compares
        self.hidden = hidden
        inputs = 4 * width if compares else 2 * width
        self.first = torch.nn.Linear(inputs, hidden)
        self.last = torch.nn.Linear(hidden, 1)

    def forward(
        self, features: dict[str, Tensor], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Leaves a text's features as they are: a score needs two texts."""
        del kwargs
        return features

    def features(self, left: PairVectors, right: PairVectors) -> PairFeatures:
        """[..., hidden] what the score is read from, 0 or more."""
        parts = [left, right]
        if self.compares:
            parts += [(left - right).abs(), left * right]
        hidden: PairFeatures = self.first(torch.cat(parts, dim=-1))
        return hidden.relu()

    def score(self, features: PairFeatures) -> PairScore:
        """[...] one number a pair, higher is better."""
        scores: PairScore = self.last(features)
        return scores.squeeze(-1)


class AttentionPooling(SavedPart):
    """Pooling by multi-head attention (PMA, Set Transformer, arXiv:1810.00825): a learned question
    attends to all tokens.

    Args:
        width: of a token's state, and of the vector.
        heads: of the attention; they divide the width.
    """

    config_keys: ClassVar[list[str]] = ["width", "heads"]

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.question = torch.nn.Parameter(torch.empty(1, 1, width))
        torch.nn.init.xavier_uniform_(self.question)
        self.attention = torch.nn.MultiheadAttention(
            width, heads, batch_first=True
        )
        self.norm_of_sum = torch.nn.LayerNorm(width)
        self.norm_of_layer = torch.nn.LayerNorm(width)
        self.layer = torch.nn.Linear(width, width)

    def forward(
        self, features: dict[str, Tensor], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Adds `sentence_embedding` [B, width]."""
        del kwargs
        states = features["token_embeddings"]
        absent = ~features["attention_mask"].bool()
        question = self.question.expand(len(states), -1, -1)
        found, _ = self.attention(
            question,
            states,
            states,
            key_padding_mask=absent,
            need_weights=False,
        )
        summed = self.norm_of_sum(question + found)
        pooled = self.norm_of_layer(summed + self.layer(summed).relu())
        features["sentence_embedding"] = pooled[:, 0]
        return features

    def get_embedding_dimension(self) -> int:
        """Numbers of the vector."""
        return self.width


# What makes a vector of the tokens' states.
POOLINGS = (AttentionPooling, JoinedLayers, WeightedLayers)
# By what a saved model calls them, since sentence-transformers opens no parts of others by itself.
PARTS: Mapping[str, type[Module]] = {
    f"{part.__module__}.{part.__name__}": part for part in (PairHead, *POOLINGS)
}


def pair_head(model: SentenceTransformer) -> PairHead:
    """The head of a model that has one."""
    (head,) = (part for part in model if isinstance(part, PairHead))
    return head


def has_pair_head(model: SentenceTransformer) -> bool:
    """Whether a model has a head."""
    return any(isinstance(part, PairHead) for part in model)


def add_pair_head(
    model: SentenceTransformer, *, compares: bool = True
) -> SentenceTransformer:
    """The model with a head, which begins at random where it has none."""
    if not has_pair_head(model):
        width = model.get_embedding_dimension()
        head = PairHead(width, compares=compares)
        model.append(head.to(model.device))
    return model


def pool(model: SentenceTransformer, how: str) -> None:
    """Makes one vector of the tokens' states in another way than so far.

    Args:
        model: its layer of pooling is replaced.
        how: attention, joined or weighted (of several layers), or one of sentence-transformers
            (mean, cls, max, lasttoken, ...).

    Raises:
        ValueError: sentence-transformers has none of this name.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: PLC0415

    width = model[0].get_embedding_dimension()
    layer: Module
    if how == "attention":
        heads = max(n for n in range(1, _MOST_HEADS + 1) if width % n == 0)
        layer = AttentionPooling(width, heads)
    elif how == "joined":
        layer = JoinedLayers(width, min(_LAST, depth_of(model)))
    elif how == "weighted":
        layer = WeightedLayers(width, depth_of(model))
    else:
        layer = Pooling(width, how)
    places = [
        name
        for name, part in model.named_children()
        if isinstance(part, (Pooling, *POOLINGS))
    ]
    model[0].model.config.output_hidden_states = how in ("joined", "weighted")
    if places:
        setattr(model, places[0], layer.to(model.device))
    _fit_head(model, vector_size(model))


def _fit_head(model: SentenceTransformer, width: int) -> None:
    """Begins a head over two vectors again where it reads vectors of another length."""
    for number, part in enumerate(model):
        if isinstance(part, PairHead) and part.width != width:
            head = PairHead(width, compares=part.compares, hidden=part.hidden)
            model[number] = head.to(model.device)


def shorten(model: SentenceTransformer, size: int) -> None:
    """Adds a layer (tanh) behind what makes the vector, which then has `size` numbers.

    A head over two vectors begins again, since it reads shorter ones.
    """
    from sentence_transformers.base.modules import Dense  # noqa: PLC0415

    place = _vector_place(model)
    layer = Dense(vector_size(model), size).to(model.device)
    model.insert(place + 1, layer)
    _fit_head(model, size)


def add_mean(model: SentenceTransformer, size: int | None) -> None:
    """Makes the vector a linear map of what is pooled, of any length.

    The map begins as what leaves the vector as it is, where both are as long. A model that has such
    a map keeps it, unless another size is wanted.

    Args:
        model: loses what brings its vectors to length 1.
        size: numbers of the vector; None for as many as it has.
    """
    from sentence_transformers.base.modules import Dense, Normalize  # noqa: PLC0415

    for place in reversed(range(len(model))):
        if isinstance(model[place], Normalize):
            del model[place]
    place = _vector_place(model)
    width = vector_size(model)
    function = getattr(model[place], "activation_function", None)
    if isinstance(function, torch.nn.Identity) and size in (None, width):
        return
    wanted = size or width
    same = torch.eye(width) if wanted == width else None
    layer = Dense(
        width,
        wanted,
        activation_function=torch.nn.Identity(),
        init_weight=same,
        init_bias=torch.zeros(wanted),
    )
    model.insert(place + 1, layer.to(model.device))


def vector_size(model: SentenceTransformer) -> int:
    """Numbers of a text's vector, whatever other heads the model has."""
    size: int = model[_vector_place(model)].get_embedding_dimension()
    return size


def _vector_place(model: SentenceTransformer) -> int:
    """The place of the last part that makes the vector of a text."""
    from sentence_transformers.sentence_transformer.modules import Pooling  # noqa: PLC0415

    places = [0]
    for place, part in enumerate(model):
        # Layers of three heads make something else of the tokens, and what
        # brings a vector to length 1 stands behind a shorter one, too.
        has_size = hasattr(part, "get_embedding_dimension")
        named = getattr(part, "module_output_name", "")
        makes = has_size and named == _VECTOR
        if isinstance(part, (Pooling, *POOLINGS)) or makes:
            places.append(place)
    return places[-1]


class PairScorer:
    """A model with a pair head as what encodes and compares texts.

    Args:
        model: with its head.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        self.model = model
        self.head = pair_head(model)

    def encode_query(
        self, texts: list[str], *, show_progress_bar: bool = False
    ) -> Vectors:
        """[N, D] unit vectors."""
        vectors: Vectors = self.model.encode(
            texts,
            normalize_embeddings=True,
            convert_to_tensor=True,
            show_progress_bar=show_progress_bar,
        )
        return vectors

    encode_document = encode_query

    def similarity(self, queries: Vectors, texts: Vectors) -> Tensor:
        """[Q, N] scores of texts for queries."""
        shape = (len(queries), len(texts), queries.shape[1])
        left = queries[:, None].expand(shape)
        with torch.no_grad():
            return self.head.score(
                self.head.features(left, texts.expand(shape))
            )

    def similarity_pairwise(
        self, queries: list[Tensor], texts: list[Tensor]
    ) -> Tensor:
        """[N] scores of the pairs."""
        left = torch.stack(queries)
        with torch.no_grad():
            features = self.head.features(left, torch.stack(texts))
            return self.head.score(features)
