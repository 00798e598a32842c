"""How a model is told to think, in the words of each provider.

| provider | effort | budget in tokens |
|---|---|---|
| OpenAI and others that speak its protocol | `reasoning_effort` | the nearest effort |
| Anthropic, Gemini, Bedrock, Vertex (litellm) | `reasoning_effort` | `thinking.budget_tokens` |
| DeepSeek | `thinking.type`, and `reasoning_effort` | none: thinking is on |
| OpenRouter | `reasoning.effort` | `reasoning.max_tokens` |
| DashScope | `enable_thinking` | `thinking_budget` |
| vLLM | `reasoning_effort`, keys of its chat template | `thinking_token_budget` |
| llama.cpp, SGLang | keys of its chat template | none: `max_tokens` is the bound |
"""

from __future__ import annotations

from urllib.parse import urlsplit

from synth.core.records import Fields
from synth.teachers.wire.forms import LLAMA, SGLANG, VLLM

DEEPSEEK = "deepseek"
OPENROUTER = "openrouter"
DASHSCOPE = "dashscope"
BUDGETED = "budgeted"
_EFFORT = "reasoning_effort"
_BUDGET = "thinking_tokens"
# Fields that providers have for it.
THOUGHTS = frozenset(
    {
        "chat_template_kwargs",
        "enable_thinking",
        "reasoning",
        "thinking",
        "thinking_budget",
        "thinking_token_budget",
    }
)
# Tokens up to which an effort is the nearest one, as litellm counts them: 1,024 for `low`, 2,048
# for `medium`, 4,096 for `high`.
_NEAREST = ((1024, "low"), (2048, "medium"))
_HOSTS = {
    "deepseek.com": DEEPSEEK,
    "openrouter.ai": OPENROUTER,
    "aliyuncs.com": DASHSCOPE,
}
# Providers of litellm that take a budget.
_WITH_BUDGET = frozenset(
    {"anthropic", "bedrock", "databricks", "gemini", "vertex_ai"}
)


def dialect_at(base: str) -> str:
    """The provider behind a URL, where it has words of its own.

    >>> dialect_at("https://api.deepseek.com/v1"), dialect_at("https://api.openai.com/v1")
    ('deepseek', '')
    """
    host = urlsplit(base).hostname or ""
    for name, dialect in _HOSTS.items():
        if host == name or host.endswith(f".{name}"):
            return dialect
    return ""


def dialect_of(model: str) -> str:
    """The provider of a model of litellm's.

    >>> dialect_of("anthropic/claude"), dialect_of("deepseek/deepseek-chat")
    ('budgeted', 'deepseek')
    """
    provider = model.partition("/")[0]
    if provider in _WITH_BUDGET:
        return BUDGETED
    return provider if provider in (DEEPSEEK, OPENROUTER, DASHSCOPE) else ""


def told_to_think(body: Fields, dialect: str) -> Fields:
    """A body whose effort and budget stand in a provider's words; one that says neither stays as it
    is.

    >>> told_to_think({"reasoning_effort": "low", "thinking_tokens": 900}, BUDGETED)
    {'thinking': {'type': 'enabled', 'budget_tokens': 900}}
    >>> told_to_think({"thinking_tokens": 900}, "")
    {'reasoning_effort': 'low'}
    """
    if _EFFORT not in body and _BUDGET not in body:
        return body
    out = dict(body)
    effort = out.pop(_EFFORT, None)
    budget = out.pop(_BUDGET, None)
    thinks = effort != "none"
    if dialect == BUDGETED and budget and thinks:
        thinking = {"type": "enabled", "budget_tokens": budget}
        return {**out, "thinking": thinking}
    if dialect == DEEPSEEK:
        out["thinking"] = {"type": "enabled" if thinks else "disabled"}
        return {**out, _EFFORT: effort} if effort and thinks else out
    if dialect == OPENROUTER:
        return {**out, "reasoning": _of_openrouter(effort, budget)}
    if dialect == DASHSCOPE:
        out["enable_thinking"] = thinks
        return {**out, "thinking_budget": budget} if budget and thinks else out
    if dialect in (LLAMA, VLLM, SGLANG):
        return _of_template(out, effort, budget, dialect)
    if effort is None and budget:
        effort = nearest_effort(budget)
    return {**out, _EFFORT: effort} if effort else out


def _of_openrouter(effort: str | None, budget: int | None) -> Fields:
    if effort == "none":
        return {"enabled": False}
    return {"max_tokens": budget} if budget else {"effort": effort}


def _of_template(
    body: Fields,
    effort: str | None,
    budget: int | None,
    server: str,
) -> Fields:
    """A body for a server whose chat template decides: keys that a template does not know do
    nothing.
    """
    thinks = effort != "none"
    # Qwen's templates read the one name, DeepSeek's the other.
    keys: Fields = {"enable_thinking": thinks, "thinking": thinks}
    if effort and thinks:
        keys[_EFFORT] = effort
    given = body.get("chat_template_kwargs") or {}
    out = {**body, "chat_template_kwargs": {**keys, **given}}
    if server == VLLM and effort:
        out[_EFFORT] = effort
    if server == VLLM and budget and thinks:
        out["thinking_token_budget"] = budget
    return out


def nearest_effort(budget: int) -> str:
    """The effort whose usual budget is nearest from above.

    >>> nearest_effort(512), nearest_effort(2000), nearest_effort(9000)
    ('low', 'medium', 'high')
    """
    for most, effort in _NEAREST:
        if budget <= most:
            return effort
    return "high"
