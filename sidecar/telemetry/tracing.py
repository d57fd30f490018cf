"""Spans with OpenTelemetry's GenAI names, and W3C trace context in and out.

A call is told once, when it has ended: a span for the call and one per stage, with the times it really took. That is
possible because ids are not minted by the SDK but follow from the decision id (32 hex digits, 80 of its bits random): the
trace id is the caller's or the decision's own, the span id its last 16 digits. So the `traceparent` that goes upstream is
known before any span exists, and with no `telemetry.otlp` nothing of OpenTelemetry is imported.

See https://www.w3.org/TR/trace-context-1/ and the OpenTelemetry semantic conventions for generative AI.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from sidecar.call import Call
    from sidecar.config.documents import Telemetry
    from sidecar.decision import Decision
    from sidecar.telemetry.metrics import Account

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z", re.ASCII)
DIGITS = re.compile(r"[0-9a-f]{32}\Z")
SAMPLED = 1
PROVIDERS: Mapping[str, str] = {"openai": "openai", "anthropic": "anthropic", "gemini": "gcp.gemini"}
"""The conventions' well-known `gen_ai.provider.name`, by the start of a dialect's name."""
OPERATIONS: Mapping[str, str] = {"openai_completions": "text_completion", "gemini": "generate_content"}
"""`gen_ai.operation.name` where it is not our own operation, by dialect."""

Context = tuple[str, str, str]


def parse(header: str) -> Context | None:
    """(trace id, parent span id, flags) of a `traceparent` header, or None: an invalid one is ignored, as W3C asks."""
    found = TRACEPARENT.match(header.strip(" \t"))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace == "0" * 32 or span == "0" * 16:
        return None
    return trace, span, flags


def format(trace: str, span: str, sampled: bool) -> str:
    """A `traceparent` of version 00."""
    return f"00-{trace}-{span}-{'01' if sampled else '00'}"


def span_id(decision: str) -> str:
    """The id of a call's span: the last 16 digits of its decision id, which are random."""
    return _digits(decision)[-16:]


def trace_id(call: Call) -> str:
    """The caller's trace, or one of the call's own."""
    return call.trace[0] if call.trace is not None else _digits(call.id)


def sampled(call: Call, share: float) -> bool:
    """The caller's own choice where it made one, else a share of all calls by the random half of the trace id."""
    if call.trace is not None:
        return bool(int(call.trace[2], 16) & SAMPLED)
    return int(span_id(call.id), 16) < round(share * 2**64)


def _digits(id: str) -> str:
    """The 32 hex digits of a decision id; of an id that has none, its hash."""
    digits = id[-32:]
    return digits if DIGITS.match(digits) else hashlib.sha256(id.encode()).hexdigest()[:32]


def outgoing(telemetry: Telemetry) -> Callable[[Call], str]:
    """What to send upstream as `traceparent`. Without tracing the caller's own goes on as it came, since no span of ours stands between."""
    if telemetry.otlp:
        return lambda call: format(trace_id(call), span_id(call.id), sampled(call, telemetry.sample))
    return _passed_on


def _passed_on(call: Call) -> str:
    if call.trace is not None:
        return format(call.trace[0], call.trace[1], sampled(call, 0))
    digits = _digits(call.id)
    return f"00-{digits}-{digits[-16:]}-00"


class Tracer(Protocol):
    """Told of every call when it has ended."""

    def finished(self, decision: Decision, *, status: int, settlement: Account | None, nanoseconds: int) -> None:
        """One call: its HTTP status, what served it, and its time from first to last byte."""
        ...

    def close(self) -> None:
        """Send what is held. Blocks for a moment."""
        ...


