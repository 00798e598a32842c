"""Chat templates that are known by what they render, and the same ones in the words of Ollama."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from finetune.data.prompts import Message, applied
from synth.core.errors import WrongUse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What `finetune serve` makes of messages to a student that was trained on texts, as a template.
TEXT_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}{{ '\\n' }}"
)
# Texts that stand for messages where a template is tried.
_SYSTEM = "sys3m"
_ASKED = "ask3d"
_SAID = "sa1d"
_AGAIN = "aga1n"


class Turn(NamedTuple):
    """What stands around a message of one role."""

    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class ChatFormat:
    """A form of chats that many models share.

    Attributes:
        name: as people call it.
        user: around a user's message.
        assistant: around a reply.
        system: around the first message; None where there is no place for it.
        between: what stands between two messages beside these.
        reply: what a reply begins behind.
    """

    name: str
    user: Turn
    assistant: Turn
    system: Turn | None
    between: str = ""
    reply: str

    def rendered(self, messages: Sequence[Message]) -> str:
        """Messages, and the beginning of a reply.

        Args:
            messages: with `role` and `content`.
        """
        turns = {
            "system": self.system or Turn("", ""),
            "user": self.user,
            "assistant": self.assistant,
        }
        texts = []
        for message in messages:
            turn = turns[str(message["role"])]
            texts.append(f"{turn.before}{message['content']}{turn.after}")
        return self.between.join(texts) + self.reply

    @property
    def ollama(self) -> str:
        """The same as a template of Go, over `.Messages`."""
        roles = [("user", self.user), ("assistant", self.assistant)]
        if self.system is not None:
            roles.insert(0, ("system", self.system))
        parts = []
        for place, (role, turn) in enumerate(roles):
            word = "else if" if place else "if"
            parts.append(f'{{{{ {word} eq .Role "{role}" }}}}')
            parts.append(f"{turn.before}{{{{ .Content }}}}{turn.after}")
        between = ""
        if self.between:
            between = f"{{{{ if $place }}}}{self.between}{{{{ end }}}}"
        loop = "{{ range $place, $message := .Messages }}"
        ends = "{{ end }}{{ end }}"
        return "".join([loop, between, *parts, ends, self.reply])


def _alike(name: str, before: str, after: str) -> ChatFormat:
    """A form whose messages look alike but for the name of their role."""

    def turn(role: str) -> Turn:
        return Turn(before.format(role=role), after)

    return ChatFormat(
        name=name,
        user=turn("user"),
        assistant=turn("assistant"),
        system=turn("system"),
        reply=turn("assistant").before,
    )


_PLAIN = Turn("", "")
FORMATS = (
    _alike("chatml", "<|im_start|>{role}\n", "<|im_end|>\n"),
    _alike(
        "llama-3",
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    _alike("zephyr", "<|{role}|>\n", "</s>\n"),
    _alike("phi-3", "<|{role}|>\n", "<|end|>\n"),
    ChatFormat(
        name="gemma",
        user=Turn("<start_of_turn>user\n", "<end_of_turn>\n"),
        assistant=Turn("<start_of_turn>model\n", "<end_of_turn>\n"),
        system=None,
        reply="<start_of_turn>model\n",
    ),
    ChatFormat(
        name="text",
        user=_PLAIN,
        assistant=_PLAIN,
        system=_PLAIN,
        between="\n\n",
        reply="\n",
    ),
)


class Found(NamedTuple):
    """A chat template that is known.

    Attributes:
        format: the form.
        system: the system message that the template writes where a chat has none; "" for none.
    """

    format: ChatFormat
    system: str


def found_format(tokenizer: PreTrainedTokenizerBase) -> Found | None:
    """The form that a tokenizer's chat template renders as, tried on chats with and without a
    system message and with a reply in them; None where it is none of `FORMATS`, or where the
    tokenizer has no template.

    Args:
        tokenizer: with a chat template, or without.
    """
    if not tokenizer.chat_template:
        return None
    for one in FORMATS:
        if (system := _system_in(one, tokenizer)) is not None:
            return Found(one, system)
    return None


def _system_in(
    one: ChatFormat, tokenizer: PreTrainedTokenizerBase
) -> str | None:
    """The system message that a template of this form writes by itself; None where its form is
    another one.
    """
    asked = {"role": "user", "content": _ASKED}
    talk = [
        asked,
        {"role": "assistant", "content": _SAID},
        {"role": "user", "content": _AGAIN},
    ]
    told = {"role": "system", "content": _SYSTEM}
    whole = [*([told] if one.system else []), *talk]
    if _seen(tokenizer, whole) not in _starts(one.rendered(whole), tokenizer):
        return None
    alone = _seen(tokenizer, [asked])
    plain = one.rendered([asked])
    if alone is None or alone in _starts(plain, tokenizer):
        return None if alone is None else ""
    if one.system is None:
        return None
    # What stands before the question is a system message of the template's own.
    told["content"] = own = "\0"
    before, _, behind = one.rendered([told, asked]).partition(own)
    for start in _starts(before, tokenizer):
        if alone.startswith(start) and alone.endswith(behind):
            return alone[len(start) : len(alone) - len(behind)]
    return None


def _seen(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]
) -> str | None:
    """Messages through a template; None where it refuses them."""
    try:
        return str(applied(tokenizer, messages, add_generation_prompt=True))
    except WrongUse:
        return None


def _starts(text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """A text without and with the token that begins a text, which servers put there themselves."""
    begin = tokenizer.bos_token
    return (text, f"{begin}{text}") if begin else (text,)
