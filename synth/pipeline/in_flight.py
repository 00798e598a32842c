"""How many seeds are under way at once: no more than the missing rows take and the rest of the
budget can bring to their end.
"""

from __future__ import annotations

from math import ceil, inf

from synth.calls.borrower import Borrower
from synth.calls.budget import Budget
from synth.calls.door import Stats
from synth.calls.lending import Lease
from synth.pipeline.plan import Plan, StepPlan
from synth.pipeline.walker import Tally

# Seeds for which the plan's number of calls stands, beside those that were counted: the first ones
# may have been dropped early.
PLANNED = 5


class InFlight:
    """Bounds for the seeds of a run that have begun and not left.

    Args:
        tally: seeds that have left, and rows kept.
        stats: calls and dollars of this run.
        plan: what a seed costs at most, before its steps were asked.
        budget: of the run.
        target: rows wanted; None for all.
        borrower: of a run that shares its target and its budget with other shards.
    """

    def __init__(
        self,
        tally: Tally,
        stats: Stats,
        *,
        plan: Plan,
        budget: Budget,
        target: int | None = None,
        borrower: Borrower | None = None,
    ) -> None:
        self.tally = tally
        self.stats = stats
        self.budget = budget
        self.target = target
        self.borrower = borrower
        self.plan = plan
        self._rows = max(1, plan.rows)
        calls = sum(step.calls for step in plan.steps)
        # A seed of one call is paid for whole, or not at all.
        self._in_one_call = calls <= self._rows
        # What the last call that is let out may leave unspent.
        self._call_usd = plan.most_usd_a_call()

    def is_bounded(self) -> bool:
        """Whether anything bounds the seeds."""
        has_budget = self.budget.cap is not None
        return (
            has_budget or self.target is not None or self.borrower is not None
        )

    def most(self) -> float:
        """Seeds that should be under way at most, 0 where there are rows enough."""
        lease = Lease() if self.borrower is None else self.borrower.lease
        return min(self._for_target(lease), self._for_budget(lease))

    def _for_target(self, lease: Lease) -> float:
        """As many as the missing rows should take."""
        wanted = min(self.target or inf, lease.missing)
        if wanted == inf:
            return inf
        rows_a_seed = (self.tally.kept + 1) / (self.tally.seeds + 1)
        missing = wanted - self.tally.kept
        share = missing / lease.busy
        return ceil(share / rows_a_seed)

    def _for_budget(self, lease: Lease) -> float:
        """As many as the dollars that are left should bring to their end, and one at least: it may
        cost less than those before it.
        """
        if self.budget.cap is None or self._in_one_call:
            return inf
        left = self.budget.cap - self.budget.spent
        if self.borrower is not None:
            left = lease.unspent
        usd = self._usd_a_seed()
        if not usd:
            return inf
        share = left / lease.busy - self._call_usd
        return max(1, share // usd)

    def _usd_a_seed(self) -> float:
        """Dollars of a seed."""
        steps = map(self._usd_of, self.plan.steps)
        return sum(steps)

    def _usd_of(self, step: StepPlan) -> float:
        """Dollars that a seed costs at a step: as planned until it was asked, then by its mean
        call. Calls of seeds that are under way count too, so that this is too much rather than too
        little while few have left.
        """
        calls, sent, received = self.stats.steps.get(step.name, (0, 0, 0))
        if not calls:
            return step.usd(step.most or 0) / self._rows
        usd = step.usd_a_call(sent / calls, received / calls)
        planned = step.calls / self._rows
        calls_a_seed = (calls + PLANNED * planned) / (
            self.tally.seeds + PLANNED
        )
        return usd * calls_a_seed
