"""Trainings that follow each other as parts of one: what becomes of the optimizer between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synth.core.errors import WrongUse

# In the folder of a student: what its optimizer had come to.
FILE = "optimizer.safetensors"


@dataclass(frozen=True)
class GoingOn:
    """Where an optimizer comes from and whether it is kept.

    Attributes:
        source: folder of a student whose training kept its optimizer, which goes on; None for a
            new one.
        keep: whether the next training can go on from this one.
        steps: steps of all these trainings together, over which the learning rate runs; None for
            those of each.
    """

    source: str | None = None
    keep: bool = False
    steps: int | None = None

    def check(self, sharding: str | None) -> None:
        """Looks whether there is an optimizer to go on with.

        Args:
            sharding: of the training.

        Raises:
            WrongUse: there is none, or its parts are spread over several processes.
        """
        if sharding is not None and self != GoingOn():
            raise WrongUse(
                "--optimizer-of, --keep-optimizer, --steps-in-all",
                f"--sharding {sharding}",
                "an optimizer that one process holds",
                "Leave one of them out.",
            )
        if self.source is not None and not (Path(self.source) / FILE).is_file():
            raise WrongUse(
                f"--optimizer-of {self.source}",
                f"no {FILE} there",
                "a student that was trained with --keep-optimizer",
                "Train it so, or leave the option out.",
            )
