"""Every other provider, through litellm, imported when the first request goes out."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from synth.errors import Stopped, TeacherBusy, TeacherError, TeacherRefused, WrongUse
from synth.records import Request
from synth.teachers.base import Reply, Settings, Teacher, load_reply, read_chat, retry_after


class Litellm(Teacher):
    """One model under litellm's name for it (`anthropic/...`, `gemini/...`, `groq/...`).

    Keys come from the environment variable that the provider documents. litellm's own retries, caches,
    budgets and network look-ups stay off: the door does that work, once.
    """

    family = "litellm"

    def __init__(self, model: str, settings: Settings) -> None:
        if importlib.util.find_spec("litellm") is None:
            raise WrongUse(f"--teacher {model}", "no litellm", "the litellm package", "pip install litellm")
        self.model, self._settings = model, settings
        self._module: Any = None

    def __repr__(self) -> str:
        return f"Litellm({self.model!r})"

    def _open(self) -> Any:
        if self._module is None:
            # Without this the import fetches a price table from the network, and waits where there is none.
            os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
            os.environ.setdefault("LITELLM_LOG", "ERROR")
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
                api_base=self._settings.api_base,
                timeout=self._settings.timeout,
                max_retries=0,
                num_retries=0,
            )
        except Exception as error:
            raise _translate(litellm.exceptions, error) from error
        value, line = load_reply(response.model_dump_json().encode())
        return Reply(line, read_chat(value))


def _translate(kinds: Any, error: Exception) -> TeacherError | Stopped:
    """Our error for one of litellm's, by its class, most specific first."""
    text = f"{type(error).__name__}"
    status = getattr(error, "status_code", None)
    message = f"{text} (HTTP {status})" if status else text
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
