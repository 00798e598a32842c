"""Potstill: prompt packs in, distillation datasets out.

`synth.run(...)` makes a dataset; `synth.filters.*` work alone; everything heavy is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synth.packs import Pack
    from synth.runner import Run, run

__all__ = ["Pack", "Run", "run"]


def __getattr__(name: str) -> Any:
    if name in ("run", "Run"):
        from synth import runner  # noqa: PLC0415 - `import synth` stays light

        return getattr(runner, name)
    if name == "Pack":
        from synth.packs import Pack  # noqa: PLC0415

        return Pack
    raise AttributeError(f"module 'synth' has no attribute {name!r}")
