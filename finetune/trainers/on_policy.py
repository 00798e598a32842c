"""The student's own texts in training: when they are written, replayed, corrected by the teacher,
or imitated by corrupted rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from finetune.core.tensors import (
    HiddenStates,
    Inputs,
    Labels,
    PerSequence,
    RowLabels,
    TokenIds,
)
from finetune.data.tokens import IGNORED
from finetune.generation.continuations import continuations, end_tokens
from finetune.generation.mixtures import Mixture
from finetune.kernels.heads import Head
from finetune.losses.base_parts import TeacherAt, whole
from finetune.rollouts.served_texts import ServedTexts
from finetune.rollouts.text_server import Drawn
from finetune.trainers.on_policy_settings import OnPolicy

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


# Of each sequence the place of its worst token and the teacher's token there, -1 for none.
WorstTokens = tuple[PerSequence, PerSequence]


class Elsewhere(NamedTuple):
    """A server that writes in the student's place.

    Attributes:
        server: with weights of the student.
        seed: that a batch's texts follow from.
        age: of these weights, in steps.
    """

    server: ServedTexts
    seed: str
    age: int


class Writer:
    """Lets a student write.

    Args:
        model: the student; it is set to eval mode while it writes.
        tokenizer: its own.
        how: longest texts and their sampling.
        teacher: who writes along where `how` mixes both.
        elsewhere: who writes in the student's place.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        how: OnPolicy,
        teacher: PreTrainedModel | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.model = model
        self.teacher = teacher
        self.elsewhere = elsewhere
        self.size = len(tokenizer)
        self.how = how
        self.pad = tokenizer.pad_token_id
        self.ends = end_tokens(model, tokenizer)

    def write(
        self,
        batch: Inputs,
        differs: Callable[[Inputs], WorstTokens] | None = None,
    ) -> Inputs:
        """What the student writes to each prompt of a batch, behind it and labelled; sampled
        without gradient. The texts to one prompt stand side by side.

        Args:
            batch: `input_ids` and `labels`, one row a sequence.
            differs: gives for a written batch the place of each row's worst token and the teacher's
                token there (-1 for none), [B] each.
        """
        rows = zip(batch["input_ids"].cpu(), batch["labels"].cpu(), strict=True)
        prompts = []
        for row, learnt in rows:
            prompt = row[: int((learnt != IGNORED).int().argmax())]
            prompts += [prompt] * self.how.completions
        answers = self._continued(prompts)
        made = self._batch(prompts, answers)
        if differs is None:
            return made
        positions, tokens = (values.tolist() for values in differs(made))
        wholes = self._corrected(
            [torch.cat(pair) for pair in zip(prompts, answers, strict=True)],
            positions,
            tokens,
        )
        corrected = [
            whole[len(prompt) : len(prompt) + self.how.new_tokens]
            for whole, prompt in zip(wholes, prompts, strict=True)
        ]
        return self._batch(prompts, corrected)

    def _corrected(
        self,
        texts: list[RowLabels],
        positions: Sequence[int],
        tokens: Sequence[int],
    ) -> list[RowLabels]:
        """Texts that go on otherwise from the teacher's token on, where it has one."""
        starts = list(texts)
        open_ended = []
        for number, position in enumerate(positions):
            if position < 0:
                continue
            token = tokens[number]
            kept = texts[number][:position]
            starts[number] = torch.cat([kept, torch.tensor([token])])
            if token not in self.ends:
                open_ended.append(number)
        if open_ended:
            rest = self._continued([starts[number] for number in open_ended])
            for number, text in zip(open_ended, rest, strict=True):
                starts[number] = torch.cat([starts[number], text])
        return starts

    def _continued(self, prompts: Sequence[RowLabels]) -> list[RowLabels]:
        """What the student writes behind each, up to and with its first end token."""
        if self.elsewhere is not None:
            return self._served(prompts, self.elsewhere)
        training = self.model.training
        cache = self.model.config.use_cache
        self.model.eval()
        processors = []
        if self.teacher is not None and self.how.teacher_share:
            lengths = [len(prompt) for prompt in prompts]
            share = self.how.teacher_share
            processors.append(Mixture(self.teacher, share, lengths, self.size))
        written = continuations(
            self.model,
            prompts,
            pad=self.pad,
            max_new_tokens=self.how.new_tokens,
            do_sample=True,
            top_k=0,
            use_cache=True,
            temperature=self.how.temperature,
            top_p=self.how.top_p,
            min_p=self.how.min_p or None,
            eos_token_id=sorted(self.ends) or None,
            logits_processor=processors,
        )
        self.model.train(training)
        self.model.config.use_cache = cache
        return [_until(answer, self.ends) for answer in written.ids.cpu()]

    def _served(
        self, prompts: Sequence[RowLabels], elsewhere: Elsewhere
    ) -> list[RowLabels]:
        """The same by a server. Texts that go on behind a correction have other prompts, and so
        other seeds.
        """
        how = Drawn(
            new_tokens=self.how.new_tokens,
            temperature=self.how.temperature,
            top_p=self.how.top_p,
            min_p=self.how.min_p,
            ends=tuple(sorted(self.ends)),
        )
        lengths = sum(map(len, prompts))
        texts = elsewhere.server.write(
            [prompt.tolist() for prompt in prompts],
            how,
            f"{elsewhere.seed}/{lengths}",
            elsewhere.age,
        )
        return [
            _until(torch.tensor(text.whole(self.ends)), self.ends)
            for text in texts
        ]

    def _batch(
        self, prompts: Sequence[RowLabels], answers: Sequence[RowLabels]
    ) -> dict[str, Tensor]:
        rows = [torch.cat(pair) for pair in zip(prompts, answers, strict=True)]
        length = max(map(len, rows))
        ids = []
        real = []
        learnt = []
        positions = torch.arange(length)
        for prompt, row in zip(prompts, rows, strict=True):
            missing = length - len(row)
            ids.append(
                torch.nn.functional.pad(row, (0, missing), value=self.pad)
            )
            real.append(positions < len(row))
            learnt.append((positions >= len(prompt)) & real[-1])
        whole = torch.stack(ids)
        return {
            "input_ids": whole,
            "attention_mask": torch.stack(real).long(),
            "labels": whole.masked_fill(~torch.stack(learnt), IGNORED),
        }


