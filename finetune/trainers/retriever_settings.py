"""What a retriever or a ranker is told besides what every training is."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.data.instructions import Instructions
from finetune.scoring.word_scores import YES_OR_NO


@dataclass(frozen=True, kw_only=True)
class RetrieverConfig:
    """What to train and by which loss.

    Attributes:
        kind: `bi` (one vector a text), `cross` (reads query and text together), `multi` (a vector
            a token), `sparse` (a weight for each word of the vocabulary), `heads` (a vector a
            text, a weight a term and a vector a token by one encoder) or `pair` (a vector a text,
            and a small network that scores two of them).
        loss: a name of `finetune.list_losses` (for `bi`), else of sentence-transformers in snake
            case without "loss".
        negatives: most texts a query besides the first; rows with fewer are filled by their own
            again where the loss cannot leave them out.
        scale: 1 / temperature, for losses of `finetune.list_losses`.
        teacher: a frozen encoder, for losses that learn from vectors or from its scores.
        teacher_kind: of the teacher; other kinds than `bi` for losses that read scores alone, and
            `words` for a language model whose states a loss compares, `cross` for a ranker that
            learns beside the student and is kept in OUTPUT/ranker.
        template: of the prompt of a teacher of kind `words`, with {query} and {document}.
        words: the answers for and against of such a teacher.
        pooling: how one vector is made of the tokens' states; None for the model's own way.
        frozen: whether only what stands behind the model's layers learns.
        instructions: what stands before queries and texts of each task; rows then bring `task`,
            and each batch is of one task. None for none.
        size: numbers of the student's vector, by a layer more; None for the model's own. A teacher
            with longer vectors is shortened by its principal components.
    """

    kind: str = "bi"
    loss: str = "multiple_negatives_ranking"
    negatives: int = 4
    scale: float = 20.0
    teacher: str | None = None
    teacher_kind: str = "bi"
    template: str | None = None
    words: tuple[str, str] = YES_OR_NO
    pooling: str | None = None
    size: int | None = None
    frozen: bool = False
    instructions: Instructions | None = None
