"""The Modelfile that Ollama makes a model of."""

from __future__ import annotations

from finetune.sharing.chat_formats import found_format
from finetune.sharing.served import Served

# What a text between three quotation marks cannot hold.
_QUOTES = '"""'


def modelfile(weights: str, served: Served) -> tuple[str, str]:
    """(text of a Modelfile, name of the chat form in it); the name is "" where the student's chat
    template is no known one, so that Ollama looks for one by itself.

    Args:
        weights: name of the GGUF file beside it.
        served: the student that was converted.
    """
    lines = [f"FROM ./{weights}"]
    found = found_format(served.tokenizer)
    name = ""
    if found is None:
        lines.append(
            "# The student's chat template is of no known form: write TEMPLATE yourself."
        )
    else:
        name = found.format.name
        lines.append(f"TEMPLATE {_QUOTES}{found.format.ollama}{_QUOTES}")
        if found.system and _QUOTES not in found.system:
            lines.append(f"SYSTEM {_QUOTES}{found.system}{_QUOTES}")
    for end in served.ends:
        text = end.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'PARAMETER stop "{text}"')
    return "\n".join([*lines, ""]), name
