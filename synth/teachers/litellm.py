"""Every other provider, through litellm, imported when the first request goes out."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from synth.core.errors import (
    Stopped,
    TeacherBusy,
    TeacherError,
    TeacherRefused,
    WrongUse,
)
from synth.core.records import Fields, Request, canonical_json
from synth.core.secrets import environment_secrets
from synth.teachers.base import BACKENDS, Reply, Settings, Teacher, retry_after
from synth.teachers.openai_chat import hint
from synth.teachers.wire.access import Redactor, check_url, secret
from synth.teachers.wire.adapter import MOST_LESSONS, Adapter
from synth.teachers.wire.caching import Beginnings
from synth.teachers.wire.faults import SEARCHED, Problem, error_of, failure_in
from synth.teachers.wire.replies import load_reply, read_chat
from synth.teachers.wire.thoughts import dialect_of, told_to_think

# Characters from which on the value of a variable may be a key.
_LEAST_KEY = 16
# What is said of an endpoint that the user does not name.
OWN_ENDPOINT = "the provider's own endpoint"

# Where litellm looks for the key of a provider, in its own check.
_KEY_OF = re.compile(
    r'custom_llm_provider == "([\w-]+)":\n\s+if (.*?):\n', re.DOTALL
)
_IN_ENVIRONMENT = re.compile(r'"([A-Z0-9_]+)" in os\.environ')
# Letters that the variables of a provider share: TOGETHERAI_API_KEY, TOGETHER_API_KEY.
_STEM = 5
# Providers whose keys also come from elsewhere.
_ELSEWHERE = frozenset({"bedrock", "huggingface", "vertex_ai"})


def _source(*names: str) -> str:
    """One of litellm's files, which is read: importing it takes five seconds."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return ""
    path = Path(spec.origin).parent.joinpath(*names)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@cache
def open_litellm() -> Any:
    """The package, imported once, with its network look-ups off."""
    # Without these it fetches a table of prices and one of headers from the network, and waits
    # where there is none.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"
    os.environ.setdefault("LITELLM_LOG", "ERROR")
    # Otherwise older versions read a `.env` of the working folder, which may name hosts and keys.
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm  # noqa: PLC0415 - 5 s of CPU

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


@cache
def _providers() -> frozenset[str]:
    """Names of providers."""
    _, _, source = _source("types", "utils.py").partition("class LlmProviders(")
    names, _, _ = source.partition("\nclass ")
    return frozenset(
        re.findall(r'^    [A-Z_0-9]+ = "([^"]+)"', names, re.MULTILINE)
    )


@cache
def _key_variables() -> Mapping[str, list[str]]:
    """Provider -> variables one of which holds its key; others are left out."""
    _, _, source = _source("utils.py").partition("def validate_environment(")
    body, _, _ = source.partition("\ndef ")
    variables = {}
    for provider, condition in _KEY_OF.findall(body):
        is_one_of = " and " not in condition and provider not in _ELSEWHERE
        if is_one_of and (names := _IN_ENVIRONMENT.findall(condition)):
            variables[provider] = names
    return variables


def _check_key(model: str) -> None:
    """Raises WrongUse where no variable holds the key of a model's provider."""
    names = _key_variables().get(model.partition("/")[0], [])
    stems = tuple(name[:_STEM] for name in names)
    held = [name for name, value in os.environ.items() if value.strip()]
    if not names or any(name.startswith(stems) for name in held):
        return
    raise WrongUse(
        f"--teacher {model}",
        "no key",
        f"{' or '.join(names)} in the environment",
        f"Set it: export {names[0]}=...; or name the variable that holds it with --api-key-env.",
    )


