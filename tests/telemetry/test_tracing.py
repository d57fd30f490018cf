import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from sidecar.call import Usage
from sidecar.config.documents import Telemetry
from sidecar.telemetry import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"
ACCOUNT = SimpleNamespace(upstream="azure", model="gpt-4o-2024", usage=Usage(10, 20), cost=0.001, finish=("stop",))


@pytest.fixture
def traced():
    exporter = InMemorySpanExporter()
    tracer = tracing.SpanTracer(exporter, batch=False, clock=lambda: 2_000_000_000)

    def finished(decision, **told):
        tracer.finished(decision, **({"status": 200, "settlement": ACCOUNT, "nanoseconds": 1_000_000} | told))
        return exporter.get_finished_spans()

    yield finished
    tracer.close()


# ---------------------------------------------------------------- traceparent


def test_a_valid_traceparent_is_read():
    assert tracing.parse(PARENT) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01")


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert tracing.parse("cc" + PARENT[2:] + "-what-the-future-holds") == tracing.parse(PARENT)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "garbage",
        "ff" + PARENT[2:],
        PARENT + "-more",
        PARENT.upper(),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        PARENT[:-1],
        PARENT + "\n",
        "cc" + PARENT[2:] + "more",
        PARENT.replace("0af7", "\u0966af7"),
    ],
)
def test_an_invalid_traceparent_is_ignored(header):
    assert tracing.parse(header) is None


@given(st.text(max_size=80))
def test_no_header_raises(header):
    assert tracing.parse(header) is None


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_reads_back(trace, span, sampled):
    assert tracing.parse(tracing.format(f"{trace:032x}", f"{span:016x}", sampled)) == (f"{trace:032x}", f"{span:016x}", "01" if sampled else "00")


@pytest.mark.parametrize("header", [PARENT, UNSAMPLED])
def test_without_tracing_the_callers_context_goes_on_as_it_came(decision, header):
    assert tracing.outgoing(Telemetry())(decision(trace=tracing.parse(header)).call) == header


def test_with_tracing_the_upstream_is_told_our_span_in_the_callers_trace(decision, traced):
    made = decision(trace=tracing.parse(PARENT))
    trace, span, flags = tracing.parse(tracing.outgoing(Telemetry(otlp="http://x"))(made.call))
    told = traced(made)[-1]
    assert (f"{told.context.trace_id:032x}", f"{told.context.span_id:016x}", flags) == (trace, span, "01")
    assert (trace, told.parent.span_id) == ("0af7651916cd43dd8448eb211c80319c", 0xB7AD6B7169203331)


@given(st.text(min_size=1, max_size=40))
def test_any_decision_id_gives_a_context_that_w3c_accepts_or_all_noughts(id):
    header = tracing.format(tracing._digits(id), tracing.span_id(id), sampled=False)
    assert tracing.parse(header) is not None or set(id[-16:]) == {"0"}


# ---------------------------------------------------------------- spans


def test_a_call_is_one_span_with_the_conventions_names_and_the_model_that_served(decision, traced):
    span = traced(decision())[-1]
    assert span.name == "chat gpt-4o"
    assert (span.start_time, span.end_time) == (1_999_000_000, 2_000_000_000)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
        "http.response.status_code": 200,
        "sidecar.cost_usd": 0.001,
        "sidecar.decision.id": "d_0199aabbccddeeff00112233445566aa",
        "sidecar.effect": "allow",
        "sidecar.rule": "eng/developer",
        "sidecar.upstream": "azure",
    }
    assert span.status.status_code is StatusCode.UNSET


def test_stages_are_its_children_one_after_the_other(decision, traced):
    *stages, call = traced(decision())
    assert [(span.name, span.start_time - call.start_time, span.end_time - call.start_time) for span in stages] == [
        ("identify", 0, 2_000),
        ("authorize", 2_000, 2_900),
        ("apply_policies", 2_900, 6_900),
    ]
    assert {span.parent.span_id for span in stages} == {call.context.span_id}
    assert len({span.context.span_id for span in (*stages, call)}) == 4


def test_a_refusal_is_an_error_span_with_its_code(decision, traced, refusal):
    span = traced(decision(effect="deny", refusal=refusal), status=403, settlement=None)[-1]
    assert (span.attributes["error.type"], span.attributes["sidecar.effect"], span.status.status_code) == ("policy_denied", "deny", StatusCode.ERROR)
    assert "gen_ai.response.model" not in span.attributes
    assert "SECRET" not in span.to_json()


@pytest.mark.parametrize(
    ("dialect", "operation", "names"),
    [
        ("anthropic_messages", "chat", ("chat", "anthropic")),
        ("gemini_generate", "chat", ("generate_content", "gcp.gemini")),
        ("openai_completions", "chat", ("text_completion", "openai")),
        ("openai_embeddings", "embeddings", ("embeddings", "openai")),
    ],
)
def test_operations_and_providers_have_the_conventions_names(decision, traced, dialect, operation, names):
    span = traced(decision(dialect=dialect, operation=operation))[-1]
    assert (span.attributes["gen_ai.operation.name"], span.attributes["gen_ai.provider.name"]) == names


def test_a_caller_that_does_not_sample_is_followed(decision, traced):
    assert traced(decision(trace=tracing.parse(UNSAMPLED))) == ()


@pytest.mark.parametrize(("share", "spans"), [(0.0, 0), (0.5, 2), (1.0, 4)])
def test_of_calls_without_a_parent_a_share_is_sampled_and_upstream_is_told_the_same(decision, share, spans):
    exporter = InMemorySpanExporter()
    tracer = tracing.SpanTracer(exporter, share=share, batch=False)
    outgoing = tracing.outgoing(Telemetry(otlp="http://x", sample=share))
    flags = []
    for digit in "17bf":
        made = decision(id="d_" + "1" * 16 + digit * 16, timings=())
        tracer.finished(made, status=200, settlement=None, nanoseconds=1)
        flags.append(outgoing(made.call)[-2:])
    assert len(exporter.get_finished_spans()) == flags.count("01") == spans
    tracer.close()


def test_no_endpoint_means_the_null_tracer(decision):
    tracer = tracing.open_tracer(Telemetry())
    tracer.finished(decision(), status=200, settlement=None, nanoseconds=1)
    assert isinstance(tracer, tracing.NullTracer)


async def test_a_collector_receives_the_decision_span(decision):
    received = asyncio.Queue()

    async def collect(request):
        await received.put((request.path, ExportTraceServiceRequest.FromString(await request.read())))
        return web.Response(content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", collect)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        tracer = tracing.open_tracer(Telemetry(otlp=f"http://127.0.0.1:{runner.addresses[0][1]}"))
        tracer.finished(decision(), status=200, settlement=ACCOUNT, nanoseconds=1_000)
        closing = asyncio.ensure_future(asyncio.to_thread(tracer.close))
        async with asyncio.timeout(15):
            path, export = await received.get()
        await closing
    finally:
        await runner.cleanup()
    spans = export.resource_spans[0].scope_spans[0].spans
    attributes = {item.key: item.value.string_value for item in spans[-1].attributes}
    assert path == "/v1/traces"
    assert attributes["sidecar.decision.id"] == "d_0199aabbccddeeff00112233445566aa"
    assert [item.value.string_value for item in export.resource_spans[0].resource.attributes if item.key == "service.name"] == ["sidecar"]
