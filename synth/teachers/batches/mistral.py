"""Mistral's batches: OpenAI's files, and jobs of another shape under /batch/jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from synth.core.records import Fields, Values, ordered_json
from synth.teachers.batches.groq import Bare
from synth.teachers.batches.service import MARK, MOST_LISTED
from synth.teachers.wire.batch_log import Pending

_PAGE = 100


class Mistral(Bare):
    """Batches of `mistral/MODEL`."""

    public = "https://api.mistral.ai/v1"
    keys = ("MISTRAL_API_KEY",)
    bases = ("MISTRAL_AZURE_API_BASE", "MISTRAL_API_BASE")
    path = "/batch/jobs"

    def line(self, name: str, spoken: Fields) -> bytes:
        """One request of a file; the job says the model, and where it is asked."""
        body = {key: value for key, value in spoken.items() if key != "model"}
        return ordered_json({"custom_id": name, "body": body})

    def order(self, batch: Pending) -> Fields:
        """What creates a job."""
        return {
            "input_files": [batch.trace],
            "endpoint": "/v1/chat/completions",
            "model": self.model.partition("/")[2],
            "timeout_hours": 24,
            "metadata": {MARK: batch.name},
        }

    async def listed(self) -> AsyncIterator[Values]:
        """Jobs of the account, the newest first."""
        for number in range(MOST_LISTED // _PAGE):
            page = await self.exchange.ask(
                "GET",
                self.path,
                params={
                    "page": number,
                    "page_size": _PAGE,
                    "order_by": "-created",
                },
            )
            found = page.get("data") or []
            for job in found:
                yield job
            if len(found) < _PAGE:
                return
