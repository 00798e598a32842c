"""Ways to decode that need the logits: thinking held to a budget, and contrast with a degraded copy
of the same model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessor

from finetune.core.tensors import NextScores, TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ThinkBudget(LogitsProcessor):  # type: ignore[misc]
    """Thinking ends at `most` tokens and not before `least` (budget forcing, s1, arXiv:2501.19393,
    section 3.1).

    Args:
        end: token ids that end the thinking, such as those of "</think>".
        wait: token ids that are said instead of an end that comes too early, such as those of
            "Wait"; empty just forbids the end.
        prompt: length of the (padded) prompt in tokens.
        least: fewest tokens of thinking.
        most: most tokens of thinking, `end` included.
    """

    def __init__(
        self,
        end: Sequence[int],
        *,
        prompt: int,
        least: int = 0,
        most: int = 1 << 30,
        wait: Sequence[int] = (),
    ) -> None:
        if not end or least > most or most < len(end):
            raise ValueError(
                f"end of {len(end)} tokens, least={least}, most={most}; most must hold the end, "
                "and least must not be above it"
            )
        self.end = list(end)
        self.wait = list(wait)
        self.prompt = prompt
        self.least = least
        self.most = most

    def __call__(self, input_ids: TokenIds, scores: NextScores) -> NextScores:
        """Scores [B, V] with the one allowed token, or without a forbidden one, where the budget
        says so.
        """
        length = input_ids.shape[1] - self.prompt
        for row in range(len(scores)):
            thought = input_ids[row, self.prompt :].tolist()
            if _holds(thought, self.end):
                continue
            forced = self._forced(thought, length)
            if forced is not None:
                scores[row] = torch.full_like(scores[row], float("-inf"))
                scores[row, forced] = 0.0
            elif (
                length < self.least
                and thought[len(thought) - len(self.end) + 1 :] == self.end[:-1]
            ):
                self._put_off(scores[row])
        return scores

    def _put_off(self, scores: Tensor) -> None:
        """Takes the end's chance away; it is that of the first token of `wait` then."""
        last = self.end[-1]
        if self.wait:
            first = self.wait[0]
            scores[first] = torch.logaddexp(scores[first], scores[last])
        scores[last] = float("-inf")

    def _forced(self, thought: list[int], length: int) -> int | None:
        """The token that must come next: of the end where the budget is used up, of `wait` where it
        was begun, or none.
        """
        start = self.most - len(self.end)
        if length >= start:
            return self.end[length - start]
        for count in range(len(self.wait) - 1, 0, -1):
            early = length - count < self.least
            if early and thought[-count:] == self.wait[:count]:
                return self.wait[count]
        return None


def _holds(tokens: list[int], part: list[int]) -> bool:
    return any(
        tokens[at : at + len(part)] == part
        for at in range(len(tokens) - len(part) + 1)
    )


def contrastive_generate(
    model: PreTrainedModel,
    expert: TokenIds,
    amateur: TokenIds,
    *,
    beta: float = 0.7,
    alpha: float = 0.1,
    dropout: float = 0.0,
    most: int = 256,
    ends: Sequence[int] = (),
) -> list[int]:
    """Greedy decoding of (1 + beta) * expert - beta * amateur logits (Distillation Contrastive
    Decoding, arXiv:2402.14874).

    Both are the same model: the amateur reads a prompt with wrong examples, and may drop attention.
    Only tokens that the expert itself finds likely are candidates: those whose logit is at least
    its best one plus ln(alpha).

    Args:
        model: a causal language model.
        expert: [1, T] token ids of the prompt.
        amateur: [1, U] token ids of the prompt with wrong examples.
        beta: strength of the contrast, 0 or more; 0 is greedy decoding.
        alpha: above 0, at most 1.
        dropout: attention dropout of the amateur (0 to 1), where the model's configuration has one.
        most: new tokens at most.
        ends: token ids that end the reply.

    Returns:
        The new token ids, without the end.
    """
    if not 0 < alpha <= 1 or beta < 0:
        raise ValueError(
            f"alpha={alpha}, beta={beta}; use 0 < alpha <= 1 and beta from 0 on"
        )
    out: list[int] = []
    contexts = [expert, amateur]
    caches = [None, None]
    for _ in range(most):
        logits = []
        for side in (0, 1):
            with torch.no_grad(), _Dropped(model, dropout if side else 0.0):
                output = model(
                    input_ids=contexts[side],
                    past_key_values=caches[side],
                    use_cache=True,
                )
            caches[side] = output.past_key_values
            logits.append(output.logits[0, -1].float())
        best, other = logits
        allowed = best >= best.max() + torch.log(torch.tensor(alpha))
        token = int(
            ((1 + beta) * best - beta * other)
            .masked_fill(~allowed, float("-inf"))
            .argmax()
        )
        if token in ends:
            break
        out.append(token)
        contexts = [torch.tensor([[token]], device=expert.device)] * 2
    return out


class _Dropped:
    """The model with attention dropout on, for one pass."""

    def __init__(self, model: PreTrainedModel, share: float) -> None:
        self.model = model
        self.share = share
        self.parts = (
            [m for m in model.modules() if hasattr(m, "attention_dropout")]
            if share
            else []
        )

    def __enter__(self) -> None:
        self.before = [
            (part, part.attention_dropout, part.training) for part in self.parts
        ]
        for part in self.parts:
            part.attention_dropout = self.share
            part.training = True

    def __exit__(self, *_: object) -> None:
        for part, share, training in self.before:
            part.attention_dropout = share
            part.training = training
