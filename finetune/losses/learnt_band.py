"""KL over a band of the teacher's tokens whose ends a small network learns beside the student."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from finetune.core.tensors import (
    Labels,
    Logits,
    Mask,
    RowLogProbs,
    RowProbabilities,
    Scalar,
)
from finetune.losses.base import (
    FLOOR,
    Loss,
    check,
    divisor_of,
    precise,
    require_temperature,
    required,
)
from synth.core.errors import require_share

# Units of the network's hidden layer.
_WIDTH = 32
# At first the band begins at a share of 0.05 of what it may leave out, and ends at 0.95.
_FIRST = math.log(0.05 / 0.95)


class Band(nn.Module):
    """Where the band of each token begins and ends, from the likeliest tokens of both sides.

    Args:
        known: likeliest tokens of each side that it sees, their order but not their names.
        least: share of the teacher's probability, 0 to 1, that lies within every band.
    """

    def __init__(self, known: int, least: float) -> None:
        super().__init__()
        self.known = known
        self.least = least
        self.hidden = nn.Linear(2 * known, _WIDTH)
        self.ends = nn.Linear(_WIDTH, 2)
        nn.init.zeros_(self.ends.weight)
        with torch.no_grad():
            self.ends.bias.copy_(torch.tensor([_FIRST, -_FIRST]))

    def forward(
        self, teacher: RowProbabilities, student: RowProbabilities
    ) -> tuple[Tensor, Tensor]:
        """(begin [N, 1], end [N, 1]), shares of the teacher's probability, from probabilities
        [N, V].
        """
        seen = torch.cat([self._top(teacher), self._top(student)], dim=-1)
        weight = self.hidden.weight
        raw = self.ends(nn.functional.gelu(self.hidden(seen.to(weight.dtype))))
        first, last = raw.sigmoid().to(teacher.dtype).chunk(2, dim=-1)
        free = (1 - self.least) * last
        return free * first, self.least + free

    def _top(self, probabilities: RowProbabilities) -> RowProbabilities:
        """[N, known] the largest, falling; 0 where there are fewer."""
        count = min(self.known, probabilities.shape[-1])
        top = probabilities.detach().topk(count, dim=-1).values
        return nn.functional.pad(top, (0, self.known - count))


@dataclass(frozen=True, kw_only=True)
class LearntBand(Loss[Logits]):
    r"""Forward KL of both sides renormalised within a band: the tokens between two quantiles of the
    teacher's probability, which a network predicts for each token, and the label.

    The network reads the sorted probabilities of both sides and is trained by this very loss, which
    it makes smaller where it leaves out what the student finds hard; `least` bounds that. A token
    is in the band where its stretch of the teacher's probability, likeliest first, meets it. The
    value is that of this hard band; its gradient for the network is that of a soft one.

    Args:
        least: share of the teacher's probability (0 to 1) within every band.
        softness: width of the soft band's ends, a share above 0.
        known: likeliest tokens of each side that the network sees, from 1 on.
        temperature: above 0; both logits are divided by it.

    Shapes: student and teacher logits [B, T, V], mask [B, T], labels [B, T], band a `Band`.

    Returns: nats a token, a scalar; 0 where both agree, never negative.

    Raises:
        ValueError: parameters out of range, no labels or band, shapes that do not fit.

    Source: Multi-Granularity Semantic Revision, arXiv:2407.10068, section 3.3 (DAC-KL). Width and
        place of the network, the soft ends and `least` are choices made here: no code is known.

    Example:
        >>> student, teacher = (
        ...     torch.tensor([[p]]).log() for p in ((0.6, 0.2, 0.2), (0.5, 0.4, 0.1))
        ... )
        >>> loss = LearntBand(least=0.7)
        >>> value = loss(
        ...     student,
        ...     teacher,
        ...     torch.ones(1, 1),
        ...     labels=torch.zeros(1, 1, dtype=torch.long),
        ...     band=loss.network(),
        ... )
        >>> round(float(value.detach()), 3)
        0.117
    """

    least: float = 0.5
    softness: float = 0.05
    known: int = 32
    temperature: float = 1.0

    needs: ClassVar[tuple[str, ...]] = ("labels", "band")

    def __post_init__(self) -> None:
        require_share("least", self.least)
        require_temperature(self.temperature)
        if not self.softness > 0 or self.known < 1:
            raise ValueError(
                f"softness={self.softness}, known={self.known}; use a width above 0, and one token "
                "at least"
            )

    def network(self, student: int = 0, teacher: int = 0) -> Band:  # noqa: ARG002
        """A new network, whose first band holds nearly all of the teacher's probability."""
        return Band(self.known, self.least)

    def __call__(
        self,
        student_logits: Logits,
        teacher_logits: Logits,
        mask: Mask,
        *,
        labels: Labels | None = None,
        denominator: float | None = None,
        band: nn.Module | None = None,
    ) -> Scalar:
        """The mean over the counted tokens."""
        check(
            self,
            student_logits,
            teacher_logits,
            mask,
            labels=labels,
            band=band,
        )
        assert band is not None  # noqa: S101 - as checked
        places = (mask != 0).reshape(-1).nonzero()[:, 0]
        ls, lt = (
            self._logs(logits.reshape(-1, logits.shape[-1])[places])
            for logits in (student_logits, teacher_logits.detach())
        )
        ps, pt = ls.exp(), lt.exp()
        ids = required("labels", labels).reshape(-1)[places]
        first, last = band(pt, ps)
        weights = self._weights(pt, first, last, ids)
        # ln of the weights is the same on both sides, and falls out.
        theirs = weights * pt
        total = theirs.sum(dim=-1)
        own = (weights * ps).sum(dim=-1).clamp(min=torch.finfo(ps.dtype).tiny)
        gap = (theirs * (lt - ls)).sum(dim=-1) / total
        values = gap - total.log() + own.log()
        counted = mask.reshape(-1)[places].to(values.dtype)
        tokens = divisor_of(denominator, len(places))
        return (values * counted).sum() / tokens

    def _logs(self, logits: Tensor) -> RowLogProbs:
        """[N, V] log-probabilities at the temperature, none below FLOOR."""
        wide = logits.to(precise(logits.dtype)) / self.temperature
        finite = wide.clamp(min=torch.finfo(wide.dtype).min)
        return finite.log_softmax(dim=-1).clamp(min=FLOOR)

    def _weights(
        self,
        pt: RowProbabilities,
        first: Tensor,
        last: Tensor,
        ids: Tensor,
    ) -> RowProbabilities:
        """[N, V] 1 within the band and at the label, 0 beyond, with the gradient of a soft band."""
        ordered, order = pt.sort(dim=-1, descending=True)
        behind = ordered.cumsum(dim=-1)
        before = behind - ordered
        within = (behind > first) & (before < last)
        soft = torch.sigmoid((behind - first) / self.softness)
        soft = soft * torch.sigmoid((last - before) / self.softness)
        chosen = within + soft - soft.detach()
        weights = torch.zeros_like(pt).scatter(1, order, chosen)
        # What no label is, is marked by numbers below 0.
        size = pt.shape[-1]
        classes = torch.arange(size, device=pt.device)
        return weights.where(classes != ids[:, None], 1.0)
