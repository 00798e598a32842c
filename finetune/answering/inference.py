"""How a student is asked: what `finetune evaluate` and `finetune serve` share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune.generation.chunking import Chunks
from finetune.generation.ways import Ways
from synth.core.errors import WrongUse

# Where other texts go in a template.
PLACES = ("prompt", "before", "history", "knowledge")
_PLACE = re.compile(r"\{(" + "|".join(PLACES) + r")\}")


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What stands between a question and a student's reply.

    Attributes:
        before: another model that speaks first, such as a decomposer or a questioner.
        before_template: what it is asked, with {prompt} where the question goes.
        steps: 0: its reply is one text; else each of its lines, at most so many, is a question of
            its own, which the student answers behind those before it and its answers; the reply to
            the last one is the reply.
        wrap: the student's prompt, with {prompt}, {before}, {history} and {knowledge} where the
            question, the first model's words, the questions and answers so far, and what was
            looked up go; "" where prompts have these places themselves.
        knowledge: a file of rows with `text`, of which the nearest ones are looked up.
        knowledge_count: how many.
        gate: 0 to 1: what was looked up is left out where the student is surer than this.
        think_end: see `Ways`, as all of `think_...`.
        think_least: tokens.
        think_most: tokens; None for no bound.
        think_wait: a text.
        contrast: a file with wrong examples, which the amateur of a contrast reads before the
            prompt.
        contrast_beta: see `Ways`.
        contrast_alpha: see `Ways`.
        calculator: see `Ways`.
        banned: words that are never said, with commas between.
        chunks: rows with `prompt` and `completion` whose chunks are written at once, see `Chunks`.
        chunk_teacher: see `Chunks`.
        chunk_likelihood: see `Chunks`.
        chunk_similarity: see `Chunks`.
        cascade: a teacher, PROVIDER/MODEL, that is asked where the student is not sure.
        cascade_below: 0 to 1: it is asked where the student is less sure of its reply than this.
        cascade_calls: calls of it at most.
        cascade_budget: dollars of its calls at most; None for no bound.
        cascade_price: IN,OUT in dollars per million tokens, where the table lists none.
        cascade_api_base: its endpoint.
        cascade_key_env: the variable that holds its key.
    """

    before: str | None = None
    before_template: str = "{prompt}"
    steps: int = 0
    wrap: str = ""
    knowledge: str | None = None
    knowledge_count: int = 1
    gate: float | None = None
    think_end: str = ""
    think_least: int = 0
    think_most: int | None = None
    think_wait: str = ""
    contrast: str | None = None
    contrast_beta: float = 0.7
    contrast_alpha: float = 0.1
    calculator: bool = False
    banned: str = ""
    chunks: str | None = None
    chunk_teacher: str = ""
    chunk_likelihood: float = 0.9
    chunk_similarity: float = 0.9
    cascade: str | None = None
    cascade_below: float = 0.5
    cascade_calls: int = 1000
    cascade_budget: float | None = None
    cascade_price: str | None = None
    cascade_api_base: str | None = None
    cascade_key_env: str | None = None

    def ways(self) -> Ways:
        """How the student decodes.

        Raises:
            WrongUse: the file of wrong examples cannot be read, or is empty.
        """
        examples = ""
        if self.contrast is not None:
            examples = _text_of(self.contrast)
        chunks = None
        if self.chunks is not None:
            chunks = Chunks(
                data=self.chunks,
                teacher=self.chunk_teacher,
                likelihood=self.chunk_likelihood,
                similarity=self.chunk_similarity,
            )
        return Ways(
            chunks=chunks,
            think_end=self.think_end,
            think_least=self.think_least,
            think_most=self.think_most,
            think_wait=self.think_wait,
            contrast=examples,
            beta=self.contrast_beta,
            alpha=self.contrast_alpha,
            calculator=self.calculator,
            banned=tuple(filter(None, map(str.strip, self.banned.split(",")))),
        )

    def check(self) -> None:
        """Finds settings that say nothing without others, before anything is opened.

        Raises:
            WrongUse: such a setting, or a place in a template that nothing fills.
        """
        if self.steps and not self.before:
            raise WrongUse(
                "--steps",
                "no --before",
                "a model that says the questions",
                "Give --before QUESTIONER too.",
            )
        filled = {"prompt"}
        filled |= {"before"} if self.before else set()
        filled |= {"history"} if self.steps else set()
        if self.knowledge or self.gate is not None:
            filled.add("knowledge")
        self._check_places("--wrap", self.wrap, filled)
        self._check_places(
            "--before-template", self.before_template, {"prompt"}
        )

    def _check_places(self, flag: str, template: str, filled: set[str]) -> None:
        for name in places(template):
            if name not in filled:
                raise WrongUse(
                    flag,
                    f"{{{name}}}, which nothing fills",
                    f"places among {', '.join(sorted(filled))}",
                    "Take it out, or give --before, --steps or --knowledge too.",
                )


def places(template: str) -> set[str]:
    """The places of a template.

    >>> sorted(places("{before} {prompt} {x}"))
    ['before', 'prompt']
    """
    return set(_PLACE.findall(template))


def filled(template: str, texts: Mapping[str, str]) -> str:
    """A template with texts in its places; a place inside such a text stays as it is.

    >>> filled("{prompt} so {before}", {"prompt": "a {before} b", "before": "c"})
    'a {before} b so c'
    """
    return _PLACE.sub(lambda place: texts.get(place[1], place[0]), template)


def _text_of(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise WrongUse(
            f"--contrast {path}",
            str(error),
            "a text file with wrong examples",
            "Check the path.",
        ) from error
    if not text.strip():
        raise WrongUse(
            f"--contrast {path}",
            "an empty file",
            "wrong examples",
            "Write some, each with its question and a wrong way to its answer.",
        )
    return text
