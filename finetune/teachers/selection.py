"""Which of several teachers a row learns from, found by trial: a small policy that is rewarded by
how well the student then does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Selection:
    """A choice of teachers for each row: each is taken with a probability that depends on how
    likely it finds the row (REINFORCE).

    After Yuan et al., reinforced multi-teacher selection (arXiv:2012.06048); the features here are
    each teacher's mean loss on the row's labels and how much it varies from token to token. The
    reward is minus the student's loss, compared with its running mean.

    Args:
        teachers: how many.
        rate: step size.
        momentum: of the running mean, 0 to 1.
        seed: of the draws.
    """

    def __init__(
        self,
        teachers: int,
        *,
        rate: float = 0.1,
        momentum: float = 0.9,
        seed: int = 0,
    ) -> None:
        self.weights = torch.zeros(teachers, 3, dtype=torch.float64)
        self.rate = rate
        self.momentum = momentum
        self.baseline = float("nan")
        self.generator = torch.Generator().manual_seed(seed)
        self.slope = torch.zeros_like(self.weights)

    def choose(self, losses: Tensor, spreads: Tensor) -> Tensor:
        """[B, teachers] shares of each row's teachers, from [B, teachers] losses and their spreads;
        a row without any gets all.
        """
        features = (
            torch.stack([torch.ones_like(losses), -losses, -spreads], dim=-1)
            .double()
            .cpu()
        )
        chance = torch.einsum("btf,tf->bt", features, self.weights).sigmoid()
        taken = (
            torch.rand(
                chance.shape, generator=self.generator, dtype=torch.float64
            )
            < chance
        ).double()
        self.slope = ((taken - chance)[:, :, None] * features).mean(
            dim=0
        )  # the derivative of the choice's log-probability
        taken = torch.where(
            taken.sum(dim=1, keepdim=True) > 0, taken, torch.ones_like(taken)
        )
        return (taken / taken.sum(dim=1, keepdim=True)).float()

    def learn(self, reward: float) -> None:
        """Makes the last choice likelier where its reward is above the running mean."""
        if self.baseline != self.baseline:
            self.baseline = reward
        self.weights += self.rate * (reward - self.baseline) * self.slope
        self.baseline = (
            self.momentum * self.baseline + (1 - self.momentum) * reward
        )

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it."""
        return {
            "weights": self.weights.clone(),
            "slope": self.slope.clone(),
            "baseline": torch.tensor(self.baseline, dtype=torch.float64),
            "draws": self.generator.get_state(),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a state."""
        self.weights = state["weights"].clone()
        self.slope = state["slope"].clone()
        self.baseline = float(state["baseline"])
        self.generator.set_state(state["draws"])
