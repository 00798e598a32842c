"""How much of a training is on the student's own texts: settings alone, without torch."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class OnPolicy:
    """How much of a training is on the student's own texts.

    Attributes:
        share: of optimiser steps (0 to 1) that train on what the student writes to the prompts, at
            most (see `schedule`).
        schedule: `constant`; `decreasing` or `increasing` with the steps: the rest of the share
            replays earlier texts, or is off-policy where nothing is kept (DistiLLM,
            arXiv:2402.03898, section 3.2).
        replay: texts of so many batches are kept for that.
        new_tokens: longest text.
        completions: texts that it writes to each prompt, 1 or more; a batch grows by that factor.
        temperature: of its sampling.
        top_p: mass of the likeliest tokens that are sampled from, above 0 to 1.
        min_p: least probability of a sampled token, as a share of the likeliest's, 0 to 1.
        correct: where both favour different tokens and differ most, the teacher's token is put and
            the student writes on (arXiv:2407.10068, section 3.2).
        corrupt: share of a row's learnt tokens (0 to 1) that the student reads as it would have
            written them, in one pass: its mistakes at the price of teacher forcing (KID,
            arXiv:2410.11371).
    """

    share: float = 0.0
    schedule: Literal["constant", "decreasing", "increasing"] = "constant"
    replay: int = 0
    new_tokens: int = 128
    completions: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    correct: bool = False
    corrupt: float = 0.0

    def kind(self, seed: int, step: int, steps: int) -> str:
        """`write`, `replay` or `rows`: drawn from the step's number, so that all processes and
        resumed runs agree.
        """
        chance = random.Random(f"{seed}/{step}").random()
        done = step / max(1, steps)
        factor = {"constant": 1.0, "decreasing": 1 - done, "increasing": done}[
            self.schedule
        ]
        if chance < self.share * factor:
            return "write"
        return "replay" if chance < self.share and self.replay else "rows"
