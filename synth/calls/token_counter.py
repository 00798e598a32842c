"""How many tokens a text is to a teacher, without asking it: by its own tokenizer where that is at
hand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from synth.core.records import Request, in_text

# English text through a large vocabulary runs at some four bytes a token.
BYTES_A_TOKEN = 4.0
# Tokens that a chat template puts around a message, and around all of them.
A_MESSAGE = 4
A_REQUEST = 3
_ENCODINGS = "https://openaipublic.blob.core.windows.net/encodings/"


def rough_prompt_tokens(request: Request) -> float:
    """Tokens of a request's messages by their length alone, for what only has to be about right."""
    letters = 0
    for message in request.messages:
        letters += len(in_text(message["content"]))
        if "tool_calls" in message:
            letters += len(str(message["tool_calls"]))
    if request.tools:
        letters += len(str(request.tools))
    return letters / BYTES_A_TOKEN


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens of a text.

    Attributes:
        count: text -> tokens.
        name: the tokenizer, as people know it.
        error: how far the count may be off, as a share; 0 for the teacher's own tokenizer.
    """

    count: Callable[[str], float]
    name: str
    error: float


BY_BYTES = TokenCounter(
    lambda text: len(text.encode("utf-8", "replace")) / BYTES_A_TOKEN,
    f"{BYTES_A_TOKEN:g} bytes a token",
    0.3,
)


def counter(teacher: str) -> TokenCounter:
    """The best counter at hand for PROVIDER/MODEL; nothing is fetched from the network."""
    provider, _, model = teacher.partition("/")
    own = None
    if provider == "local":
        own = _local(Path(model))
    elif provider == "openai":
        own = _openai(model)
    return own or _encoding("o200k_base", 0.15) or BY_BYTES


def _local(folder: Path) -> TokenCounter | None:
    """The tokenizer that lies beside the weights."""
    path = folder / "tokenizer.json"
    if not path.is_file() or importlib.util.find_spec("tokenizers") is None:
        return None
    from tokenizers import Tokenizer  # noqa: PLC0415 - 0.1 s, and only for plans

    tokenizer = Tokenizer.from_file(str(path))
    return TokenCounter(
        lambda text: len(tokenizer.encode(text).ids),
        f"the tokenizer in {folder}",
        0.0,
    )


def _openai(model: str) -> TokenCounter | None:
    try:
        import tiktoken  # noqa: PLC0415 - 0.2 s, and only for plans

        return _encoding(tiktoken.encoding_name_for_model(model), 0.0)
    except (ImportError, KeyError):
        return None


def _encoding(name: str, error: float) -> TokenCounter | None:
    """One of OpenAI's encodings, where its file lies on this machine (litellm brings the common
    ones).
    """
    spec = importlib.util.find_spec("litellm")
    shipped = (
        [
            Path(location) / "litellm_core_utils" / "tokenizers"
            for location in (spec.submodule_search_locations or [])
        ]
        if spec
        else []
    )
    given = os.environ.get("TIKTOKEN_CACHE_DIR")
    file = hashlib.sha1(
        f"{_ENCODINGS}{name}.tiktoken".encode(), usedforsecurity=False
    ).hexdigest()
    folder = next(
        (
            f
            for f in [*([Path(given)] if given else []), *shipped]
            if (f / file).is_file()
        ),
        None,
    )
    if folder is None or importlib.util.find_spec("tiktoken") is None:
        return None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        import tiktoken  # noqa: PLC0415 - as above

        encoding = tiktoken.get_encoding(name)
    finally:
        os.environ.pop("TIKTOKEN_CACHE_DIR")
        if given:
            os.environ["TIKTOKEN_CACHE_DIR"] = given
    return TokenCounter(
        lambda text: len(encoding.encode(text, disallowed_special=())),
        name,
        error,
    )
