"""What a long command has finished, beside the file that it will write once all is done."""

from __future__ import annotations

import json
from pathlib import Path

from finetune.core.rows import JsonObject


class BegunRows:
    """Finished work by its key, a line each; a call that is stopped loses what it was at, and the
    same call goes on. What another call began is begun anew.

    Attributes:
        path: of the file, which is there from the first finished line to the end of the work.
        found: key -> what was made of it.
    """

    def __init__(self, output: Path, about: JsonObject) -> None:
        """Reads what is there.

        Args:
            output: the file that will be written.
            about: all that what is made depends on, as JSON has it.
        """
        self.path = output.with_name(f".{output.name}.begun")
        self.found: JsonObject = {}
        self._about = json.dumps(about, sort_keys=True) + "\n"
        self._end = 0
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        """Lines up to one that a crash cut short, where the first says the same as this call."""
        lines = self.path.read_bytes().splitlines(keepends=True)
        if not lines or lines[0] != self._about.encode():
            return
        end = len(lines[0])
        for line in lines[1:]:
            try:
                key, made = json.loads(line)
            except (ValueError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            self.found[key] = made
            end += len(line)
        self._end = end

    def add(self, made: JsonObject) -> None:
        """Keeps what was made now, by its keys."""
        if not self._end:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self._about, encoding="utf-8")
            self._end = len(self._about)
        lines = [json.dumps(pair) + "\n" for pair in made.items()]
        with self.path.open("r+b") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write("".join(lines).encode())
            self._end = file.tell()
        self.found.update(made)

    def remove(self) -> None:
        """Ends the work: all of it stands elsewhere, or serves nothing."""
        self.path.unlink(missing_ok=True)
