"""Records that a command leaves beside what it made."""

from __future__ import annotations

import json
from pathlib import Path


def write_json(path: Path, content: object) -> None:
    """Writes what JSON can say as people read it, two spaces a level."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
