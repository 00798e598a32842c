"""Rows with a context of their own, that a curriculum takes away step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth.core.records import Fields
from synth.exports.base import Export, export_pair, pack_templates, render
from synth.packs.pack import Pack
from synth.runs.publisher import RunFolder


@dataclass(frozen=True, kw_only=True)
class Faded(Export):
    """One row `{id, context, prompt, completion}` per kept row, as `finetune fade` reads it
    (SKIntern, arXiv:2409.13183).

    Args:
        context: Jinja text of what is taken away.
        prompt: Jinja text in the place of the pack's own; it must not hold the context.
        completion: Jinja text in the place of the pack's own.
        examples: a field with a list of worked examples (of a `retrieve`, say), which fade as well;
            "" for none.
    """

    context: str = "{{ summary }}\n{{ knowledge }}"
    prompt: str | None = None
    completion: str | None = None
    examples: str = ""

    def rows(self, run: RunFolder, pack: Pack) -> Iterator[Fields]:
        pair = export_pair(pack, "--to faded", self.prompt, self.completion)
        template = pack_templates(pack).compile(
            self.context, "--to faded:context"
        )
        for row in run.rows():
            values = pack.values(row)
            more = (
                {
                    "examples": [
                        str(text) for text in row.get(self.examples) or ()
                    ]
                }
                if self.examples
                else {}
            )
            yield {
                "id": row["id"],
                "context": template.render(values),
                **more,
                **render(pair, values),
            }
