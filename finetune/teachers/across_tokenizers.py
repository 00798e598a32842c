"""A teacher of another tokenizer: it reads the student's rows as text, and tokens of both are
aligned by the characters behind them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from finetune.core.tensors import (
    HiddenStates,
    Inputs,
    Labels,
    Mask,
    Positions,
    RowLogits,
    TokenIds,
)
from finetune.data.tokens import IGNORED
from finetune.kernels.heads import Head, dense
from finetune.kernels.hidden_states import expose_hidden, head_of
from finetune.losses.base_crossing import (
    CrossLoss,
    Group,
    LogitsAt,
    align,
)
from finetune.losses.base_parts import whole
from finetune.losses.dskd import Space
from finetune.losses.hybrid import Hybrid, matched
from finetune.teachers.cache import rows_of
from finetune.teachers.in_process import Teacher, opened, weights_of
from finetune.teachers.opened_settings import Opening

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Across(NamedTuple):
    """What a teacher says about a batch in its own tokens.

    Attributes:
        say: flat places of its shifted tokens -> [n, W] logits.
        length: its shifted tokens a sequence.
        labels: [sequences, length] its tokens.
        groups: of each sequence of the batch, places in the student's and in its own shifted
            tokens.
        rows: the row of the batch that each sequence stands in.
    """

    say: LogitsAt
    length: int
    labels: Labels
    groups: list[list[Group]]
    rows: list[int]


class Voice(Protocol):
    """A model that gives probabilities in tokens of its own."""

    def crosses(self, inputs: Inputs) -> Across:
        """Its logits, aligned with the tokens of a batch."""

    def told(self, loss: CrossLoss) -> CrossLoss:
        """The loss, with the tokens that both vocabularies have where it wants them and was not
        told them.
        """


class CrossTeacher(Protocol):
    """One model with a tokenizer of its own, or several.

    Attributes:
        voices: each model with its share of the loss; the shares sum to 1.
    """

    @property
    def voices(self) -> Sequence[tuple[float, Voice]]:
        """As said above."""


AnyTeacher = Teacher | CrossTeacher


def _shifted(tokens: range, first: int) -> list[int]:
    """The places that predict these tokens, whose first one has the number `first`."""
    return [first + token - 1 for token in tokens]


class AcrossTeacher:
    """A model in this process with a tokenizer of its own.

    Args:
        path: folder or name of the hub.
        tokenizer: the student's.
        device: where it lives, unless it is told otherwise.
        opening: how it is opened.
    """

    def __init__(
        self,
        path: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        device: torch.device | str,
        opening: Opening = Opening(),  # noqa: B008 - nobody changes it
    ) -> None:
        self.model, self.own = opened(path, device, opening)
        self.tokenizer = tokenizer
        expose_hidden(self.model)
        self.head = head_of(self.model, len(self.own))

    @property
    def voices(self) -> Sequence[tuple[float, Voice]]:
        """This one alone."""
        return [(1.0, self)]

    def told(self, loss: CrossLoss) -> CrossLoss:
        """The loss, with the tokens that both vocabularies have where it wants them and was not
        told them.
        """
        if not isinstance(loss, Hybrid) or loss.pairs:
            return loss
        return replace(loss, pairs=self._pairs)

    @functools.cached_property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        ours, theirs = (
            tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
            for tokenizer in (self.tokenizer, self.own)
        )
        return matched(ours, theirs)

    def crosses(self, inputs: Inputs) -> Across:
        """Tokenises the rows' texts, runs the body once, aligns."""
        rows: list[int] = []
        sequences: list[list[int]] = []
        groups: list[list[Group]] = []
        for row, start, ids, labels in rows_of(inputs):
            own, first, own_first, aligned = self._sequence(ids, labels)
            rows.append(row)
            sequences.append(own)
            # Token n is predicted by position n - 1; the student's positions begin where its
            # sequence stands in the batch.
            of_row: list[Group] = []
            for ours, theirs in aligned:
                student_part = _shifted(ours, start + first)
                of_row.append((student_part, _shifted(theirs, own_first)))
            groups.append(of_row)
        tokens, mask = self._padded(sequences)
        with torch.no_grad():
            hidden = self.model(
                input_ids=tokens, attention_mask=mask, hidden_only=True
            )[:, :-1]
        states = hidden.reshape(-1, hidden.shape[-1])

        def logits_at(positions: Positions) -> RowLogits:
            logits = self.head.logits(states[positions.to(states.device)])
            return whole(logits).to(positions.device)

        labels_there = tokens[:, 1:].to(inputs["input_ids"].device)
        return Across(
            logits_at, labels_there.shape[1], labels_there, groups, rows
        )

    def space(self, inputs: Inputs) -> tuple[list[int], Space]:
        """(the rows of the batch, what it shows of their texts in tokens of its own)."""
        rows: list[int] = []
        sequences: list[list[int]] = []
        firsts: list[int] = []
        for row, _, ids, labels in rows_of(inputs):
            own, _, first, _ = self._sequence(ids, labels)
            rows.append(row)
            sequences.append(own)
            firsts.append(first)
        tokens, mask = self._padded(sequences)
        with torch.no_grad():
            hidden = self.model(
                input_ids=tokens, attention_mask=mask, hidden_only=True
            )[:, :-1]
        places = torch.arange(1, tokens.shape[1], device=tokens.device)
        begins = torch.tensor(firsts, device=tokens.device)
        learnt = (mask[:, 1:] != 0) & (places >= begins[:, None])
        labels_there = tokens[:, 1:].masked_fill(~learnt, IGNORED)
        shown = space_of(
            self.model, self.head, hidden, tokens[:, :-1], labels_there
        )
        device = inputs["input_ids"].device
        return rows, shown._replace(
            states=whole(shown.states).to(device),
            inputs=whole(shown.inputs).to(device),
            targets=whole(shown.targets).to(device),
            labels=shown.labels.to(device),
        )

    def _padded(self, sequences: Sequence[list[int]]) -> tuple[TokenIds, Mask]:
        """Its sequences as one batch, and which of its tokens are real."""
        width = max(map(len, sequences), default=2)
        pad = self.own.pad_token_id
        ids = []
        real = []
        for sequence in sequences:
            missing = width - len(sequence)
            ids.append(sequence + [pad] * missing)
            real.append([1] * len(sequence) + [0] * missing)
        device = self.model.device
        return (
            torch.tensor(ids, device=device),
            torch.tensor(real, device=device),
        )

    def _sequence(
        self, ids: Sequence[int], labels: Sequence[int]
    ) -> tuple[list[int], int, int, list[tuple[range, range]]]:
        """(the teacher's ids, first learnt token of the student, of the teacher, groups of learnt
        tokens).
        """
        first = next(
            n for n, label in enumerate(labels) if n and label != IGNORED
        )
        ended = ids[-1] == self.tokenizer.eos_token_id
        answer = list(ids[first : len(ids) - ended])
        decode = self.tokenizer.decode
        text = decode(answer, skip_special_tokens=True)
        prompt = self._prompt(decode(ids[:first], skip_special_tokens=True))
        encoded = self.own(
            text, add_special_tokens=False, return_offsets_mapping=True
        )
        theirs = list(encoded["input_ids"])
        their_ends = [stop for _, stop in encoded["offset_mapping"]]
        groups = align(ends_of(self.tokenizer, answer, text), their_ends)
        if ended and self.own.eos_token_id is not None:
            # The end tokens of both are one more group.
            ours_end = range(len(answer), len(answer) + 1)
            groups.append((ours_end, range(len(theirs), len(theirs) + 1)))
            theirs.append(self.own.eos_token_id)
        return [*prompt, *theirs], first, len(prompt), groups

    def _prompt(self, text: str) -> list[int]:
        """A prompt in the teacher's tokens, at least one, without an end behind it."""
        end = self.own.eos_token_id
        ids = list(self.own(text)["input_ids"])
        if not ids:
            return [self.own.bos_token_id or end]
        if ids[-1] == end and len(ids) > 1:
            ids.pop()
        return ids


