"""Recorded completions from a file, as a teacher."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth.core.errors import TeacherRefused, WrongUse
from synth.core.records import Fields, Request, canonical_json
from synth.inputs.seeds import read_rows
from synth.teachers.base import Reply, Settings, Teacher, address, chat_reply


class Replay(Teacher):
    """Answers from a file of rows with `completion` and either `question` (or the pack's inputs) or
    a request `key`.

    A key names model and endpoint too, so a line with a `key` says in `asked` which teachers it was
    asked of (`openai/gpt-4o-mini`, or a list); `synth journal DIR --output FILE` writes such files.

    Several lines for one question are its draws, in order. `teacher`, `finish_reason`,
    `prompt_tokens` and `completion_tokens` are passed on where a line has them.

    Args:
        model: path of the file (.jsonl, .json, .csv, .parquet).
    """

    def __init__(self, model: str, settings: Settings) -> None:  # noqa: ARG002
        self.model = Path(model).stem
        self._by_key: dict[str, Fields] = {}
        self._by_question: dict[bytes, list[Fields]] = defaultdict(list)
        self._names: dict[tuple[str, ...], None] = {}
        self._asked: dict[tuple[str, str], None] = {}
        digest = hashlib.sha256()
        for number, row in enumerate(read_rows(Path(model)), 1):
            digest.update(canonical_json(row))
            self._add(row, f"{model} row {number}")
        # What the file says is part of every key: another file of the same name is another teacher.
        self.family = f"replay:{digest.hexdigest()[:12]}"

    def _add(self, row: Fields, where: str) -> None:
        if not isinstance(row.get("completion"), str):
            raise WrongUse(
                where,
                f"fields {', '.join(row)}",
                "a text field `completion`",
                "Name the recorded reply so.",
            )
        if row.get("key"):
            self._by_key[str(row["key"])] = row
            asked = row.get("asked") or []
            self._asked.update(
                (address(name), None)
                for name in ([asked] if isinstance(asked, str) else asked)
            )
            return
        names = (
            ("question",)
            if "question" in row
            else tuple(sorted(k for k in row if k not in _ABOUT))
        )
        if not names:
            raise WrongUse(
                where,
                f"fields {', '.join(row)}",
                "`question`, the pack's inputs, or `key`",
                "Say what was asked.",
            )
        self._names[names] = None
        self._by_question[_spot(names, row)].append(row)

    async def ask(self, request: Request) -> Reply:
        """The recorded reply.

        Raises:
            TeacherRefused: `not_recorded`, where the file has no such question or not so many
                draws.
        """
        row = self._find_key(request) or self._find(request)
        if row is None:
            raise TeacherRefused(
                "not_recorded",
                f"no recorded reply for draw {request.draw} of seed {request.seed_id}",
            )
        return chat_reply(
            row["completion"],
            finish_reason=str(row.get("finish_reason") or "unknown"),
            model=str(row.get("teacher") or self.model),
            prompt_tokens=int(row.get("prompt_tokens") or 0),
            completion_tokens=int(row.get("completion_tokens") or 0),
        )

    def _find_key(self, request: Request) -> Fields | None:
        """The line under the key that the request has at one of the teachers that the file
        names.
        """
        if not self._by_key:
            return None
        addresses = {(request.family, request.model): None, **self._asked}
        keys = (
            replace(request, family=family, model=model).key()
            for family, model in addresses
        )
        return next(
            (self._by_key[key] for key in keys if key in self._by_key), None
        )

    def _find(self, request: Request) -> Fields | None:
        for names in self._names:
            draws = self._by_question.get(_spot(names, request.inputs), [])
            if request.draw < len(draws):
                return draws[request.draw]
        return None


_ABOUT = {
    "completion",
    "teacher",
    "key",
    "asked",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "id",
    "draw",
    "step",
}


def _spot(names: tuple[str, ...], row: Any) -> bytes:
    return canonical_json([(name, row.get(name)) for name in names])
