"""Whole conversations, for students that keep their system message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.errors import WrongUse
from synth.core.records import Fields
from synth.exports.base import Export, render
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Messages(Export):
    """One row `{id, messages}` per kept row: system, user, assistant, as TRL's SFTTrainer reads
    conversations.

    Args:
        system: `keep`, or `erase` to train without it (prompt erasure, Orca 2, arXiv:2311.11045,
            section 3.1).
    """

    system: str = "keep"

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        """Training rows, in the order of the run.

        Raises:
            WrongUse: the pack has no `messages` export.
        """
        templates = pack.exports.get("messages", {}).get("messages")
        if templates is None or self.system not in ("keep", "erase"):
            raise WrongUse(
                "--to messages",
                f"pack {pack.name}, system={self.system}",
                "a pack with a messages export, system=keep or erase",
                "See `synth show`.",
            )
        for row in run.rows():
            texts = render(templates, pack.values(row))
            roles = (
                [("system", "system")]
                if self.system == "keep" and texts["system"]
                else []
            )
            pairs = [*roles, ("user", "prompt"), ("assistant", "completion")]
            yield {
                "id": row["id"],
                "messages": [
                    {"role": role, "content": texts[side]}
                    for role, side in pairs
                ],
            }