class NullTracer:
    """No tracing, at no cost."""

    def finished(self, decision: Decision, *, status: int, settlement: Account | None, nanoseconds: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def open_tracer(telemetry: Telemetry) -> Tracer:
    """The tracer that Settings ask for."""
    if not telemetry.otlp:
        return NullTracer()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  (200 ms and 15 MiB only where configured)

    return SpanTracer(OTLPSpanExporter(endpoint=endpoint(telemetry.otlp)), share=telemetry.sample)


def endpoint(url: str) -> str:
    """The traces URL under an OTLP/HTTP base URL, as OTEL_EXPORTER_OTLP_ENDPOINT would have it."""
    return url if url.endswith("/v1/traces") else f"{url.rstrip('/')}/v1/traces"


class SpanTracer:
    """Spans to an exporter, in batches and on a thread of the SDK. `clock` gives Unix nanoseconds."""

    def __init__(self, exporter: SpanExporter, *, share: float = 1.0, batch: bool = True, clock: Callable[[], int] = time.time_ns) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  (see the module's docstring)
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415

        self._share = share
        self._clock = clock
        self._ids = _ids()
        self._provider = _provider(Resource.create({"service.name": "sidecar"}), self._ids)
        self._provider.add_span_processor(BatchSpanProcessor(exporter) if batch else SimpleSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sidecar")

    def finished(self, decision: Decision, *, status: int, settlement: Account | None, nanoseconds: int) -> None:
        """One span for the call with one below it for each stage, in the order they ran."""
        if not sampled(decision.call, self._share):
            return
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415

        call, end = decision.call, self._clock()
        start = end - nanoseconds
        self._ids.next = (int(trace_id(call), 16), int(span_id(decision.id), 16))
        name = f"{operation(call)} {call.target}"
        span = self._tracer.start_span(name, _parent(call), SpanKind.CLIENT, attributes(decision, status, settlement), start_time=start)
        below = set_span_in_context(span)
        for stage, took in decision.timings:
            self._tracer.start_span(stage, below, start_time=start).end(start + took)
            start += took
        if status >= 400:
            span.set_status(StatusCode.ERROR)
        span.end(end)

    def close(self) -> None:
        """Send what is held."""
        self._provider.shutdown()


def operation(call: Call) -> str:
    """`gen_ai.operation.name` of a call."""
    return next((name for dialect, name in OPERATIONS.items() if call.operation == "chat" and call.dialect.startswith(dialect)), call.operation)


def attributes(decision: Decision, status: int, settlement: Account | None) -> dict[str, Any]:
    """Of the call's span: names, counts and outcome, never content."""
    call = decision.call
    provider = next((name for start, name in PROVIDERS.items() if call.dialect.startswith(start)), "")
    shown: dict[str, Any] = {
        "gen_ai.operation.name": operation(call),
        "gen_ai.provider.name": provider or call.dialect,
        "gen_ai.request.model": call.target,
        "http.response.status_code": status,
        "sidecar.decision.id": decision.id,
        "sidecar.effect": decision.effect,
        "sidecar.rule": decision.by[0] if decision.by else "",
    }
    if settlement is not None:
        shown |= _served(settlement)
    if decision.refusal is not None:
        shown["error.type"] = decision.refusal.code
    elif status >= 400:
        shown["error.type"] = str(status)
    return shown


def _served(settlement: Account) -> dict[str, Any]:
    """Who answered and what it used: the model that served, not the one that was asked."""
    shown: dict[str, Any] = {}
    if settlement.model:
        shown |= {"gen_ai.response.model": settlement.model, "sidecar.upstream": settlement.upstream}
    if settlement.usage is not None:
        shown["gen_ai.usage.input_tokens"] = settlement.usage.input_tokens
        shown["gen_ai.usage.output_tokens"] = settlement.usage.output_tokens
    if settlement.finish:
        shown["gen_ai.response.finish_reasons"] = settlement.finish
    if settlement.cost is not None:
        shown["sidecar.cost_usd"] = settlement.cost
    return shown


# ---------------------------------------------------------------- the SDK


class Ids(Protocol):
    """An id generator whose next root ids can be set."""

    next: tuple[int, int] | None


def _provider(resource: Any, ids: Any) -> TracerProvider:
    """A provider that samples all it is given (`finished` has chosen) and leaves the process-wide one alone."""
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    return TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=ids, shutdown_on_exit=False)


def _ids() -> Ids:
    """Random ids, but for the one span that `next` names as (trace id, span id)."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

    class FromDecision(RandomIdGenerator):
        next: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return self.next[0] if self.next else super().generate_trace_id()

        def generate_span_id(self) -> int:
            if self.next is None:
                return super().generate_span_id()
            span, self.next = self.next[1], None
            return span

    return FromDecision()


def _parent(call: Call) -> Any:
    """The caller's span as the context of ours, or an empty context."""
    from opentelemetry.context import Context as Empty  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context  # noqa: PLC0415

    if call.trace is None:
        return Empty()
    trace, span, flags = call.trace
    return set_span_in_context(NonRecordingSpan(SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))), Empty())
