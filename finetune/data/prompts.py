"""The one way in which a row becomes a prompt: what a student reads in training, in an evaluation
and behind `local/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from finetune.core.rows import JsonObject, Tools
from synth.core.errors import WrongUse, did_you_mean
from synth.core.records import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Whether a prompt goes through the student's chat template. `auto` trains texts as texts and
# messages by the template, and asks a model of which no training is known by its template, if it
# has one.
Template = Literal["auto", "always", "never"]
TEMPLATES: tuple[str, ...] = get_args(Template)
# What a training leaves beside the student; its `template` is `always` or `never`.
RECORD = "train.json"

Message = Row
Prompt = str | Sequence[Message]


def checked(template: str) -> Template:
    """The setting, if it is one.

    Raises:
        WrongUse: it is none.
    """
    if template not in TEMPLATES:
        todo = did_you_mean(template, TEMPLATES)
        raise WrongUse(
            "--template", repr(template), f"one of {', '.join(TEMPLATES)}", todo
        )
    return template  # type: ignore[return-value]


def of_student(model: str) -> Template:
    """How a student wants to be asked: as it was trained, if that is known."""
    record = Path(model) / RECORD
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "auto"
    # A record of an earlier version says nothing; its students were trained on texts or on
    # messages.
    template = (
        content.get("template", "auto") if isinstance(content, dict) else "auto"
    )
    return checked(str(template))


def in_training(
    template: Template, tokenizer: PreTrainedTokenizerBase, *, chat: bool
) -> Template:
    """`always` or `never`, for rows that are conversations or texts.

    Raises:
        WrongUse: a template is wanted and the student has none.
    """
    if template == "auto":
        return "always" if chat and tokenizer.chat_template else "never"
    return "always" if _templated(template, tokenizer) else "never"


def _templated(template: Template, tokenizer: PreTrainedTokenizerBase) -> bool:
    has = bool(tokenizer.chat_template)
    if template == "always" and not has:
        todo = "Put a chat_template.jinja into the student's folder, or give --template never."
        raise WrongUse(
            "--template always",
            "a student without a chat template",
            "one",
            todo,
        )
    return has and template != "never"


def messages_of(prompt: Prompt) -> list[JsonObject]:
    """A prompt as messages; a text is the user's, without the blanks around it, which the template
    sets.
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt.strip()}]
    return [dict(message) for message in prompt]


def text_of(prompt: Prompt) -> str:
    """A prompt as text; messages stand one after the other, and a line end behind them."""
    if isinstance(prompt, str):
        return prompt
    return (
        "\n\n".join(str(message.get("content") or "") for message in prompt)
        + "\n"
    )


def rendered(
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    tools: Tools = None,
) -> tuple[str, bool]:
    """The text that a student reads, and whether the tokenizer is to put its own tokens around it.

    Args:
        prompt: a text, or messages of which the answer is wanted.
        tokenizer: the student's.
        template: see `Template`.
        tools: that the template shows, as JSON Schemas.
    """
    if not _templated(template, tokenizer):
        return text_of(prompt), True
    return str(
        applied(
            tokenizer,
            messages_of(prompt),
            tools=tools,
            add_generation_prompt=True,
        )
    ), False


def applied(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    tokenize: bool = False,
    **options: object,
) -> Any:
    """The chat template over messages: a text, or with `tokenize` the ids and what else is asked
    for.

    Raises:
        WrongUse: the template does not take these messages, in its own words.
    """
    with _explained(messages):
        return tokenizer.apply_chat_template(
            messages, tokenize=tokenize, return_dict=tokenize, **options
        )


def _without_none(message: Message) -> JsonObject:
    return {name: part for name, part in message.items() if part is not None}


def spans(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    template: str,
    tools: Tools = None,
) -> tuple[str, list[tuple[int, int]]]:
    """A conversation as text, and where in it the template marks, by {% generation %}, what the
    assistant said.

    Raises:
        WrongUse: the template does not take these messages, in its own words.
    """
    # Heavy.
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415

    given = [_without_none(message) for message in messages]
    with _explained(messages):
        (text,), (marked,) = render_jinja_template(
            [given],
            tools=tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
    return text, marked


@contextmanager
def _explained(messages: Sequence[Message]) -> Iterator[None]:
    from jinja2 import TemplateError  # noqa: PLC0415 - with the tokenizer's own imports

    try:
        yield
    except (TemplateError, TypeError) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        todo = "Correct the messages, or the student's chat_template.jinja."
        raise WrongUse(
            "chat template",
            f"{error} (messages of {roles})",
            "messages that it takes",
            todo,
        ) from error


def ids_of(
    prompt: Prompt,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    tools: Tools = None,
) -> list[int]:
    """Token ids of `rendered`, as a decoder reads them: an end that some tokenizers put behind a
    text is not there.
    """
    text, special = rendered(prompt, tokenizer, template, tools)
    plain = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not special:
        return plain
    ids = list(tokenizer(text)["input_ids"])
    ended = (
        len(ids) > len(plain)
        and ids[-1] == tokenizer.eos_token_id
        and plain[-1:] != ids[-1:]
    )
    return ids[:-1] if ended else ids
