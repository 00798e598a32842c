"""What happens to a question before a student replies to it: another model speaks first, texts are
looked up, and questions are answered one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.answering.inference import Inference, filled, places
from finetune.data import rows
from finetune.data.each_row import each_row
from finetune.data.prompts import Prompt, Template, messages_of, of_student
from finetune.generation.confidence import confidence
from finetune.students import load as student
from synth.core.errors import WrongUse
from synth.core.records import Row
from synth.search.index import open_index

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Replies to prompts, in order: (model, its tokenizer, its name or folder, prompts).
Say = Callable[
    ["PreTrainedModel", "PreTrainedTokenizerBase", str, Sequence[Prompt]],
    Sequence[str],
]


@dataclass(frozen=True)
class Question:
    """One question on its way to a student.

    Attributes:
        prompt: a text or messages; a text may have places for other texts.
        where: names it in errors.
        before: what the first model is asked; "" for the question itself, by a template.
        knowledge: what was looked up for it; None where the file is asked.
    """

    prompt: Prompt
    where: str
    before: str = ""
    knowledge: str | None = None

    @property
    def text(self) -> str:
        """The question as a text; of messages, the last one of the user's."""
        if isinstance(self.prompt, str):
            return self.prompt
        said = [m for m in self.prompt if m.get("role") == "user"]
        return str(said[-1].get("content") or "") if said else ""


