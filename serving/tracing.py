"""Traces by OpenTelemetry, sent to a collector over OTLP/HTTP; off unless `start` was given one.

A span without a sampled parent is not made, so a request that is not traced costs almost nothing.
Serve's own tracing is not used: for a request that it does not sample, each stage samples again,
which leaves traces that begin in the middle.
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

# An unreachable collector can delay the end of a replica by this much for each batch.
_EXPORT_SECONDS = 2
_propagator = TraceContextTextMapPropagator()
# This process is one replica of one stage, so one tracer will do.
_tracer: Tracer | None = None


def start(
    stage: str, settings: TracingSettings, *, export_seconds: float = _EXPORT_SECONDS
) -> Callable[[], None]:
    """Trace this process from now on, if the settings say so; returns a function that stops it.

    Args:
        export_seconds: how long sending one batch to the collector may take.
    """
    global _tracer
    if settings.endpoint is None:
        return lambda: None
    # These imports take half a second, which a process without traces need not spend.
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
    # Sends from its own thread; its queue drops spans that do not fit.
    exporter = OTLPSpanExporter(endpoint=url, timeout=export_seconds)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("serving")

    def stop() -> None:
        global _tracer
        _tracer = None
        provider.shutdown()

    return stop


@contextmanager
def request(headers: Mapping[str, str] | None) -> Iterator[Span]:
    """The span of a whole request, under the caller's own span if it sent a ``traceparent``.

    None is made without headers.
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
    """Record a span under the current one, for work that has just ended."""
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
    """The trace's id as the collector shows it; None when the span is not recorded."""
    return f"{traced.get_span_context().trace_id:032x}" if traced.is_recording() else None


def continued(name: str, carried: Mapping[str, str] | None) -> AbstractContextManager[Any]:
    """A span under the caller's, whose `carrier` came with the call."""
    if _tracer is None or not carried:
        return nullcontext()
    return _tracer.start_as_current_span(name, _propagator.extract(carried), SpanKind.SERVER)
