"""Texts written in chunks: where the student stands as a teacher's text once stood, the next tokens
are that text's, all at once (Li, Livescu and Zhou, Chunk-Distilled Language Modeling,
arXiv:2501.00343).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from finetune.core.tensors import RowStates, RowValues
from finetune.data import rows
from finetune.data.prompts import ids_of, of_student, text_of
from finetune.generation.continuations import end_tokens
from finetune.students import load as student
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Tokens of a chunk.
_FEWEST = 2
_MOST = 32


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """Where chunks come from, and when one is taken.

    Attributes:
        data: rows with `prompt` and `completion`, whose completions are cut into chunks.
        teacher: a model of the student's tokenizer that says how likely their tokens are; "" for
            the student itself.
        likelihood: 0 to 1: a chunk is a run of tokens each of which is at least so likely; 0 for
            any, as for texts of experts.
        similarity: -1 to 1: least cosine of the student's states before both texts.
    """

    data: str
    teacher: str = ""
    likelihood: float = 0.9
    similarity: float = 0.9


class Shelf(NamedTuple):
    """Chunks behind one entry token.

    Attributes:
        keys: [n, D] unit vectors of the states before the entry token.
        chunks: token ids, n of them.
    """

    keys: RowStates
    chunks: Sequence[Sequence[int]]


@dataclass
class ChunkStore:
    """Chunks by the token before them, and how much of what was written they were.

    Attributes:
        shelves: entry token -> its chunks.
        similarity: see `Chunks`.
        passes: of the model, since the store was made.
        tokens: that were written in them.
    """

    shelves: dict[int, Shelf]
    similarity: float
    passes: int = 0
    tokens: int = field(default=0)

    def chunk(self, entry: int, state: RowValues) -> list[int]:
        """The chunk whose context is nearest; [] where none is near enough.

        Args:
            entry: the last token of the text.
            state: [D] the student's state at the token before it.
        """
        shelf = self.shelves.get(entry)
        if shelf is None:
            return []
        unit = torch.nn.functional.normalize(state, dim=-1)
        cosines = shelf.keys @ unit
        best = int(cosines.argmax())
        near = float(cosines[best]) >= self.similarity
        return list(shelf.chunks[best]) if near else []


@lru_cache(maxsize=1)
def store_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chunks: Chunks
) -> ChunkStore:
    """The store of a student, made once.

    Raises:
        WrongUse: rows without a prompt or a completion, a teacher of another vocabulary, or no
            chunk at all.
    """
    judge = model
    if chunks.teacher:
        judge = _teacher(model, tokenizer, chunks.teacher)
    keys: dict[int, list[RowValues]] = defaultdict(list)
    found: dict[int, list[Sequence[int]]] = defaultdict(list)
    template = of_student(model.name_or_path)
    end = tokenizer.eos_token_id
    listed = rows.columns(
        rows.load(chunks.data), ("prompt", "completion"), chunks.data
    )
    for number, row in enumerate(listed, 1):
        if row["prompt"] is None or row["completion"] is None:
            raise WrongUse(
                f"--chunks {chunks.data} row {number}",
                "no prompt or no completion",
                "both",
                "Correct the row, or take it out.",
            )
        prompt = ids_of(row["prompt"], tokenizer, template)
        said = tokenizer(text_of(row["completion"]), add_special_tokens=False)
        ids = [*prompt, *said["input_ids"], end]
        likely, states = _read(model, judge, ids)
        for start, stop in runs(likely, len(prompt), chunks.likelihood):
            entry = ids[start - 1]
            keys[entry].append(states[start - 2])
            found[entry].append(ids[start:stop])
    if not found:
        raise WrongUse(
            f"--chunks {chunks.data}",
            f"no {_FEWEST} tokens in a row that are {chunks.likelihood:g} likely",
            "completions that a teacher is sure of",
            "Lower --chunk-likelihood.",
        )
    unit = torch.nn.functional.normalize
    shelves = {}
    for entry, of_entry in keys.items():
        together = torch.stack(of_entry)
        shelves[entry] = Shelf(unit(together, dim=-1), found[entry])
    return ChunkStore(shelves, chunks.similarity)


def _teacher(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str
) -> PreTrainedModel:
    """A model of the student's tokenizer, beside the student."""
    teacher, other = student.load_student(name)
    if other.get_vocab() != tokenizer.get_vocab():
        raise WrongUse(
            f"--chunk-teacher {name}",
            "another tokenizer than the student's",
            "a teacher of the student's tokenizer",
            "Leave it out: the student itself says what is likely.",
        )
    teacher.to(model.device)
    teacher.eval()
    return teacher


def _read(
    model: PreTrainedModel, judge: PreTrainedModel, ids: Sequence[int]
) -> tuple[list[float], RowStates]:
    """How likely the judge finds each token but the first, which is 0, and the model's last states
    [T, D].
    """
    tokens = torch.tensor([list(ids)], device=model.device)
    with torch.no_grad():
        output = model(input_ids=tokens, output_hidden_states=True)
        logits = output.logits
        if judge is not model:
            logits = judge(input_ids=tokens).logits
    chances = logits[0, :-1].float().softmax(dim=-1)
    learnt = tokens[0, 1:, None]
    likely = chances.gather(1, learnt)[:, 0].tolist()
    return [0.0, *likely], output.hidden_states[-1][0].float()


def runs(
    likely: Sequence[float], first: int, least: float
) -> Iterator[tuple[int, int]]:
    """(start, stop) of runs of likely tokens, from `first` and at the earliest from the third token
    on: before a chunk stand its entry token and the token whose state is its key.

    >>> list(runs([0, 0, 0.2, 0.9, 1.0, 0.95, 0.3, 0.9], 2, 0.9))
    [(3, 6)]
    """
    start = max(first, 2)
    for place in range(start, len(likely) + 1):
        whole = place - start == _MOST
        if place < len(likely) and likely[place] >= least and not whole:
            continue
        if place - start >= _FEWEST:
            yield start, place
        # A run that is full goes on in the next one.
        start = place if whole else place + 1


def chunked_generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    store: ChunkStore,
    most: int,
) -> list[int]:
    """What a student writes greedily, the end included where it comes: in each pass a chunk, where
    its context is near enough, or else the likeliest token.

    Args:
        model: a decoder; its mode is left as it is.
        tokenizer: its own.
        prompt: token ids, one or more.
        store: of this student.
        most: tokens that are written at most.
    """
    ends = end_tokens(model, tokenizer)
    said: list[int] = []
    feed = list(prompt)
    cache = None
    before = None
    while len(said) < most and not ends & {*said[-1:]}:
        with torch.no_grad():
            output = model(
                input_ids=torch.tensor([feed], device=model.device),
                past_key_values=cache,
                use_cache=True,
                output_hidden_states=True,
            )
        store.passes += 1
        cache = output.past_key_values
        states = output.hidden_states[-1][0].float()
        if len(feed) > 1:
            before = states[-2]
        taken: list[int] = []
        if before is not None:
            taken = store.chunk(feed[-1], before)
        if not taken:
            taken = [int(output.logits[0, -1].argmax())]
        before = states[-1]
        feed = taken[: most - len(said)]
        said += feed
    store.tokens += len(said)
    return said
