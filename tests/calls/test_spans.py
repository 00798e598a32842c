"""Spans as a collector gets them: one a call, under that of the run, without a word of what was said."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiohttp import web

import synth
from synth.core import optional
from synth.core.errors import WrongUse
from tests.conftest import chat, serving

proto = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
)
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def collector():
    """(URL, the bodies that came) of a collector."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words):
            pass

        def do_POST(self):
            size = int(self.headers["Content-Length"])
            bodies.append(
                (
                    self.path,
                    self.headers.get("Content-Encoding"),
                    self.rfile.read(size),
                )
            )
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


def spans_in(bodies):
    spans = []
    for path, packed, body in bodies:
        assert path == "/v1/traces"
        assert packed is None
        request = proto.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                spans += scope.spans
    return spans


def value(any_value):
    kind = any_value.WhichOneof("value")
    held = getattr(any_value, kind)
    return (
        [value(one) for one in held.values] if kind == "array_value" else held
    )


def facts(span):
    return {item.key: value(item.value) for item in span.attributes}


def asked(tmp_path, url, **more):
    return synth.run(
        "sequence_kd",
        [{"question": f"secretword {n}?"} for n in range(20)],
        teacher="openai/m",
        api_base=url,
        output=tmp_path / "run",
        trace=True,
        **more,
    )


def test_a_collector_gets_a_span_of_each_call(tmp_path, monkeypatch):
    def answer(body, number):
        if number == 3:
            return web.Response(status=500)
        return chat("whisperedreply")

    with collector() as (url, bodies), serving(answer) as server:
        monkeypatch.setenv(ENDPOINT, url)
        run = asked(tmp_path, server.url)
        calls = len(server.bodies)
    assert run.counts["kept"] == 20
    assert calls == 21
    spans = spans_in(bodies)
    (root,) = [span for span in spans if not span.parent_span_id]
    assert root.name == "synth run sequence_kd"
    assert facts(root)["synth.pack"] == "sequence_kd"
    chats = [span for span in spans if span.name == "chat m"]
    assert len(chats) == calls == len(spans) - 1
    assert {span.parent_span_id for span in chats} == {root.span_id}
    assert {span.kind for span in chats} == {3}  # a client
    fine = [facts(span) for span in chats if not span.status.code]
    (failed,) = [facts(span) for span in chats if span.status.code]
    assert failed["error.type"] == "http_500"
    assert len(fine) == 20
    sums = run.info["steps"]["answer"]
    for name, column in (
        ("gen_ai.usage.input_tokens", "prompt_tokens"),
        ("gen_ai.usage.output_tokens", "completion_tokens"),
    ):
        assert sum(one[name] for one in fine) == sums[column]
    assert fine[0]["gen_ai.response.finish_reasons"] == ["stop"]
    assert fine[0]["gen_ai.provider.name"] == "openai"
    assert fine[0]["synth.step"] == "answer"
    said = b"".join(body for _, _, body in bodies)
    assert b"secretword" not in said
    assert b"whisperedreply" not in said
    # What is finished asks nothing, and says nothing.
    assert asked(tmp_path, server.url).counts["kept"] == 20


def test_a_collector_that_is_away_costs_no_row(tmp_path, monkeypatch):
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    start = time.monotonic()
    with serving(lambda body, number: chat("x")) as server:
        assert asked(tmp_path, server.url).counts["kept"] == 20
    assert time.monotonic() - start < 60


def test_a_program_that_traces_gets_the_spans_in_its_own_way(
    tmp_path, monkeypatch
):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
        InMemorySpanExporter,
    )

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with (
        serving(lambda body, number: chat("x")) as server,
        provider.get_tracer("mine").start_as_current_span("my work") as mine,
    ):
        asked(tmp_path, server.url)
    names = [span.name for span in memory.get_finished_spans()]
    assert names.count("chat m") == 20
    run = next(
        span
        for span in memory.get_finished_spans()
        if span.name.startswith("synth run")
    )
    assert run.parent.span_id == mine.get_span_context().span_id


def test_without_the_package_nothing_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    with serving(lambda body, number: chat("x")) as server:
        with pytest.raises(WrongUse, match=r"potstill\[trace\]"):
            asked(tmp_path, server.url)
        assert server.bodies == []
