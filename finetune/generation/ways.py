"""Ways to decode beside sampling, for whoever asks a student: thinking held to a budget, results of
sums that are computed, words that are never said, contrast with the same student after wrong
examples, and chunks of a teacher's texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from finetune.core.rows import JsonObject
from finetune.core.tensors import TokenIds
from finetune.data.prompts import Prompt, messages_of
from finetune.generation.calculating import Calculator
from finetune.generation.chunking import Chunks, chunked_generate, store_of
from finetune.generation.continuations import (
    continuations,
    end_tokens,
    prompt_length,
)
from finetune.generation.decoding import ThinkBudget, contrastive_generate
from finetune.generation.sampling import banned_ids
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How a student decodes.

    Attributes:
        think_end: the text that ends its thinking, such as "</think>"; "" for no budget.
        think_least: fewest tokens of thinking.
        think_most: most tokens of thinking, the end included; None for no bound.
        think_wait: what is said in the place of an end that comes too early; "" just forbids it.
        contrast: wrong examples, which the amateur reads before the prompt; "" for no contrast.
        beta: strength of the contrast, 0 or more.
        alpha: above 0, at most 1: a token counts where its logit is at least the best one plus
            ln(alpha).
        calculator: whether results of sums are computed (see `Calculator`).
        banned: words that are never said, small or with a capital.
        chunks: texts whose chunks are written at once; None for one token after the other.
    """

    think_end: str = ""
    think_least: int = 0
    think_most: int | None = None
    think_wait: str = ""
    contrast: str = ""
    beta: float = 0.7
    alpha: float = 0.1
    calculator: bool = False
    banned: tuple[str, ...] = ()
    chunks: Chunks | None = None

    def check(self, model: PreTrainedModel) -> None:
        """Finds what cannot be obeyed before anything is asked.

        Raises:
            WrongUse: bounds without an end, or a contrast or chunks of an encoder-decoder, with a
                calculator or with banned words, or both of them.
        """
        if not self.think_end and (
            self.think_least or self.think_most is not None or self.think_wait
        ):
            raise WrongUse(
                "--think-least, --think-most, --think-wait",
                "no --think-end",
                "the text that ends the thinking",
                "Give --think-end '</think>', or what the student was trained to say.",
            )
        if self.chunks:
            self._check_alone("--chunks", model)
            if self.contrast or self.think_end:
                raise WrongUse(
                    "--chunks",
                    "with --contrast or --think-end",
                    "one of them",
                    "Leave one out.",
                )
        if self.contrast:
            self._check_alone("--contrast", model)

    def _check_alone(self, way: str, model: PreTrainedModel) -> None:
        """Raises WrongUse where a way of its own cannot be gone with others, or by this model."""
        for flag, given in (
            ("--calculator", self.calculator),
            ("--banned", self.banned),
        ):
            if given:
                raise WrongUse(
                    flag, f"with {way}", "one of them", "Leave one out."
                )
        if model.config.is_encoder_decoder:
            raise WrongUse(
                way,
                "an encoder-decoder",
                "a decoder",
                "Leave it out, or ask another student.",
            )

    def processors(
        self, tokenizer: PreTrainedTokenizerBase, start: int
    ) -> list[LogitsProcessor]:
        """What changes the scores of the next token.

        Args:
            tokenizer: of the student.
            start: positions before the first token that is said.

        Raises:
            WrongUse: a budget that does not hold the end.
        """
        made: list[LogitsProcessor] = []
        if self.calculator:
            made.append(Calculator(tokenizer))
        if not self.think_end:
            return made
        end = _tokens(self.think_end, tokenizer)
        most = 1 << 30 if self.think_most is None else self.think_most
        try:
            budget = ThinkBudget(
                end,
                prompt=start,
                least=self.think_least,
                most=most,
                wait=_tokens(self.think_wait, tokenizer),
            )
        except ValueError as error:
            raise WrongUse(
                "--think-least, --think-most",
                str(error),
                "least <= most, and room for the end",
                "Raise --think-most, or lower --think-least.",
            ) from error
        # The budget has the last word.
        return [*made, budget]


# Nothing but sampling.
PLAIN = Ways()


def _tokens(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def behind(examples: str, prompt: Prompt) -> Prompt:
    r"""A prompt with examples before it; of messages, before the last of the user's.

    >>> behind("2 + 2 = 5", "3 + 3 =")
    '2 + 2 = 5\n\n3 + 3 ='
    """
    lead = f"{examples.rstrip()}\n\n"
    if isinstance(prompt, str):
        return lead + prompt
    messages = messages_of(prompt)
    for message in reversed(messages):
        if message.get("role") == "user":
            message["content"] = f"{lead}{message.get('content') or ''}"
            break
    return messages


def written(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    ways: Ways = PLAIN,
    amateurs: Sequence[Sequence[int]] = (),
    **options: object,
) -> TokenIds:
    """[B, T] what a student writes behind prompts, filled up behind the end of a text.

    Args:
        model: the student, whose mode is left as it is.
        tokenizer: its own.
        prompts: token ids of each.
        ways: how it decodes. A contrast and chunks are greedy, one prompt after the other.
        amateurs: the prompts behind wrong examples, where there is a contrast.
        options: of transformers' generate().
    """
    pad = tokenizer.pad_token_id
    if ways.chunks:
        store = store_of(model, tokenizer, ways.chunks)
        most = int(options["max_new_tokens"])  # type: ignore[call-overload]
        said = [
            chunked_generate(model, tokenizer, prompt, store, most)
            for prompt in prompts
        ]
        return _filled(said, pad)
    if ways.contrast:
        texts = [
            _contrasted(
                model,
                tokenizer,
                (expert, amateur),
                ways=ways,
                options=options,
            )
            for expert, amateur in zip(prompts, amateurs, strict=True)
        ]
        return _filled(texts, pad)
    if banned := banned_ids(ways.banned, tokenizer):
        # A request may ban words of its own.
        both = [*options.get("bad_words_ids", []), *banned]  # type: ignore[misc]
        options = {**options, "bad_words_ids": both}
    processors = ways.processors(tokenizer, prompt_length(model, prompts))
    if processors:
        given = options.get("logits_processor", [])
        both = [*given, *processors]  # type: ignore[misc]
        options = {**options, "logits_processor": LogitsProcessorList(both)}
    if "stop_strings" in options:
        options = {**options, "tokenizer": tokenizer}
    return continuations(model, prompts, pad=pad, **options).ids


def _contrasted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sides: tuple[Sequence[int], Sequence[int]],
    *,
    ways: Ways,
    options: JsonObject,
) -> list[int]:
    """Token ids of one reply, its end included where it has one.

    Args:
        model: the student.
        tokenizer: its own.
        sides: the prompt as the expert and as the amateur reads it.
        ways: with a contrast.
        options: `max_new_tokens`.
    """
    expert, amateur = sides
    ends = sorted(end_tokens(model, tokenizer))
    most = int(options["max_new_tokens"])
    said = contrastive_generate(
        model,
        torch.tensor([list(expert)], device=model.device),
        torch.tensor([list(amateur)], device=model.device),
        beta=ways.beta,
        alpha=ways.alpha,
        most=most,
        ends=ends,
    )
    # A loop that stopped before its last token met an end, which it leaves out.
    return [*said, ends[0]] if len(said) < most and ends else said


def _filled(texts: Sequence[list[int]], pad: int) -> Tensor:
    width = max(map(len, texts), default=0)
    return torch.tensor([text + [pad] * (width - len(text)) for text in texts])