class Litellm(Teacher):
    """One model under litellm's name for it (`anthropic/...`, `gemini/...`, `groq/...`).

    Keys come from the environment variable that the provider documents, or from the one that the
    user names for the role. litellm's own retries, caches, budgets and network look-ups stay off:
    the door does that work, once.
    """

    family = "litellm"

    def __init__(self, model: str, settings: Settings) -> None:
        if importlib.util.find_spec("litellm") is None:
            raise WrongUse(
                f"--teacher {model}",
                "no litellm",
                "the litellm package",
                "pip install litellm",
            )
        self.model = model
        self._settings = settings
        if settings.api_base:
            check_url(settings.api_base, "--api-base")
        variable = settings.api_key_env
        self._key = secret(variable, "--api-key-env") if variable else None
        self._headers = {
            name: secret(held, f"--header {name}")
            for name, held in settings.headers.items()
        }
        self._redact = Redactor(
            [
                *_keys_at_hand(),
                *([self._key] if self._key else []),
                *self._headers.values(),
            ]
        )
        says_how = self._key or self._headers or settings.api_base
        if not says_how and variable is None:
            _check_key(model)
        if model.partition("/")[0] not in _providers():
            self._check_provider()
        self._adapter = Adapter(model, self.endpoint, settings.folder, self.say)
        self._beginnings = Beginnings(model)

    @property
    def adapted(self) -> Mapping[str, str]:
        """What the model does not take."""
        return self._adapter.noted

    def __repr__(self) -> str:
        return f"Litellm({self.model!r})"

    @property
    def endpoint(self) -> str:
        """The base that the user names, else the provider's own."""
        return self._settings.api_base or OWN_ENDPOINT

    def _check_provider(self) -> None:
        """Raises WrongUse where litellm has no provider of that name."""
        litellm = open_litellm()
        try:
            litellm.get_llm_provider(
                self.model, api_base=self._settings.api_base
            )
        except litellm.exceptions.BadRequestError:
            provider, _, model = self.model.partition("/")
            near = get_close_matches(
                provider, [*BACKENDS, *sorted(_providers())], n=1
            )
            meant = f"Did you mean {near[0]}/{model}? " if near else ""
            raise WrongUse(
                f"--teacher {self.model}",
                f"{provider}: litellm knows no such provider",
                "a provider that it knows",
                f"{meant}A server of your own that speaks OpenAI's protocol is openai/{model} "
                "with --api-base URL.",
            ) from None

    async def ask(self, request: Request) -> Reply:
        """One reply through litellm; what the model turns out not to take is left out, once and for
        all.
        """
        litellm = open_litellm()
        for _ in range(MOST_LESSONS):
            said = told_to_think(request.sent(), dialect_of(self.model))
            body = self._adapter.fit(said, request.schema)
            marked = self._beginnings.marked(body)
            try:
                response = await self._answer(litellm, marked)
            # It becomes one of ours, unchained: litellm's own may quote the key.
            except Exception as error:  # noqa: BLE001
                failure = translate(
                    litellm.exceptions,
                    error,
                    self._redact,
                    self._where(),
                )
                problem = problem_of(error)
            else:
                return self._read(response, request)
            if self._beginnings.refused(problem.message):
                continue
            if not self._adapter.learn(problem, body, request, self._redact):
                break
        raise failure

    async def _answer(self, litellm: Any, body: Fields) -> Any:
        """Litellm's own reply; of a stream, what it joins."""
        once = {
            "timeout": self._settings.timeout,
            "max_retries": 0,
            "num_retries": 0,
        }
        response = await litellm.acompletion(**body, **self._reach(), **once)
        if not body.get("stream"):
            return response
        return litellm.stream_chunk_builder(
            [chunk async for chunk in response], messages=body["messages"]
        )

    def _read(self, response: Any, request: Request) -> Reply:
        """The reply in the one dialect.

        Raises:
            TeacherBusy, TeacherRefused, Stopped: it is a failure all the same.
        """
        value, line = load_reply(
            self._redact.raw(response.model_dump_json().encode())
        )
        failure = failure_in(value)
        if failure is not None:
            raise error_of(failure, {}, self._redact)
        if self._adapter.rules and self._adapter.mend(value, request):
            line = canonical_json(value)
        return Reply(line, read_chat(value))

    def _where(self) -> str:
        base = self._settings.api_base
        return f" at {base}. {hint(base)}" if base else ""

    def _reach(self) -> Fields:
        """What the user said about this provider's host; litellm's own values where nothing was
        said.
        """
        settings = {
            "api_base": self._settings.api_base,
            "api_key": self._key,
            "extra_headers": self._headers,
        }
        return {name: value for name, value in settings.items() if value}


def _keys_at_hand() -> list[str]:
    """Values of variables that are named as keys are: which of them a provider's key is, litellm
    alone knows.
    """
    return [value for _, value in environment_secrets(_LEAST_KEY)]


def problem_of(error: Exception) -> Problem:
    """The refusal in one of litellm's errors."""
    status = getattr(error, "status_code", None)
    code = getattr(error, "code", None)
    words = str(getattr(error, "message", None) or error)
    return Problem(
        status if isinstance(status, int) else 0,
        str(code or ""),
        str(getattr(error, "param", None) or ""),
        words[:SEARCHED],
    )


def translate(
    kinds: Any, error: Exception, redact: Callable[[str], str], where: str
) -> TeacherError | Stopped:
    """Our error for one of litellm's, by its class, most specific first; it says the provider's own
    words.
    """
    status = getattr(error, "status_code", None)
    named = (
        f"{type(error).__name__} (HTTP {status})"
        if status
        else type(error).__name__
    )
    message = f"{named}: {redact(str(error))}"[:300]
    stops = {
        kinds.AuthenticationError: "key",
        kinds.PermissionDeniedError: "key",
        kinds.NotFoundError: "model",
    }
    for kind, name in stops.items():
        if isinstance(error, kind):
            return Stopped(
                name, message + where if name == "model" else message
            )
    for kind, name in {
        kinds.ContextWindowExceededError: "context_length",
        kinds.ContentPolicyViolationError: "policy",
    }.items():
        if isinstance(error, kind):
            return TeacherRefused(name, message)
    if isinstance(error, kinds.RateLimitError):
        headers = (
            getattr(getattr(error, "response", None), "headers", None) or {}
        )
        if "insufficient_quota" in str(getattr(error, "code", "")):
            return Stopped("quota", message)
        return TeacherBusy(
            "rate_limit",
            message,
            retry_after=retry_after(headers),
            limited=True,
        )
    if isinstance(error, kinds.Timeout | TimeoutError):
        return TeacherBusy("timeout", message)
    if isinstance(
        error, kinds.BadRequestError | kinds.UnprocessableEntityError
    ):
        return TeacherRefused("bad_request", message)
    return TeacherBusy("provider", message)
