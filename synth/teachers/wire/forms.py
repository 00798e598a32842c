"""How the form of a reply is asked for, in the words of each server.

| server | a JSON Schema | thoughts |
|---|---|---|
| OpenAI and other hosted ones | `response_format` | `reasoning_effort` |
| llama.cpp | `json_schema`, of which it makes a grammar | keys of its chat template |
| vLLM | `response_format`, and `structured_outputs` | also `thinking_token_budget` |
| SGLang | `response_format` | keys of its chat template |
| another server of the user's own | `response_format`, and words in the question | as hosted |
| one that refused a schema | words in the question | as hosted |

Only a schema that whoever asks checks himself is put otherwise: a row means the same then.
"""

from __future__ import annotations

from typing import Any

from synth.core.records import Fields, Row, Values
from synth.replies.schemas import in_words

LLAMA = "llamacpp"
VLLM = "vllm"
SGLANG = "sglang"
# A server of the user's own that is none of these.
OTHER = "other"
# A provider beyond the network of the user's.
HOSTED = ""
# Fields that hold a reply to a schema.
FORM_FIELDS = ("response_format", "json_schema", "structured_outputs")


def asked_for(
    body: Fields,
    schema: Row,
    server: str,
) -> Fields:
    """A body with a schema as a server takes it.

    >>> body = {"messages": [], "response_format": {"type": "json_schema"}}
    >>> asked_for(body, {"type": "object"}, LLAMA)
    {'messages': [], 'json_schema': {'type': 'object'}}
    """
    if server == LLAMA:
        rest = {k: v for k, v in body.items() if k != "response_format"}
        return {**rest, "json_schema": schema}
    if server == VLLM:
        # Versions before 0.11 pass over the one field, later ones know both.
        return {**body, "structured_outputs": {"json": schema}}
    if server == OTHER:
        return {**body, "messages": told(body["messages"], schema)}
    return body


def in_the_question(body: Fields, schema: Row) -> Fields:
    """A body without any field for the form, which its last question tells instead."""
    rest = {name: v for name, v in body.items() if name not in FORM_FIELDS}
    return {**rest, "messages": told(rest["messages"], schema)}


def told(messages: list[Values], schema: Row) -> list[Values]:
    """Messages whose last one of the user ends with the schema in words."""
    words = in_words(schema)
    out = list(messages)
    for place in reversed(range(len(out))):
        message = out[place]
        if message.get("role") == "user":
            out[place] = {**message, "content": _behind(message, words)}
            break
    return out


def _behind(message: Values, words: str) -> Any:
    """The content of a message with words behind it, once."""
    content = message.get("content")
    if isinstance(content, list):
        return [*content, {"type": "text", "text": words}]
    text = str(content or "")
    return text if words in text else f"{text}\n\n{words}"
