"""Traces by OpenTelemetry, sent to a collector over OTLP/HTTP; off unless `start` was given one.

A span that has no sampled parent is not made, so what is not traced costs a look at a variable.
Serve's own tracing is not used: where it does not sample a request, each stage draws lots anew, and
leaves traces that begin in the middle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serving import __version__
from serving.settings import TracingSettings

# Also what an unreachable collector can hold up the end of a replica by, for each batch.
_EXPORT_SECONDS = 2
_propagator = TraceContextTextMapPropagator()
# Of this process, which is one replica of one stage.
_tracer: Tracer | None = None


def start(stage: str, settings: TracingSettings) -> Callable[[], None]:
    """Trace this process from now on, if the settings say so; returns what ends it."""
    global _tracer
    if settings.endpoint is None:
        return lambda: None
    # Half a second of importing that a process without traces need not spend.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    resource = Resource.create(
        {
            "service.name": f"faces-{stage}",
            "service.namespace": "faces",
            "service.version": __version__,
        }
    )
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.sample_ratio), resource=resource
    )
    url = f"{settings.endpoint.rstrip('/')}/v1/traces"
    # Sends from a thread of its own, out of a queue that drops what does not fit.
    exporter = OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("serving")

    def stop() -> None:
        global _tracer
        _tracer = None
        provider.shutdown()

    return stop


@contextmanager
def request(headers: Mapping[str, str] | None) -> Iterator[Span]:
    """The span of a whole request, under the caller's own if he sent a ``traceparent``.

    Without headers there is none.
    """
    if _tracer is None or headers is None:
        yield trace.INVALID_SPAN
        return
    context = _propagator.extract(headers)
    with _tracer.start_as_current_span("request", context, SpanKind.SERVER) as span:
        yield span


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A span under the current one."""
    if _tracer is None or not trace.get_current_span().is_recording():
        return nullcontext()
    return _tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def ended(name: str, seconds: float, *, failed: bool, **attributes: str | int) -> None:
    """A span under the current one, of something that has just ended."""
    if _tracer is None or not trace.get_current_span().is_recording():
        return
    now = time.time_ns()
    done = _tracer.start_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, start_time=now - int(seconds * 1e9)
    )
    if failed:
        done.set_status(StatusCode.ERROR)
    done.end(now)


def carrier() -> dict[str, str]:
    """The current span as W3C headers; empty when there is none."""
    headers: dict[str, str] = {}
    if _tracer is not None and trace.get_current_span().is_recording():
        _propagator.inject(headers)
    return headers


def trace_id_of(traced: Span) -> str | None:
    """As the collector has it, or None when the span is not recorded."""
    return f"{traced.get_span_context().trace_id:032x}" if traced.is_recording() else None


def continued(name: str, carried: Mapping[str, str] | None) -> AbstractContextManager[Any]:
    """A span under the caller's, which `carrier` brought from there."""
    if _tracer is None or not carried:
        return nullcontext()
    return _tracer.start_as_current_span(name, _propagator.extract(carried), SpanKind.SERVER)
