"""The student's own texts in training: when they are written, replayed, corrected by the teacher,
or imitated by corrupted rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from finetune.data.tokens import IGNORED
from finetune.kernels.fused import Head
from finetune.trainers.on_policy_settings import OnPolicy

Batch = dict[str, Any]


class Writer:
    """Lets a student write.

    Args:
        model: the student; it is set to eval mode while it writes.
        tokenizer: its own.
        how: longest texts and their sampling.
    """

    def __init__(self, model: Any, tokenizer: Any, how: OnPolicy) -> None:
        self.model = model
        self.how = how
        self.pad = tokenizer.pad_token_id
        self.end = tokenizer.eos_token_id

    def write(
        self,
        batch: Mapping[str, Any],
        differs: Callable[[Batch], Any] | None = None,
    ) -> Batch:
        """The batch with what the student writes to each prompt, behind it and labelled; sampled
        without gradient.

        Args:
            batch: `input_ids` and `labels`, one row a sequence.
            differs: gives for a written batch the place of each row's worst token and the teacher's
                token there (-1 for none), [B] each.
        """
        rows = zip(batch["input_ids"].cpu(), batch["labels"].cpu(), strict=True)
        prompts = [
            row[: int((learnt != IGNORED).int().argmax())]
            for row, learnt in rows
        ]
        said = self._continued(prompts)
        made = self._batch(prompts, said)
        if differs is None:
            return made
        places, tokens = (found.tolist() for found in differs(made))
        whole = [
            torch.cat([prompt, text])
            for prompt, text in zip(prompts, said, strict=True)
        ]
        starts = [
            torch.cat([row[:place], torch.tensor([token])])
            if place >= 0
            else row
            for row, place, token in zip(whole, places, tokens, strict=True)
        ]
        wrong = [
            number
            for number, place in enumerate(places)
            if place >= 0 and tokens[number] != self.end
        ]
        rest = (
            self._continued([starts[number] for number in wrong])
            if wrong
            else []
        )
        for number, text in zip(wrong, rest, strict=True):
            starts[number] = torch.cat([starts[number], text])
        texts = [
            start[len(prompt) : len(prompt) + self.how.new_tokens]
            for start, prompt in zip(starts, prompts, strict=True)
        ]
        return self._batch(prompts, texts)

    def _continued(self, prompts: Sequence[Any]) -> list[Any]:
        """What the student writes behind each, up to and with its end token."""
        width = max(1, *(len(prompt) for prompt in prompts))
        ids = torch.stack(
            [
                torch.nn.functional.pad(p, (width - len(p), 0), value=self.pad)
                for p in prompts
            ]
        ).to(self.model.device)
        mask = (
            torch.stack(
                [torch.arange(width) >= width - len(p) for p in prompts]
            )
            .long()
            .to(self.model.device)
        )
        was = self.model.training
        cache = self.model.config.use_cache
        self.model.eval()
        with torch.no_grad():
            out = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self.how.new_tokens,
                do_sample=True,
                top_k=0,
                use_cache=True,
                temperature=self.how.temperature,
                pad_token_id=self.pad,
                eos_token_id=self.end,
            )[:, width:].cpu()
        self.model.train(was)
        self.model.config.use_cache = cache
        return [_until(said, self.end) for said in out]

    def _batch(self, prompts: Sequence[Any], said: Sequence[Any]) -> Batch:
        rows = [torch.cat(pair) for pair in zip(prompts, said, strict=True)]
        length = max(map(len, rows))
        whole = torch.stack(
            [
                torch.nn.functional.pad(
                    row, (0, length - len(row)), value=self.pad
                )
                for row in rows
            ]
        )
        real = torch.stack([torch.arange(length) < len(row) for row in rows])
        learnt = (
            torch.stack(
                [torch.arange(length) >= len(prompt) for prompt in prompts]
            )
            & real
        )
        return {
            "input_ids": whole,
            "attention_mask": real.long(),
            "labels": whole.masked_fill(~learnt, IGNORED),
        }


def _until(said: Any, end: int | None) -> Any:
    """A text with its end token, without the padding behind it."""
    found = (said == end).nonzero()
    return said[: int(found[0, 0]) + 1] if len(found) else said


def worst(
    hidden: Any, head: Head, say: Callable[[Any], Any], labels: Any
) -> tuple[Any, Any]:
    """([B] places in the unshifted text, [B] the teacher's tokens) where both favour different
    tokens and the KL is largest.

    Args:
        hidden: [B, T, H] states of the student, shifted.
        head: the student's.
        say: the teacher, by flat places.
        labels: [B, T] shifted labels.

    Returns:
        -1 where both favour the same token everywhere.
    """
    flat = hidden.reshape(-1, hidden.shape[-1])
    known = labels.reshape(-1)
    kl = torch.full(known.shape, -torch.inf)
    best = torch.full(known.shape, -1)
    for part in (known != IGNORED).nonzero()[:, 0].split(64):
        ls = head.logits(flat[part]).log_softmax(dim=-1)
        lt = say(part).log_softmax(dim=-1)
        gap = (lt.exp() * (lt - ls)).sum(dim=-1)
        favour = lt.argmax(dim=-1)
        kl[part.cpu()] = (
            torch.where(favour != ls.argmax(dim=-1), gap, -torch.inf)
            .float()
            .cpu()
        )
        best[part.cpu()] = favour.cpu()
    kl = kl.reshape(labels.shape)
    best = best.reshape(labels.shape)
    place = kl.argmax(dim=1)
    some = (kl > -torch.inf).any(dim=1)
    token = best.gather(1, place[:, None])[:, 0]
    return torch.where(some, place + 1, -1), torch.where(some, token, -1)


def corrupted(
    inputs: Mapping[str, Any], hidden: Any, head: Head, share: float, seed: str
) -> Any:
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
    places = chosen.reshape(-1).nonzero()[:, 0]
    guesses = ids[:, 1:].reshape(-1)
    for part in places.split(64):
        guesses[part] = head.logits(flat[part]).argmax(dim=-1)
    ids[:, 1:] = guesses.reshape(chosen.shape)
    return ids