def _until(answer: RowLabels, ends: Collection[int]) -> RowLabels:
    """A text with its end token, without the padding behind it."""
    for count, token in enumerate(answer.tolist(), 1):
        if token in ends:
            return answer[:count]
    return answer


def worst(
    hidden: HiddenStates, head: Head, say: TeacherAt, labels: Labels
) -> WorstTokens:
    """([B] positions in the unshifted text, [B] the teacher's tokens) where both favour different
    tokens and the KL is largest.

    Args:
        hidden: [B, T, H] states of the student, shifted.
        head: the student's.
        say: the teacher, by flat positions.
        labels: [B, T] shifted labels.

    Returns:
        -1 where both favour the same token everywhere.
    """
    states = hidden.reshape(-1, hidden.shape[-1])
    ids = labels.reshape(-1)
    kl = torch.full(ids.shape, -torch.inf)
    best = torch.full(ids.shape, -1)
    for part in torch.split((ids != IGNORED).nonzero()[:, 0], 64):
        ls = whole(head.logits(states[part])).log_softmax(dim=-1)
        lt = whole(say(part)).log_softmax(dim=-1)
        gap = (lt.exp() * (lt - ls)).sum(dim=-1)
        favour = lt.argmax(dim=-1)
        differs = favour != ls.argmax(dim=-1)
        home = part.cpu()
        kl[home] = torch.where(differs, gap, -torch.inf).float().cpu()
        best[home] = favour.cpu()
    kl = kl.reshape(labels.shape)
    position = kl.argmax(dim=1)
    some = (kl > -torch.inf).any(dim=1)
    token = best.reshape(labels.shape).gather(1, position[:, None])[:, 0]
    # Shifted position k predicts token k + 1 of the text.
    return (
        torch.where(some, position + 1, -1),
        torch.where(some, token, -1),
    )


def corrupted(
    inputs: Inputs, hidden: HiddenStates, head: Head, share: float, seed: str
) -> TokenIds:
    """[B, T] token ids of which a share of the learnt ones are the student's own guesses; the
    labels stay.

    Args:
        inputs: `input_ids` and `labels`.
        hidden: [B, T - 1, H] states of the student on them.
        head: its head.
        share: 0 to 1.
        seed: which tokens.
    """
    ids = inputs["input_ids"].clone()
    labels = inputs["labels"]
    generator = torch.Generator().manual_seed(
        random.Random(seed).getrandbits(62)
    )
    chosen = (
        torch.rand(labels[:, 1:].shape, generator=generator).to(labels.device)
        < share
    ) & (labels[:, 1:] != IGNORED)
    flat = hidden.reshape(-1, hidden.shape[-1])
    positions = chosen.reshape(-1).nonzero()[:, 0]
    guesses = ids[:, 1:].reshape(-1)
    for part in torch.split(positions, 64):
        guesses[part] = head.logits(flat[part]).argmax(dim=-1)
    ids[:, 1:] = guesses.reshape(chosen.shape)
    return ids
