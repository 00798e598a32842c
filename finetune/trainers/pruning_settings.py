"""How an encoder is pruned while it is distilled: settings alone, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.settings import TrainConfig
from synth.core.errors import WrongUse
from synth.processes.ranks import is_launched


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What is taken out, and how fast (CoFi, arXiv:2204.00408).

    Attributes:
        sparsity: share of the layers' weights that is taken out, above 0 and below 1.
        warmup: share of the steps (0 to 1) over which it grows to that from 0.
        rate: learning rate of the gates and of the multipliers, above 0; it does not fall.
        match: weight of the losses between layers of the teacher and the student's nearest ones.
    """

    sparsity: float
    warmup: float = 0.2
    rate: float = 0.1
    match: float = 0.0

    def wanted(self, step: int, steps: int) -> float:
        """The sparsity that is wanted at a step.

        >>> [Pruning(sparsity=0.6, warmup=0.5).wanted(step, 8) for step in (0, 2, 4, 8)]
        [0.0, 0.3, 0.6, 0.6]
        """
        rising = self.warmup * steps
        return self.sparsity * (min(1.0, step / rising) if rising else 1.0)

    def check(self, config: TrainConfig, task: str) -> None:
        """Refuses what does not go with it.

        Raises:
            WrongUse: another task than of classes, weights that are rounded, a best checkpoint, or
                several processes.
        """
        held = config.held_out
        found = (
            (task not in ("classify", "tokens"), f"--task {task}"),
            (config.shape.weight_bits is not None, "--weight-bits"),
            (config.shape.layer_drop > 0, "--layer-drop"),
            (held is not None and held.chooses, "--keep-best or --patience"),
            (config.sharding is not None or is_launched(), "several processes"),
        )
        for is_given, named in found:
            if is_given:
                raise WrongUse(
                    f"--sparsity {self.sparsity:g}",
                    f"with {named}",
                    "--task classify or tokens, one process, the student of the last step",
                    "Leave one of them out.",
                )
