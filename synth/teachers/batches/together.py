"""Together's batches: files go up by a signed URL, and batches keep no name of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence

from synth.core.errors import Stopped
from synth.core.records import Fields, Values
from synth.teachers.batches.groq import Bare
from synth.teachers.batches.service import MOST_LISTED
from synth.teachers.wire.access import check_url
from synth.teachers.wire.batch_log import Pending

_FILE_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Together(Bare):
    """Batches of `together_ai/MODEL`."""

    public = "https://api.together.ai/v1"
    keys = (
        "TOGETHER_API_KEY",
        "TOGETHER_AI_API_KEY",
        "TOGETHERAI_API_KEY",
        "TOGETHER_AI_TOKEN",
    )
    bases = ("TOGETHER_AI_API_BASE",)
    purpose = "batch-api"

    async def prepare(self, batch: Pending, lines: Sequence[bytes]) -> str:
        """Asks where the file may be put, puts it there, and says that it is there."""
        content = b"\n".join(lines)
        said = {
            "purpose": self.purpose,
            "file_name": f"{batch.name}.jsonl",
            "file_type": "jsonl",
            "checksum": hashlib.sha256(content).hexdigest(),
        }
        answer = await self.exchange.raw(
            "POST",
            f"{self.target.base}/files",
            files={name: (None, value) for name, value in said.items()},
        )
        file: str = answer.headers.get("X-Together-File-Id", "")
        place = answer.headers.get("Location", "")
        if answer.status_code != 302 or not _FILE_ID.fullmatch(file):
            words = f"HTTP {answer.status_code}: {answer.text}"
            kinds = {401: "key", 403: "key", 402: "quota"}
            kind = kinds.get(answer.status_code, "provider")
            raise Stopped(kind, self.exchange.scrub(words))
        await self.exchange.put(_signed(place), content)
        await self.exchange.ask("POST", f"/files/{file}/preprocess")
        return file

    def order(self, batch: Pending) -> Fields:
        """What creates a batch."""
        order = super().order(batch)
        del order["metadata"]
        return order

    async def create(self, batch: Pending, lines: Sequence[bytes]) -> str:  # noqa: ARG002
        """Creates the batch of a file."""
        made = await self.exchange.ask(
            "POST", self.path, self.order(batch), once=True
        )
        job = made.get("job") or made
        return str(job["id"])

    async def listed(self) -> AsyncIterator[Values]:
        """Batches of the account, which come in one list."""
        page = await self.exchange.ask("GET", self.path)
        for batch in page.get("data", [])[:MOST_LISTED]:
            yield batch


def _signed(url: str) -> str:
    """The URL that the provider signed; its query holds the signature."""
    check_url(url.partition("?")[0], "Together's answer to a file")
    return url
