"""Spans of a run and of its calls for OpenTelemetry, where `--trace` asks for them.

Names follow the semantic conventions for generative AI (client inference spans). No span holds a
word of a prompt or of a reply. Where they go is said by OpenTelemetry's own variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT; a program that set up tracing itself gets them in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from synth.core.errors import TeacherError
from synth.core.optional import optional
from synth.core.records import Completion, Request

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Attributes = Mapping[str, str | int | float | list[str]]
# Milliseconds that the last spans of a run may take to leave.
_FLUSH = 5000


class Spans:
    """What a run says of itself to OpenTelemetry.

    Args:
        tracer: makes spans.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def call(self, request: Request) -> Iterator[Call]:
        """The span of one call; an error that leaves the block is noted by its kind."""
        with self._tracer.start_as_current_span(
            f"chat {request.model}",
            kind=_trace().SpanKind.CLIENT,
            attributes=_asked(request),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield Call(span)
            except BaseException as error:
                kind = type(error).__name__
                if isinstance(error, TeacherError):
                    kind = error.kind
                span.set_attribute("error.type", kind)
                span.set_status(_trace().StatusCode.ERROR)
                raise


class Call:
    """The span of a call that is under way."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def replied(self, completion: Completion) -> None:
        """Notes what came back."""
        said: dict[str, str | int | list[str]] = {
            "gen_ai.response.finish_reasons": [completion.finish_reason],
            "gen_ai.usage.input_tokens": completion.prompt_tokens,
            "gen_ai.usage.output_tokens": completion.completion_tokens,
        }
        if completion.model:
            said["gen_ai.response.model"] = completion.model
        self._span.set_attributes(said)


def _asked(request: Request) -> Attributes:
    """What a span says of a request."""
    sampling = request.sampling
    values = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": request.family,
        "gen_ai.request.model": request.model,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "synth.step": request.step,
        "synth.seed_id": request.seed_id,
        "synth.draw": request.draw,
    }
    return {name: value for name, value in values.items() if value is not None}


def tracing(
    pack: str,
    output: str,
    *,
    is_wanted: bool,
) -> AbstractContextManager[Spans | None]:
    """The spans of a run while it lasts, below one of its own; None where nobody wants them.

    Raises:
        WrongUse: OpenTelemetry is not installed.
    """
    return _traced(pack, output) if is_wanted else nullcontext()


@contextmanager
def _traced(pack: str, output: str) -> Iterator[Spans]:
    provider, is_ours = _provider()
    tracer = provider.get_tracer("potstill")
    facts = {"synth.pack": pack, "synth.output": output}
    try:
        with tracer.start_as_current_span(
            f"synth run {pack}", attributes=facts
        ):
            yield Spans(tracer)
    finally:
        if is_ours:
            provider.force_flush(_FLUSH)
            provider.shutdown()


def check_tracing() -> None:
    """Raises WrongUse where OpenTelemetry is not installed."""
    _trace()
    _sdk()


def _trace() -> Any:
    return optional("opentelemetry.trace", "trace", "--trace")


def _sdk() -> tuple[Any, Any, Any, Any]:
    """Modules of the SDK: providers, exporters, resources, and OTLP over HTTP."""
    names = ("sdk.trace", "sdk.trace.export", "sdk.resources")
    http = "exporter.otlp.proto.http.trace_exporter"
    first, second, third, fourth = (
        optional(f"opentelemetry.{name}", "trace", "--trace")
        for name in (*names, http)
    )
    return first, second, third, fourth


def _provider() -> tuple[Any, bool]:
    """What makes tracers, and whether it is made here: a program may have set up its own."""
    trace, export, resources, http = _sdk()
    given = _trace().get_tracer_provider()
    if isinstance(given, trace.TracerProvider):
        return given, False
    resource = resources.Resource.create({"service.name": "synth"})
    provider = trace.TracerProvider(resource=resource)
    exporter = http.OTLPSpanExporter()
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    return provider, True