class Chain:
    """Makes the student's prompts of questions.

    Args:
        how: what is done.
        model: the student.
        tokenizer: its own.
        name: its folder, or its name of the hub.
        say: asks a model for short greedy replies.
        template: whether prompts go through the student's chat template; None for the form in which
            it was trained.

    Raises:
        WrongUse: settings, files or models that cannot be used.
    """

    def __init__(
        self,
        how: Inference,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        say: Say,
        template: Template | None = None,
    ) -> None:
        how.check()
        self.how = how
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.say = say
        self.template = template or of_student(name)
        self.speaker = None
        if how.before:
            self.speaker = student.load_student(how.before)
            self.speaker[0].to(model.device).eval()
        self.texts: list[str] = []
        if how.knowledge:
            self.texts = _texts(how.knowledge)
            self.index = open_index(self.texts, "bm25")

    def prompts(self, questions: Sequence[Question]) -> list[Prompt]:
        """What the student is asked, in order.

        Raises:
            WrongUse: a question without a place for what belongs into it.
        """
        for question in questions:
            check_places(self.how, question)
        said = self._before(questions)
        found = self._found(questions)
        if not self.how.steps:
            return [
                self._asked(question, {"before": text}, knowledge)
                for question, text, knowledge in zip(
                    questions, said, found, strict=True
                )
            ]
        return self._stepped(questions, said, found)

    def _before(self, questions: Sequence[Question]) -> list[str]:
        """What the first model says of each question; "" where there is none."""
        if self.speaker is None:
            return [""] * len(questions)
        asked = [
            question.before
            or filled(self.how.before_template, {"prompt": question.text})
            for question in questions
        ]
        model, tokenizer = self.speaker
        replies = self.say(model, tokenizer, str(self.how.before), asked)
        return [reply.strip() for reply in replies]

    def _found(self, questions: Sequence[Question]) -> list[str | None]:
        """What is known of each question; None where nothing is to be looked up."""
        if not self.how.knowledge:
            return [question.knowledge for question in questions]
        queries = [question.text for question in questions]
        hits = self.index.best(queries, self.how.knowledge_count)
        found: list[str | None] = []
        for question, places_of in zip(questions, hits, strict=True):
            texts = [self.texts[place] for place, _ in places_of]
            own = question.knowledge
            found.append("\n\n".join(texts) if own is None else own)
        return found

    def _asked(
        self,
        question: Question,
        texts: dict[str, str],
        knowledge: str | None,
    ) -> Prompt:
        """The student's prompt with texts in its places; knowledge is left out where it is sure."""
        template = _template(self.how, question)
        if template is None:
            return question.prompt
        given = {"prompt": question.text, **texts} if self.how.wrap else texts
        if not self.how.before:
            given.pop("before", None)
        if knowledge is None or "knowledge" not in places(template):
            return _put(question.prompt, filled(template, given))
        with_it = filled(template, {**given, "knowledge": knowledge})
        if self.how.gate is None:
            return _put(question.prompt, with_it)
        without = filled(template, {**given, "knowledge": ""}).strip() + "\n"
        sure = confidence(
            self.model, self.tokenizer, without, template=self.template
        )
        chosen = without if sure > self.how.gate else with_it
        return _put(question.prompt, chosen)

    def _stepped(
        self,
        questions: Sequence[Question],
        said: Sequence[str],
        found: Sequence[str | None],
    ) -> list[Prompt]:
        """The prompts of the last steps, once the student has answered those before them, a step of
        all questions at once.
        """
        walks = [
            _Walk(self._lines(text), question, knowledge)
            for question, text, knowledge in zip(
                questions, said, found, strict=True
            )
        ]
        while open_ := [walk for walk in walks if len(walk.left) > 1]:
            asked = [self._step(walk) for walk in open_]
            replies = self.say(self.model, self.tokenizer, self.name, asked)
            for walk, reply in zip(open_, replies, strict=True):
                walk.answered(reply.strip())
        return [self._step(walk) for walk in walks]

    def _lines(self, text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[: self.how.steps] or [""]

    def _step(self, walk: _Walk) -> Prompt:
        texts = {"before": walk.left[0], "history": walk.history}
        return self._asked(walk.question, texts, walk.knowledge)


@dataclass
class _Walk:
    """A question on its way from one of its own questions to the next: those that are left, and a
    line for each that is answered.
    """

    left: list[str]
    question: Question
    knowledge: str | None
    history: str = ""

    def answered(self, reply: str) -> None:
        """The first question that is left has this answer."""
        self.history += f"{self.left.pop(0)} {reply}\n"


def _template(how: Inference, question: Question) -> str | None:
    """The text with places; None of messages, which have none."""
    if how.wrap:
        return how.wrap
    return question.prompt if isinstance(question.prompt, str) else None


def check_places(how: Inference, question: Question) -> None:
    """A question has a place for what is to stand in it.

    Raises:
        WrongUse: it has none, or lacks what is to stand there.
    """
    has = places(_template(how, question) or "")
    looks_up = bool(how.knowledge) or how.gate is not None
    for name, is_wanted in (("before", how.before), ("knowledge", looks_up)):
        if is_wanted and name not in has:
            raise WrongUse(
                question.where,
                f"no {{{name}}} in a `prompt` of text, and none in --wrap",
                "a place for it",
                f"Write {{{name}}} where it goes, for example --wrap '{{{name}}} {{prompt}}'.",
            )
    if (
        how.gate is not None
        and question.knowledge is None
        and not how.knowledge
    ):
        raise WrongUse(
            question.where,
            "no `knowledge`",
            "a text, or --knowledge FILE",
            "Retrieve it with a pack that has `retrieve`.",
        )


def _put(prompt: Prompt, text: str) -> Prompt:
    """A prompt that asks another text: messages keep all but the last one of the user's."""
    if isinstance(prompt, str):
        return text
    messages = messages_of(prompt)
    for message in reversed(messages):
        if message.get("role") == "user":
            message["content"] = text
            break
    return messages


def _texts(source: str) -> list[str]:
    """The texts of a file of rows.

    Raises:
        WrongUse: a row without one.
    """

    def read(number: int, row: Row) -> str:
        text = row.get("text")
        if isinstance(text, str) and text.strip():
            return text
        raise WrongUse(
            f"--knowledge {source} row {number}",
            "no `text`",
            "rows with a `text` each",
            "Name the column `text`, or take the row out.",
        )

    return each_row(rows.load(source), read)
