"""How much of a training is on the student's own texts: settings alone, without torch."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from finetune.rollouts.settings import Rollouts


@dataclass(frozen=True, kw_only=True)
class OnPolicy:
    """How much of a training is on the student's own texts.

    Attributes:
        share: of optimiser steps (0 to 1) that train on what the student writes to the prompts, at
            most (see `schedule`).
        schedule: `constant`; `decreasing` or `increasing` with the steps: the rest of the share
            replays earlier texts, or is off-policy where nothing is kept (DistiLLM,
            arXiv:2402.03898, section 3.2); `adaptive`: decreasing, of a share that grows where the
            loss of rows held out does (see `AdaptiveShare`).
        hold_out: share of the rows (0 to below 1) that are held out for `adaptive`.
        validate_every: optimiser steps between two looks at them; 0 for once an epoch.
        replay: texts of so many batches are kept for that.
        new_tokens: longest text.
        completions: texts that it writes to each prompt, 1 or more; a batch grows by that factor.
        temperature: of its sampling.
        teacher_share: of the mixture of teacher and student that a text is drawn from, token by
            token (MiniLLM, arXiv:2306.08543, section 2.2: 0.2); 0 for the student alone.
        top_p: mass of the likeliest tokens that are sampled from, above 0 to 1.
        min_p: least probability of a sampled token, as a share of the likeliest's, 0 to 1.
        correct: where both favour different tokens and differ most, the teacher's token is put and
            the student writes on (arXiv:2407.10068, section 3.2).
        corrupt: share of a row's learnt tokens (0 to 1) that the student reads as it would have
            written them, in one pass: its mistakes at the price of teacher forcing (KID,
            arXiv:2410.11371).
        rollouts: the server that writes these texts in the place of the student here; None for
            none.
    """

    share: float = 0.0
    schedule: Literal["constant", "decreasing", "increasing", "adaptive"] = (
        "constant"
    )
    hold_out: float = 0.0
    validate_every: int = 0
    replay: int = 0
    new_tokens: int = 128
    completions: int = 1
    temperature: float = 1.0
    teacher_share: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    correct: bool = False
    corrupt: float = 0.0
    rollouts: Rollouts | None = None

    @property
    def writes(self) -> bool:
        """Whether the student writes at all."""
        return self.share > 0 or self.adapts

    @property
    def alters(self) -> bool:
        """Whether texts come that are in no row."""
        return self.writes or self.corrupt > 0

    @property
    def adapts(self) -> bool:
        """Whether the share follows the loss of rows held out."""
        return self.schedule == "adaptive"

    def kind(
        self, seed: int, step: int, steps: int, share: float | None = None
    ) -> str:
        """`write`, `replay` or `rows`: drawn from the step's number, so that all processes and
        resumed runs agree.

        Args:
            seed: of the training.
            step: from 0.
            steps: in all.
            share: of the steps at this place; None for `share`.
        """
        share = self.share if share is None else share
        chance = random.Random(f"{seed}/{step}").random()
        done = step / max(1, steps)
        factor = {"constant": 1.0, "increasing": done}.get(
            self.schedule, 1 - done
        )
        if chance < share * factor:
            return "write"
        return "replay" if chance < share and self.replay else "rows"


@dataclass
class AdaptiveShare:
    """DistiLLM's share of steps on the student's own texts (arXiv:2402.03898, section 3.2): it
    grows where the loss of rows held out has grown by more than a margin, since these texts help a
    student that begins to learn its rows by heart, and harm one that cannot write yet.

    Args:
        share: at first.
        step: by which it grows, up to 1 (the released code: 0.1).
        margin: nats a token (the released code: 0.1).
        last: the loss at which it grew last, or the first one.

    Example:
        >>> moved = AdaptiveShare(share=0.0)
        >>> [round(moved.update(loss), 1) for loss in (2.0, 1.5, 2.2, 2.2, 2.5)]
        [0.0, 0.0, 0.1, 0.1, 0.2]
    """

    share: float
    step: float = 0.1
    margin: float = 0.1
    last: float | None = None

    def update(self, loss: float) -> float:
        """The share behind a look at the rows held out, whose loss this is."""
        if self.last is None:
            self.last = loss
        elif loss >= self.last + self.margin:
            self.share = min(1.0, self.share + self.step)
            self.last = loss
        return self.share
