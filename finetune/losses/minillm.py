"""MiniLLM: reverse KL of whole sequences by policy gradient, on texts drawn from a mixture of
student and teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from finetune.core.tensors import LabelLogProbs, Labels, Logits, Mask, Scalar
from finetune.losses.base import Loss, check, divisor_of, label_logs
from finetune.losses.reverse_kl import ReverseKl


@dataclass(frozen=True, kw_only=True)
class Minillm(Loss[Logits]):
    r"""PPO loss of the advantage of each token + single_step x KL(student || teacher) at each
    token.

    The reward of a token is (ln teacher - ln student) / reward_scale, clipped; its return is that
    of the tokens behind it, discounted, divided by their number (length normalisation); advantages
    are the returns, whitened over counted tokens alone. None of these carries a gradient. The
    token's own reward is in the single-step term, which is exact; without that term it stands in
    the return (the released scripts count it in both).

    Texts may be drawn from a mixture of teacher and student: each token then weighs p_student /
    p_mixture, once, in the policy's part as its ratio and in the single-step term as a factor.

    Args:
        gamma: discount, 0 to 1.
        clip: of the probability ratio (PPO).
        reward_scale: above 0.
        reward_clip: largest absolute reward.
        single_step: weight of the exact one-step reverse KL (single-step decomposition).
        normalise: returns are divided by the tokens that they count.
        whiten: advantages get mean 0 and variance 1.

    Shapes: student and teacher logits [B, T, V], mask [B, T], labels [B, T]; old_logs [B, T]
    ln-probabilities of the labels under the student that drew them, mixed_logs [B, T] those under
    the mixture that they were drawn from; None for texts of this very student.

    Returns: a scalar, the mean over counted tokens; not a divergence.

    Raises:
        ValueError: a gamma out of range, no labels, shapes that do not fit.

    Source: Gu et al., MiniLLM, arXiv:2306.08543, section 2.2 and appendix; defaults of its scripts.

    Example:
        >>> student, teacher = (torch.tensor([[p, p]]).log() for p in ((0.5, 0.5), (0.5, 0.5)))
        >>> float(
        ...     Minillm()(
        ...         student, teacher, torch.ones(1, 2), labels=torch.zeros(1, 2, dtype=torch.long)
        ...     )
        ... )
        0.0
    """

    gamma: float = 0.95
    clip: float = 0.2
    reward_scale: float = 0.5
    reward_clip: float = 100.0
    single_step: float = 1.0
    normalise: bool = True
    whiten: bool = True

    divergence: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("labels",)

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1 or not self.reward_scale > 0:
            raise ValueError(
                f"gamma={self.gamma}, reward_scale={self.reward_scale}; use 0 to 1, and above 0"
            )

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
        old_logs: LabelLogProbs | None = None,
        mixed_logs: LabelLogProbs | None = None,
    ) -> Scalar:
        """The policy's loss and the one-step term."""
        check(self, student_logits, teacher_logits, mask, labels=labels)
        counted = mask != 0
        logs = label_logs(student_logits, labels)
        wanted = label_logs(teacher_logits.detach(), labels)
        before = logs.detach() if old_logs is None else old_logs
        divisor = divisor_of(denominator, counted.sum())
        drawn = before if mixed_logs is None else mixed_logs
        advantages = self.advantages(wanted - before, counted)
        loss = self.policy(logs, drawn, advantages, counted) / divisor
        if not self.single_step:
            return loss
        weights = self.importance(logs, mixed_logs, counted)
        one_step = ReverseKl()(
            student_logits, teacher_logits, weights, denominator=divisor
        )
        return loss + self.single_step * one_step

    def policy(
        self,
        logs: LabelLogProbs,
        drawn_logs: LabelLogProbs,
        advantages: Mask,
        counted: Mask,
    ) -> Scalar:
        """The sum over counted tokens of PPO's clipped loss.

        Args:
            logs: [B, T] of the labels under the student, which gets the gradient.
            drawn_logs: [B, T] under what they were drawn from: the mixture, or the student then.
            advantages: [B, T].
            counted: [B, T] bool.
        """
        ratio = (logs - drawn_logs).masked_fill(~counted, 0.0).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        each = torch.maximum(-advantages * ratio, -advantages * clipped)
        return each.masked_fill(~counted, 0.0).sum()

    def importance(
        self,
        logs: LabelLogProbs,
        mixed_logs: LabelLogProbs | None,
        counted: Mask,
    ) -> Mask:
        """[B, T] p_student / p_mixture of each counted token, without a gradient; 1 where none was
        mixed, 0 where nothing counts.
        """
        if mixed_logs is None:
            return counted
        gap = (logs.detach() - mixed_logs).masked_fill(~counted, 0.0)
        return gap.exp() * counted

    def advantages(self, rewards: LabelLogProbs, counted: Mask) -> Mask:
        """[B, T] from log-ratios teacher / student; 0 where nothing counts."""
        returns = self._returns(rewards, counted)
        if not self.whiten:
            return returns.masked_fill(~counted, 0.0)
        chosen = returns[counted]
        spread = chosen.new_ones(())
        if chosen.numel() > 1:
            spread = chosen.var(unbiased=True)
        mean = chosen.mean() if chosen.numel() else chosen.new_zeros(())
        white = (returns - mean) * torch.rsqrt(spread + 1e-8)
        return white.masked_fill(~counted, 0.0)

    def _returns(self, rewards: LabelLogProbs, counted: Mask) -> Mask:
        """[B, T] the clipped rewards behind each token, discounted; with its own, where no
        single-step term stands for that.
        """
        scaled = rewards / self.reward_scale
        clipped = scaled.clamp(-self.reward_clip, self.reward_clip)
        rewards = clipped.masked_fill(~counted, 0.0)
        returns = torch.zeros_like(rewards)
        running = torch.zeros_like(rewards[:, 0])
        left = counted.flip(1).cumsum(dim=1).flip(1)
        for position in range(rewards.shape[1] - 1, -1, -1):
            behind = running
            running = rewards[:, position] + self.gamma * running
            returns[:, position] = behind if self.single_step else running
        if self.single_step:
            left = left - counted.int()
        if not self.normalise:
            return returns
        return returns / left.clamp(min=1)