def space_of(
    model: PreTrainedModel,
    head: Head,
    states: HiddenStates,
    ids: TokenIds,
    labels: Labels,
) -> Space:
    """What a model shows of a batch, for losses of spaces.

    Args:
        model: with its embeddings.
        head: its head.
        states: [B, T, H] shifted.
        ids: [B, T] the tokens that were read.
        labels: [B, T] the tokens to come; below 0 where none is learnt.
    """
    embeddings = model.get_input_embeddings()
    learnt = labels >= 0
    # As in the original: what does not count is token 0.
    with torch.no_grad():
        inputs = embeddings(ids.where(learnt, 0))
        targets = embeddings(labels.where(learnt, 0))
    fixed = replace(
        head,
        weight=head.weight.detach(),
        bias=None if head.bias is None else head.bias.detach(),
    )
    return Space(
        states,
        inputs,
        targets,
        labels,
        functools.partial(dense, head),
        functools.partial(dense, fixed),
    )


class SeveralAcross:
    """Several models with tokenizers of their own. No token is the same to all of them, so that
    their losses are averaged, not their probabilities.

    Args:
        teachers: at least two.
        weights: of each, 0 or more; () for equal ones.
    """

    def __init__(
        self, teachers: Sequence[Voice], weights: Sequence[float] = ()
    ) -> None:
        given = weights_of(weights, len(teachers))
        shares = [weight / sum(given) for weight in given]
        self.voices = list(zip(shares, teachers, strict=True))


def ends_of(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str
) -> list[int]:
    """How many characters of the text stand before the end of each token.

    By the tokenizer's own offsets where it spells the text with these very tokens; else (a sampled
    text may be spelt otherwise) by decoding ever longer beginnings.
    """
    if not ids:
        return []
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True
    )
    if list(encoded["input_ids"]) == list(ids):
        return [stop for _, stop in encoded["offset_mapping"]]
    ends = []
    longest = 0
    for count in range(1, len(ids) + 1):
        beginning = tokenizer.decode(ids[:count], skip_special_tokens=True)
        longest = max(longest, len(beginning))
        ends.append(min(longest, len(text)))
    return ends
