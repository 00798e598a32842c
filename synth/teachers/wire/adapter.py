"""What a model does not take, and how the same question is put without it.

A refusal teaches once, litellm's table of models teaches ahead of time, and what was learned is
noted beside the journal, so that a later run does not try again. Only what cannot change what a row
means is adapted. A request's key stays that of the request as the pack says it.

| refused | how it is asked then |
|---|---|
| `max_tokens`, `max_completion_tokens` | under the other name; the bound stays |
| system and developer messages | their text stands in front of the next user message |
| temperature, top_p, top_k, min_p, penalties, seed | without it: the model's own way to draw |
| `temperature` beside `top_p` | without `top_p` |
| `stop` | without it; the reply is cut here, before it is journaled |
| `n` | without it: the first reply is the one that counts anyway |
| `reasoning_effort`, not just its value | without it: the model does not think, or as it likes |
| replies in one piece | as a stream, joined here |
| a JSON Schema that whoever asks checks himself | told in the question |
| anything else: response_format, logprobs, tools | not: the run stops and says what to do |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from synth.core.errors import Stopped
from synth.core.patterns import lazy_pattern
from synth.core.records import Fields, Request, Row, Values
from synth.teachers.wire.faults import Problem
from synth.teachers.wire.forms import FORM_FIELDS, in_the_question
from synth.teachers.wire.model_table import model_entry
from synth.teachers.wire.thoughts import THOUGHTS

FILE = "adapted.json"
# Refusals of one request that teach something; more of them than there are rules would be a circle.
MOST_LESSONS = 12
# Fields that only shape how a model draws.
_DRAWING = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "top_a",
        "min_p",
        "typical_p",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "repeat_penalty",
        "seed",
        "random_seed",
    }
)
_DROPPED = _DRAWING | {"n", "reasoning_effort", "stream_options", "stop"}
_RENAMED = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
# Rules that are no field's name.
SYSTEM = "system messages"
STREAM = "replies in one piece"
BOTH = "top_p beside temperature"
FORM = "JSON Schemas"
_ROLES = ("system", "developer")

_CODES = lazy_pattern(
    r"unsupported|unknown|unrecognized|forbidden|unexpected", re.IGNORECASE
)
_REFUSED = lazy_pattern(
    r"unsupported|not(?: currently)? support|n't support|cannot be (?:set|used|specified)"
    r"|does not (?:accept|allow)"
    r"|(?:not|isn't)(?: currently)? (?:be )?(?:allowed|permitted|enabled|available|accepted"
    r"|implemented|recognized|compatible)"
    r"|(?:unknown|unrecognized|unexpected|extra|extraneous|invalid) (?:request )?"
    r"(?:parameter|field|name|argument|keyword|input|key|propert)"
    r"|deprecated|no longer|additional propert|not expected",
    re.IGNORECASE,
)
# A value that is the only one: the field is as good as refused.
_ONLY_ONE = lazy_pattern(
    r"only the default|only (?:\w+\s?=\s?)?[\d.]+ is (?:allowed|supported)|only be set to|(?:must"
    r"|or) be unset|or unset|must be 1\b",
    re.IGNORECASE,
)
# A value out of range: the pack says what nobody can do, and another value would be another
# question.
_RANGE = lazy_pattern(
    r"must be|between|at most|at least|less than|greater than|\brange\b|maximum|minimum"
    r"|too (?:large|small|high|low|long|many)"
    r"|above|below|exceed|supported values",
    re.IGNORECASE,
)
_SYSTEM = lazy_pattern(
    r"\b(?:system|developer)\b.{0,30}\b(?:role|message|prompt|instruction)"
    r"|\brole\b.{0,30}\b(?:system|developer)\b"
    r"|messages\[\d+\]\.role|only user and assistant roles",
    re.IGNORECASE | re.DOTALL,
)
_NO_SYSTEM = lazy_pattern(
    r"unexpected role|invalid role|only user and assistant roles", re.IGNORECASE
)
_ALTERNATE = lazy_pattern(
    r"(?<!optional system message, )conversation roles must alternate",
    re.IGNORECASE,
)
_STREAM = lazy_pattern(
    r"only supports? stream|stream(?:ing)?(?: mode)?['\"`]? (?:must|is required|parameter must"
    r"|needs to)|requires? stream"
    r"|must (?:be )?(?:use |set |enable )?['\"`]?stream|non-?stream|enable the stream"
    r"|set ['\"`]?stream['\"`]? ?(?:=|to) ?true"
    r"|streaming is (?:required|mandatory|strongly)|only (?:available|allowed|works?) (?:with|in"
    r"|for) stream",
    re.IGNORECASE,
)
_BOTH = lazy_pattern(
    r"temperature\W+(?:and|or)\W+top_?p\W.{0,20}(?:both|together|not)"
    r"|(?:both|either).{0,10}temperature\W+(?:and|or)\W+top_?p",
    re.IGNORECASE,
)
_VALUES = lazy_pattern(r"supported values|one of|must be one", re.IGNORECASE)
# Names under which providers speak of a field.
_ALSO = {
    "presence_penalty": r"penalty is not",
    "frequency_penalty": r"penalty is not",
    "response_format": r"json[ _]?(?:mode|schema|object)|structured outputs?|response_?schema",
    "tools": r"function calling|tool use|tool calling",
    "stop": r"stop[ _]?sequences?",
    "top_logprobs": r"logprobs",
    "reasoning_effort": r"reasoning[._]effort|thinking",
}
# Names that are also words: they count where they stand as a name.
_WORDS = frozenset(
    {
        "n",
        "stop",
        "seed",
        "tools",
        "user",
        "store",
        "stream",
        "model",
        "messages",
        "regex",
    }
)
_SPEAKS_OF_FORM = lazy_pattern(
    r"schema|grammar|response[_ ]?format|structured|json[ _]?mode",
    re.IGNORECASE,
)
_SENTENCE = lazy_pattern(r"(?<=[.;!?])\s+|\n")


def refused_by(problem: Problem, body: Values) -> str:
    """What of a request a refusal names: a field, one of the rules above, or "" where it names
    nothing.

    >>> body = {"messages": [], "max_tokens": 9, "temperature": 0.7}
    >>> refused_by(
    ...     Problem(400, "unsupported_parameter", "max_tokens", "Unsupported parameter"), body
    ... )
    'max_tokens'
    >>> refused_by(Problem(400, "", "", "`temperature` must be between 0 and 1"), body)
    ''
    """
    words = problem.message
    if (
        problem.status in (400, 404, 405, 406, 415, 422, 501)
        and "stream" not in body
        and _STREAM.search(words)
    ):
        return STREAM
    if problem.status not in (400, 422):
        return ""
    if _has_system(body) and _names_system(problem):
        return SYSTEM
    if {"temperature", "top_p"} <= body.keys() and _BOTH.search(words):
        return BOTH
    return _named_as_field(problem, body) or _named_in_words(words, body)


def _refuses_form(problem: Problem, body: Values) -> bool:
    """Whether a refusal speaks of the form that a body asks for."""
    if problem.status not in (400, 404, 422, 501):
        return False
    asked = any(name in body for name in FORM_FIELDS)
    words = f"{problem.code} {problem.field} {problem.message}"
    return asked and _SPEAKS_OF_FORM.search(words) is not None


def _named_as_field(problem: Problem, body: Values) -> str:
    """The field that a refusal names as such, where it refuses the field and not its value."""
    named = re.split(r"[.\[]", problem.field)[0]
    if named not in body or named == "messages":
        return ""
    sure = _CODES.search(problem.code) and not _VALUES.search(problem.message)
    return named if sure or _says_no(problem.message) else ""


def _named_in_words(words: str, body: Values) -> str:
    """The field that a sentence of a refusal names and refuses."""
    for sentence in _SENTENCE.split(words):
        if _says_no(sentence) and (field := _first_named(sentence, body)):
            return field
    return ""


def _says_no(sentence: str) -> bool:
    if _ONLY_ONE.search(sentence):
        return True
    return (
        _REFUSED.search(sentence) is not None
        and _RANGE.search(sentence) is None
    )


def _has_system(body: Values) -> bool:
    return any(message.get("role") in _ROLES for message in body["messages"])


def _names_system(problem: Problem) -> bool:
    words = f"{problem.field} {problem.message}"
    if _ALTERNATE.search(words):
        return True
    return _SYSTEM.search(words) is not None and bool(
        _NO_SYSTEM.search(words) or _says_no(words)
    )


def _first_named(sentence: str, body: Values) -> str:
    """The field of the request that a sentence names first."""
    places = {}
    for name in body:
        match = _named(name).search(sentence)
        if match and name not in ("model", "messages"):
            places[name] = match.start()
    return min(places, key=lambda name: places[name], default="")


def _named(name: str) -> re.Pattern[str]:
    """A field's name in a sentence: in snake or camel case, and as a name where it is also a
    word.
    """
    spelt = name.replace("_", "_?")
    if name in _WORDS:
        spelt = (
            rf"['\"`\[]{spelt}['\"`\]]|(?:parameters?|arguments?|fields?|supplied"
            rf"|model): ?\[?{spelt}\b|^{spelt}(?=:)"
        )
        spelt += rf"|parameters? {spelt}\b"
    else:
        spelt = rf"(?<![a-z0-9_]){spelt}(?![a-z0-9_])"
    also = _ALSO.get(name)
    return re.compile(f"{spelt}|{also}" if also else spelt, re.IGNORECASE)


class Adapter:
    """What one model at one endpoint does not take.

    Args:
        model: the provider's name of it, as litellm's table spells it.
        where: the endpoint, without secrets.
        folder: the journal's; None remembers nothing.
        say: tells the user, once for each rule.
        streams: whether replies may come as streams (in a batch they cannot).

    Attributes:
        rules: rule -> why: the provider's words, or the table.
    """

    def __init__(
        self,
        model: str,
        where: str,
        folder: Path | None,
        say: Callable[[str], None],
        *,
        streams: bool = True,
    ) -> None:
        self._name = f"{model} at {where}"
        self._path = folder / FILE if folder else None
        self._notify = say
        self._model = model
        self._noted: dict[str, str] = dict(
            _read(self._path).get(self._name, {})
        )
        self._ahead = dict.fromkeys(
            unsupported_fields(model), "litellm's table of models"
        )
        self._streams = streams
        self.rules = {
            rule: why
            for rule, why in {**self._ahead, **self._noted}.items()
            if streams or rule != STREAM
        }
        self._announced: set[str] = set()

    @property
    def noted(self) -> Mapping[str, str]:
        """The rules that requests of this journal met, with why."""
        return self._noted

    def fit(self, body: Fields, schema: Row | None = None) -> Fields:
        """A request's body as this model takes it.

        Args:
            body: as the pack and the server's own fields have it.
            schema: what whoever asks checks himself, `Request.schema`.
        """
        if not self.rules:
            return body
        out = dict(body)
        for rule in self.rules:
            if rule == FORM:
                applied = schema is not None
                out = in_the_question(out, schema) if schema else out
            else:
                applied = _apply(rule, out)
            if applied and rule not in self._announced:
                self._note(rule)
        return out

    def learn(
        self,
        problem: Problem,
        sent: Values,
        request: Request,
        scrub: Callable[[str], str],
    ) -> bool:
        """Takes a lesson from a refusal; whether the request is to be sent again, without what was
        refused.

        Args:
            problem: the refusal.
            sent: the body that was refused.
            request: as the pack says it.
            scrub: takes keys out of texts.

        Raises:
            Stopped: a field was refused without which the rows would be others.
        """
        rule = refused_by(problem, sent)
        if request.schema and _refuses_form(problem, sent):
            rule = FORM
        if not rule or (rule == STREAM and not self._streams):
            return False
        words = problem.text(scrub)
        back = _RENAMED.get(rule)
        if (
            back in self._ahead
            and back in self.rules
            and rule not in request.body()
        ):
            # The table was wrong about this server.
            del self.rules[back]
            return True
        if not _adaptable(rule, sent) or (back and back in self.rules):
            raise Stopped(
                "unsupported",
                f"{self._model} takes no {rule}: {words}. {_todo(rule, request)}",
            )
        self.rules.setdefault(rule, words)
        return True

    def mend(self, value: Fields, request: Request) -> bool:
        """Does to a reply what the model was not asked to do; whether that changed it."""
        stops = request.body().get("stop") if "stop" in self.rules else None
        return bool(stops) and cut(
            value, [stops] if isinstance(stops, str) else stops
        )

    def _note(self, rule: str) -> None:
        """Says and writes down that a rule applies."""
        self._announced.add(rule)
        why = self.rules[rule]
        self._notify(
            f"{self._model}: {_HOW.get(rule) or f'asked without {rule}'} ({why})"
        )
        if self._noted.get(rule) == why:
            return
        self._noted[rule] = why
        if self._path is not None:
            _write(
                self._path, {**_read(self._path), self._name: dict(self._noted)}
            )


_HOW = {
    "max_tokens": "asked with max_completion_tokens in the place of max_tokens",
    "max_completion_tokens": "asked with max_tokens in the place of max_completion_tokens",
    "stop": "asked without stop; replies are cut at the stop texts here",
    SYSTEM: "system messages stand in front of the user's message",
    STREAM: "replies come as streams and are joined here",
    BOTH: "asked without top_p, which it does not take beside temperature",
    FORM: "JSON Schemas are told in the question",
}


def _adaptable(rule: str, sent: Values) -> bool:
    if rule == "stop":
        # Log-probabilities would go on behind the cut.
        return not sent.get("logprobs")
    if rule == "tool_choice":
        # Who may call no more is asked without it, too: a call is not answered then.
        return sent.get(rule) == "none"
    return rule in _HOW or rule in _DROPPED


def _todo(rule: str, request: Request) -> str:
    step = request.step or "STEP"
    is_of_step = rule in ("response_format", "tools")
    path = rule if is_of_step else f"sampling.{rule}"
    if rule in THOUGHTS and request.sampling.thinks:
        path = "reasoning"
    return f"Ask without it, --set {step}.{path}=null, or ask another model"


def _apply(rule: str, body: Fields) -> bool:
    """Applies a rule to a body; whether it changed anything."""
    if rule in _RENAMED:
        if rule not in body:
            return False
        value = body.pop(rule)
        body.setdefault(_RENAMED[rule], value)
        return True
    if rule == SYSTEM:
        if not _has_system(body):
            return False
        body["messages"] = merged(body["messages"])
        return True
    if rule == STREAM:
        body.update(stream=True, stream_options={"include_usage": True})
        return True
    if rule == BOTH:
        return "temperature" in body and body.pop("top_p", None) is not None
    return body.pop(rule, None) is not None


def merged(messages: list[Values]) -> list[Values]:
    r"""Messages without system roles: their texts stand in front of the next user message.

    >>> merged(
    ...     [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    ... )
    [{'role': 'user', 'content': 'Be brief.\n\nWhy?'}]
    """
    out: list[Values] = []
    waiting: list[str] = []
    for message in messages:
        if message.get("role") in _ROLES:
            waiting.append(str(message.get("content") or ""))
        elif message.get("role") == "user" and waiting:
            out.append(
                {
                    **message,
                    "content": _in_front(waiting, message.get("content")),
                }
            )
            waiting = []
        else:
            out.append(message)
    if waiting:
        return [*out, {"role": "user", "content": "\n\n".join(waiting)}]
    return out


def _in_front(texts: list[str], content: Any) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": "\n\n".join([*texts, ""])}, *content]
    return "\n\n".join([*texts, str(content)])


def cut(value: Fields, stops: Any) -> bool:
    """Cuts the texts of a chat reply before the first of the stop texts; whether anything was
    cut.
    """
    changed = False
    for choice in value.get("choices") or []:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict) or not isinstance(
            message.get("content"), str
        ):
            continue
        text = message["content"]
        at = min(
            (at for stop in stops if stop and (at := text.find(stop)) >= 0),
            default=None,
        )
        if at is not None:
            message["content"], choice["finish_reason"] = text[:at], "stop"
            changed = True
    return changed


def unsupported_fields(model: str) -> list[str]:
    """What litellm's table of models says that a model does not take.

    OpenAI's thinking models take `max_completion_tokens` alone; where their thinking cannot be
    switched off, they also take no temperature but 1.
    """
    name = model.removeprefix("openai/")
    if name.startswith("ft:"):
        name = ":".join(name.split(":")[:2])
    entry = model_entry(name)
    fields = []
    if entry.get("litellm_provider") in ("openai", "azure") and entry.get(
        "supports_reasoning"
    ):
        fields.append("max_tokens")
        if (
            not entry.get("supports_none_reasoning_effort")
            and "chat" not in name
        ):
            fields.append("temperature")
    if entry.get("supports_sampling_params") is False:
        fields += ["temperature", "top_p", "top_k"]
    if entry.get("supports_system_messages") is False:
        fields.append(SYSTEM)
    return fields


def _read(path: Path | None) -> dict[str, dict[str, str]]:
    """What earlier runs learned; a file that nobody can read says nothing."""
    try:
        value = orjson.loads(path.read_bytes()) if path else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {
        name: rules
        for name, rules in value.items()
        if isinstance(rules, dict) and all(map(_is_rule, rules))
    }


def _is_rule(name: str) -> bool:
    return name in _HOW or name in _DROPPED


def _write(path: Path, value: Values) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")
    draft.replace(path)
