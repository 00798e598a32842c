"""Every other provider, through litellm, imported when the first request goes out."""

from __future__ import annotations

import importlib.util
import os
import re
from typing import Any

from synth.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused, WrongUse
from synth.records import Request
from synth.teachers._access import Redactor, check_url, secret
from synth.teachers.base import Reply, Settings, Teacher, load_reply, read_chat, retry_after

# Environment variables that may hold a key, by their names, and the length from which a value is one.
_KEYLIKE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)(_|$)")
_LEAST_KEY = 16


class Litellm(Teacher):
    """One model under litellm's name for it (`anthropic/...`, `gemini/...`, `groq/...`).

    Keys come from the environment variable that the provider documents, or from the one that the user names for the role.
    litellm's own retries, caches,
    budgets and network look-ups stay off: the door does that work, once.
    """

    family = "litellm"

    def __init__(self, model: str, settings: Settings) -> None:
        if importlib.util.find_spec("litellm") is None:
            raise WrongUse(f"--teacher {model}", "no litellm", "the litellm package", "pip install litellm")
        self.model, self._settings = model, settings
        if settings.api_base:
            check_url(settings.api_base, "--api-base")
        variable = settings.api_key_env
        self._key = secret(variable, "--api-key-env") if variable else None
        self._headers = {name: secret(held, f"--header {name}") for name, held in settings.headers.items()}
        self._redact = Redactor([*_keys_at_hand(), *([self._key] if self._key else []), *self._headers.values()])
        self._module: Any = None

    def __repr__(self) -> str:
        return f"Litellm({self.model!r})"

    @property
    def endpoint(self) -> str:
        """The base that the user names, else the provider's own."""
        return self._settings.api_base or "the provider's own endpoint"

    def _open(self) -> Any:
        if self._module is None:
            # Without this the import fetches a price table from the network, and waits where there is none.
            os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            os.environ.setdefault("LITELLM_LOG", "ERROR")
            # Otherwise older versions read a `.env` of the working folder, which may name hosts and keys.
            os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
            import litellm  # noqa: PLC0415 - 5 s of CPU

            litellm.suppress_debug_info = True
            litellm.telemetry = False
            self._module = litellm
        return self._module

    async def ask(self, request: Request) -> Reply:
        """One reply through litellm."""
        litellm = self._open()
        try:
            response = await litellm.acompletion(
                **request.body(),
                **self._reach(),
                timeout=self._settings.timeout,
                max_retries=0,
                num_retries=0,
            )
        except Exception as error:  # noqa: BLE001 - it becomes one of ours, unchained: litellm's own may quote the key
            failure = _translate(litellm.exceptions, error, self._redact)
        else:
            value, line = load_reply(self._redact.raw(response.model_dump_json().encode()))
            return Reply(line, read_chat(value))
        raise failure

    def _reach(self) -> dict[str, Any]:
        """What the user said about this provider's host; litellm's own values where nothing was said."""
        said = {"api_base": self._settings.api_base, "api_key": self._key, "extra_headers": self._headers}
        return {name: value for name, value in said.items() if value}


def _keys_at_hand() -> list[str]:
    """Values of variables that are named as keys are: which of them a provider's key is, litellm alone knows."""
    return [value for name, value in os.environ.items() if _KEYLIKE.search(name) and len(value) >= _LEAST_KEY]


def _translate(kinds: Any, error: Exception, redact: Redactor) -> TeacherError | Stopped:
    """Our error for one of litellm's, by its class, most specific first; it says the provider's own words."""
    status = getattr(error, "status_code", None)
    named = f"{type(error).__name__} (HTTP {status})" if status else type(error).__name__
    message = f"{named}: {redact(str(error))}"[:300]
    stops = {kinds.AuthenticationError: "key", kinds.PermissionDeniedError: "key", kinds.NotFoundError: "model"}
    for kind, name in stops.items():
        if isinstance(error, kind):
            return Stopped(name, message)
    for kind, name in {
        kinds.ContextWindowExceededError: "context_length",
        kinds.ContentPolicyViolationError: "policy",
    }.items():
        if isinstance(error, kind):
            return TeacherRefused(name, message)
    if isinstance(error, kinds.RateLimitError):
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        if "insufficient_quota" in str(getattr(error, "code", "")):
            return Stopped("quota", message)
        return TeacherBusy("rate_limit", message, retry_after=retry_after(headers), limited=True)
    if isinstance(error, kinds.Timeout | TimeoutError):
        return TeacherBusy("timeout", message)
    if isinstance(error, kinds.BadRequestError | kinds.UnprocessableEntityError):
        return TeacherRefused("bad_request", message)
    return TeacherBusy("provider", message)
