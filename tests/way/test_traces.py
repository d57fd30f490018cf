"""Traces on the wire: a collector gets a span per call with a child per stage, in the caller's trace, and the upstream is told."""

import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidecar.testing import document

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
STAGES = ["identify", "own", "authorize", "apply_policies", "reserve_quota", "screen_call"]


class Collector:
    """Takes OTLP over HTTP. Spans come when the sidecar has closed."""

    def __init__(self):
        self.spans = []
        self.url = ""

    async def take(self, request):
        told = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += [span for resource in told.resource_spans for scope in resource.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def call(self, index=0):
        """The span of one call."""
        return [span for span in self.spans if span.kind == Span.SPAN_KIND_CLIENT][index]

    def below(self, parent):
        return [span for span in self.spans if span.parent_span_id == parent.span_id and span.kind != Span.SPAN_KIND_CLIENT]


@pytest.fixture
async def collector():
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
def traced(make_stage, collector):
    """A stage whose spans go to the collector."""

    @asynccontextmanager
    async def staged(*more, **telemetry):
        settings = {"otlp": collector.url, **telemetry}
        async with make_stage(lambda stage: [*stage.documents(telemetry=settings), *more]) as stage:
            yield stage

    return staged


def attributes(span):
    """Plain values by name."""
    return {item.key: plain(item.value) for item in span.attributes}


def plain(value):
    kind = value.WhichOneof("value")
    return [plain(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)


async def test_a_call_is_a_span_with_the_genai_names_and_what_it_used(traced, collector, ask):
    async with traced() as stage:
        answer = await ask(stage)
    span = collector.call()
    usage = answer.json["usage"]
    assert span.name == "chat gpt-4o"
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert span.start_time_unix_nano < span.end_time_unix_nano
    assert attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "http.response.status_code": 200,
        "sidecar.cost_usd": pytest.approx((usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6),
        "sidecar.decision.id": answer.headers["x-sidecar-decision"],
        "sidecar.effect": "allow",
        "sidecar.rule": "base/known",
        "sidecar.upstream": "up-openai",
    }


async def test_every_stage_is_a_child_within_its_call(traced, collector, ask):
    async with traced() as stage:
        for _ in range(2):
            await ask(stage)
    for index in range(2):
        call = collector.call(index)
        stages = collector.below(call)
        assert [span.name for span in stages] == STAGES
        assert {span.trace_id for span in stages} == {call.trace_id}
        assert all(call.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= call.end_time_unix_nano for span in stages)
    assert collector.call(0).trace_id != collector.call(1).trace_id


async def test_the_callers_trace_goes_through_us_to_the_upstream(traced, collector, ask):
    async with traced() as stage:
        await ask(stage, headers={"traceparent": SAMPLED, "tracestate": "a=b", "baggage": "user=42"})
        sent = {name.lower(): value for name, value in stage.upstream.requests[0].headers.items()}
        (row,) = stage.records()
    span = collector.call()
    assert (span.trace_id.hex(), span.parent_span_id.hex(), row["trace"]) == (TRACE, PARENT, TRACE)
    assert sent["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01", "the upstream's parent is our span"
    assert "baggage" not in sent


async def test_a_call_without_a_trace_begins_one_that_the_upstream_continues(traced, collector, ask):
    async with traced() as stage:
        await ask(stage)
        sent = {name.lower(): value for name, value in stage.upstream.requests[0].headers.items()}
    span = collector.call()
    assert span.parent_span_id == b""
    assert sent["traceparent"] == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"


async def test_a_caller_that_is_not_sampled_is_followed(traced, collector, ask):
    async with traced() as stage:
        await ask(stage, headers={"traceparent": UNSAMPLED})
        sent = {name.lower(): value for name, value in stage.upstream.requests[0].headers.items()}
    assert collector.spans == []
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert sent["traceparent"].endswith("-00")


async def test_the_spans_model_is_the_one_that_served(make_stage, collector, ask):
    def routed(stage):
        made = stage.documents(telemetry={"otlp": collector.url})
        made[2]["spec"]["models"][0]["aliases"] = ["smart"]
        return [*made, document("Route", "smart", match={"target": ["smart"]}, to=[{"upstream": "up-openai", "model": "gpt-4o-mini"}])]

    async with make_stage(routed) as stage:
        assert (await ask(stage, model="smart")).status == 200
    told = attributes(collector.call())
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("smart", "gpt-4o-mini")


REFUSED = {
    "denied": ({"temperature": 2.0}, 403, "policy_denied", "base/cool"),
    "not known": ({"who": "sk-nobody"}, 401, "invalid_api_key", ""),
    "over budget": ({"who": "broke"}, 429, "insufficient_quota", "penniless"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_is_an_error_span_that_names_code_and_rule(traced, collector, ask, case):
    fields, status, code, rule = REFUSED[case]
    async with traced() as stage:
        assert (await ask(stage, **fields)).status == status
    span = collector.call()
    told = attributes(span)
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert (told["http.response.status_code"], told["error.type"], told["sidecar.rule"], told["sidecar.effect"]) == (status, code, rule, "deny")
    assert "gen_ai.response.model" not in told


@pytest.mark.parametrize(("mode", "status"), [("hang", "504"), ("garbage", "502"), ("status", "500")])
async def test_an_upstream_that_fails_is_an_error_span(traced, collector, ask, mode, status):
    async with traced() as stage:
        stage.upstream.mode = mode
        await ask(stage)
    span = collector.call()
    told = attributes(span)
    assert (span.status.code, told["error.type"], told["sidecar.effect"]) == (Status.STATUS_CODE_ERROR, status, "allow")


async def test_a_stream_is_one_span_with_its_usage(traced, collector, ask):
    async with traced() as stage:
        await ask(stage, "dev", "/v1/messages", stream=True)
    told = attributes(collector.call())
    assert (told["gen_ai.provider.name"], told["gen_ai.response.finish_reasons"]) == ("anthropic", ["end_turn"])
    assert told["gen_ai.usage.output_tokens"] > 0


async def test_spans_hold_no_content(traced, collector, ask):
    async with traced() as stage:
        await ask(stage, messages=[{"role": "user", "content": "zanzibar7"}], headers={"baggage": "a=zanzibar7"})
        await ask(stage, messages=[{"role": "user", "content": "zanzibar7"}], temperature=2.0)
    assert len(collector.spans) > 2
    assert "zanzibar7" not in str(collector.spans)
    assert stage.tokens["dev"] not in str(collector.spans)


async def test_a_collector_that_is_not_there_stops_no_call(make_stage, ask):
    async with make_stage(lambda stage: stage.documents(telemetry={"otlp": "http://127.0.0.1:1", "sample": "0%"})) as stage:
        assert (await ask(stage)).status == 200


RUN = """
import asyncio, sys
from pathlib import Path
from sidecar.testing import document, running, write
async def main(root):
    ports = {name: {"host": "127.0.0.1", "port": 0} for name in ("listen", "admin", "health")}
    identity = document("Identity", "i", methods=[{"anonymous": {}}])
    up = document("Upstream", "u", protocol="llm", url="echo:", models=[{"name": "m"}])
    rule = document("Policy", "p", rules=[{"name": "all", "effect": "allow"}])
    async with running(write(root / "d", document("Settings", "s", **ports), identity, up, rule)) as sidecar:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.ports["data"])
        body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
        writer.write(b"POST /v1/chat/completions HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\ncontent-type: application/json\\r\\n")
        writer.write(b"content-length: %d\\r\\n\\r\\n" % len(body) + body)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200"), answer
        writer.close()
asyncio.run(main(Path(sys.argv[1])))
print(sorted(name for name in sys.modules if name.partition(".")[0] == "opentelemetry"))
"""


def test_without_a_collector_nothing_of_opentelemetry_is_imported(tmp_path):
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["[]"]), done.stderr
