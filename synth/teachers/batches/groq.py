"""Groq's batches: OpenAI's protocol under another base."""

from __future__ import annotations

from synth.core.records import Fields
from synth.teachers.base import Settings
from synth.teachers.batches.files import Files
from synth.teachers.batches.service import Service
from synth.teachers.openai_chat import Target


class Bare(Files):
    """A provider of OpenAI's protocol that has a host, a key and a name of its own."""

    # Groq says 100 MB for a file; the others get no more.
    most_bytes = 95_000_000

    def reached(self, settings: Settings) -> Target:
        """The provider's host, with its key."""
        return Service.reached(self, settings)

    async def spoken(self, body: Fields) -> Fields:
        """The body with the model's name as the provider has it."""
        return {**body, "model": self.model.partition("/")[2]}


class Groq(Bare):
    """Batches of `groq/MODEL`."""

    public = "https://api.groq.com/openai/v1"
    keys = ("GROQ_API_KEY",)
    bases = ("GROQ_API_BASE",)
