"""The direct core against real loopback upstreams: selection, fallback, retries, what is sent, what is refused.

Longer than most files because every strategy and failure shares one set of upstreams.
"""

import asyncio
from contextlib import AsyncExitStack

import pytest

from sidecar.call import Call, Member, Outgoing
from sidecar.config import documents as doc
from sidecar.decision import Permit
from sidecar.errors import PermitError, UpstreamAuth, UpstreamCut, UpstreamGarbage, UpstreamUnreachable
from sidecar.principal import Principal
from sidecar.route.channel import Channel
from sidecar.route.parts import Parts, direct
from sidecar.telemetry import tracing

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def status(code, *headers):
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {code} X\r\n{lines}content-length: 2\r\n\r\n{{}}".encode()


class Upstream:
    """Answers from a script, the last line again and again; keeps the raw requests it got."""

    def __init__(self, *script):
        self.script = list(script) or [OK]
        self.heads, self.bodies = [], []
        self.port = 0
        self.on_request = lambda: None

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                self.bodies.append(await reader.readexactly(length))
                self.heads.append(head.decode())
                self.on_request()
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                writer.write(answer)
                await writer.drain()
                if b"content-length" not in answer or answer.endswith(b"HALF"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def header(self, name, request=-1):
        return [line.partition(": ")[2] for line in self.heads[request].split("\r\n") if line.lower().startswith(name + ":")]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def move(self, seconds):
        self.now += seconds


class World:
    """Upstreams that run, a channel, and a core over them."""

    def __init__(self):
        self.stack = AsyncExitStack()
        self.clock = Clock()
        self.slept, self.attempts = [], []
        self.draws = [0.0]
        self.documents = {}
        self.targets = {}

    async def add(self, name, upstream=None, **spec):
        upstream = upstream or Upstream()
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        self.stack.push_async_callback(server.wait_closed)
        self.stack.callback(server.close)
        upstream.port = server.sockets[0].getsockname()[1]
        self.describe(name, f"http://127.0.0.1:{upstream.port}/v1", **spec)
        return upstream

    def describe(self, name, url, **spec):
        self.documents[name] = doc.Upstream(protocol="llm", url=url, **spec)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.now += seconds

    def draw(self):
        return self.draws.pop(0) if len(self.draws) > 1 else self.draws[0]

    async def core(self, strategy="priority", environ=None, passed=None):
        channel = Channel()
        self.stack.push_async_callback(channel.close)
        parts = Parts(
            upstreams=self.documents,
            strategy=lambda _family, _target: strategy,
            delegate="",
            channel=channel,
            environ=environ or {},
            wall=lambda: 100.0,
            steady=self.clock,
            draw=self.draw,
            trace=tracing.outgoing(doc.Telemetry()),
            passthrough=lambda _permit: passed,
            on_attempt=lambda upstream, outcome, _took: self.attempts.append((upstream, outcome)),
            sleep=self.sleep,
        )
        return direct(parts)


@pytest.fixture
async def world():
    made = World()
    async with made.stack:
        yield made


def permit(*upstreams, headers=(("content-type", "application/json"),), trace=None, who="key:ci", **member):
    members = tuple(item if isinstance(item, Member) else Member(item, "m", **member) for item in upstreams)
    call = Call(
        id="d_" + "ab" * 16, protocol="llm", operation="chat", dialect="openai_chat", target="m", members=members, tokens=10, max_output=10, trace=trace
    )
    payloads = {item.model: Outgoing("POST", "/chat/completions", headers, b'{"model":"%b"}' % item.model.encode()) for item in members}
    return Permit(call, Principal.of(who), call.id, members, payloads, expires=200.0)


async def served(core, token):
    """Which upstream answers, its reply read to the end."""
    reply = await core.send(token)
    await reply.body.read(1000)
    return reply.upstream


# ---------------------------------------------------------------- what is sent


async def test_sends_the_decided_bytes_under_the_prefix_with_the_sidecars_own_credential(world):
    up = await world.add("openai", credential=doc.Credential(env="KEY"), headers={"OpenAI-Organization": "org-1"})
    core = await world.core(environ={"KEY": "sk-ours\n"})
    reply = await core.send(permit("openai"))
    assert (reply.status, reply.upstream, reply.model, reply.attempts) == (200, "openai", "m", 1)
    assert await reply.body.read(10) == b"{}"
    assert up.heads[0].startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert up.bodies == [b'{"model":"m"}']
    assert up.header("authorization") == ["Bearer sk-ours"]
    assert up.header("openai-organization") == ["org-1"]
    assert up.header("accept-encoding") == ["identity"]
    assert up.header("host") == [f"127.0.0.1:{up.port}"]
    assert up.header("user-agent")[0].startswith("sidecar/")


@pytest.mark.parametrize(
    ("dialect", "name", "sent"),
    [("openai", "authorization", "Bearer k"), ("anthropic", "x-api-key", "k"), ("gemini", "x-goog-api-key", "k")],
)
async def test_each_family_gets_its_credential_in_its_own_header(world, dialect, name, sent):
    up = await world.add("u", dialect=dialect, credential=doc.Credential(env="KEY"))
    await served(await world.core(environ={"KEY": "k"}), permit("u"))
    assert up.header(name) == [sent]
    assert up.header("anthropic-version") == (["2023-06-01"] if dialect == "anthropic" else [])


async def test_no_credential_of_the_caller_goes_upstream_even_if_a_codec_let_it_through(world):
    up = await world.add("u", credential=doc.Credential(env="KEY"))
    leaked = (("authorization", "Bearer sk-caller"), ("x-api-key", "sk-caller"), ("cookie", "sk-caller"), ("content-type", "application/json"))
    await served(await world.core(environ={"KEY": "ours"}, passed="sk-caller"), permit("u", headers=leaked))
    assert "sk-caller" not in up.heads[0]
    assert up.header("authorization") == ["Bearer ours"]


async def test_a_passthrough_upstream_gets_the_callers_credential_and_its_refusal_is_relayed(world):
    up = await world.add("u", Upstream(status(401)), dialect="anthropic", credential=doc.Credential(passthrough=True))
    reply = await (await world.core(passed="sk-ant-oat01-login")).send(permit("u"))
    assert reply.status == 401
    assert up.header("authorization") == ["Bearer sk-ant-oat01-login"]
    reply.body.close()


async def test_a_credential_file_is_read_again_when_it_changes(world, tmp_path):
    secret = tmp_path / "key"
    secret.write_text("one\n")
    up = await world.add("u", credential=doc.Credential(file=str(secret)))
    core = await world.core()
    await served(core, permit("u"))
    secret.write_text("second\n")
    world.clock.now += 5
    await served(core, permit("u"))
    assert [up.header("authorization", n) for n in (0, 1)] == [["Bearer one"], ["Bearer second"]]


@pytest.mark.parametrize("value", ["", "two words", "split\r\nx-evil: 1", "ключ"])
async def test_a_credential_that_no_header_can_carry_is_refused_before_anything_is_sent(world, value):
    up = await world.add("u", credential=doc.Credential(env="KEY"))
    with pytest.raises(UpstreamAuth):
        await (await world.core(environ={"KEY": value})).send(permit("u"))
    assert up.heads == []


async def test_the_callers_traceparent_goes_on_upstream(world):
    up = await world.add("u")
    await served(await world.core(), permit("u", trace=tracing.parse(TRACE)))
    assert up.header("traceparent") == [TRACE]


async def test_a_permit_is_used_once(world):
    up = await world.add("u")
    core, token = await world.core(), permit("u")
    await served(core, token)
    with pytest.raises(PermitError):
        await core.send(token)
    assert len(up.heads) == 1


# ---------------------------------------------------------------- strategies


async def test_priority_takes_the_first_and_weighted_follows_the_draw(world):
    for name in ("a", "b"):
        await world.add(name)
    members = (Member("a", "m", weight=9), Member("b", "m", weight=1))
    assert await served(await world.core("priority"), permit(*members)) == "a"
    weighted = await world.core("weighted")
    world.draws = [0.89, 0.0, 0.91, 0.0]
    assert [await served(weighted, permit(*members)) for _ in range(2)] == ["a", "b"]


async def test_least_busy_avoids_the_upstream_with_an_open_answer(world):
    for name in ("a", "b"):
        await world.add(name)
    core = await world.core("least_busy")
    world.draws = [0.1, 0.9, 0.1, 0.9, 0.1, 0.9]
    held = await core.send(permit("a", "b"))
    assert held.upstream == "a"
    assert await served(core, permit("a", "b")) == "b"
    held.body.close()
    assert await served(core, permit("a", "b")) == "a"


async def test_lowest_latency_goes_where_answers_came_faster_and_tries_the_other_again_after_a_while(world):
    slow, fast = await world.add("slow"), await world.add("fast")
    slow.on_request = lambda: world.clock.move(2.0)
    fast.on_request = lambda: world.clock.move(1.0)
    core = await world.core("lowest_latency")
    assert {await served(core, permit("slow", "fast")) for _ in range(2)} == {"slow", "fast"}  # what is not known is measured
    assert [await served(core, permit("slow", "fast")) for _ in range(3)] == ["fast", "fast", "fast"]
    world.clock.move(40.0)
    await served(core, permit("fast"))
    assert await served(core, permit("slow", "fast")) == "slow"


async def test_lowest_cost_takes_the_cheapest_for_this_call_and_unknown_prices_last(world):
    for name in ("unknown", "dear", "cheap"):
        await world.add(name)
    members = (Member("unknown", "m"), Member("dear", "m", price_input=2e-6, price_output=9e-6), Member("cheap", "m", price_input=3e-6, price_output=1e-6))
    assert await served(await world.core("lowest_cost"), permit(*members)) == "cheap"


# ---------------------------------------------------------------- failing over


async def test_falls_back_to_the_next_member_when_one_cannot_be_reached(world):
    world.describe("down", "http://127.0.0.1:1/v1")
    await world.add("up")
    reply = await (await world.core()).send(permit("down", "up"))
    assert (reply.upstream, reply.attempts) == ("up", 2)
    assert world.attempts == [("down", "unreachable"), ("up", "ok")]
    reply.body.close()


@pytest.mark.parametrize("code", [429, 500, 502, 503, 529])
async def test_an_answer_that_another_attempt_may_better_is_tried_elsewhere_at_once(world, code):
    first = await world.add("a", Upstream(status(code)))
    await world.add("b")
    assert await served(await world.core(), permit("a", "b")) == "b"
    assert (len(first.heads), world.slept) == (1, [])


@pytest.mark.parametrize("code", [400, 404, 409, 422, 504])
async def test_other_answers_are_relayed_as_they_are(world, code):
    await world.add("a", Upstream(status(code)))
    other = await world.add("b")
    reply = await (await world.core()).send(permit("a", "b"))
    assert (reply.status, other.heads) == (code, [])
    reply.body.close()


async def test_a_single_member_is_tried_again_after_a_jittered_pause_and_then_its_answer_is_relayed(world):
    up = await world.add("a", Upstream(status(503), status(503), OK), retry=doc.Retry(attempts=2))
    world.draws = [0.5]
    reply = await (await world.core()).send(permit("a"))
    assert (reply.status, reply.attempts, len(up.heads)) == (503, 2, 2)
    assert world.slept == [pytest.approx(0.075)]
    reply.body.close()


async def test_a_429_waits_as_long_as_it_says_if_that_is_short_and_is_relayed_if_it_is_long(world):
    await world.add("short", Upstream(status(429, "retry-after: 1"), OK))
    await world.add("long", Upstream(status(429, "retry-after: 3600"), OK))
    core = await world.core()
    reply = await core.send(permit("short"))
    assert (reply.status, world.slept) == (200, [1.0])
    reply.body.close()
    reply = await core.send(permit("long"))
    assert (reply.status, reply.header("retry-after"), world.slept) == (429, "3600", [1.0])
    reply.body.close()


async def test_never_more_attempts_than_the_first_upstream_allows(world):
    ups = [await world.add(name, Upstream(status(503)), retry=doc.Retry(attempts=2)) for name in ("a", "b", "c")]
    reply = await (await world.core()).send(permit("a", "b", "c"))
    assert (reply.upstream, [len(up.heads) for up in ups]) == ("b", [1, 1, 0])
    reply.body.close()


async def test_retries_stop_when_their_budget_is_spent(world):
    bad = await world.add("bad", Upstream(status(503)), retry=doc.Retry(attempts=2, budget=0.0), breaker=doc.Breaker(failures=1000))
    good = await world.add("good")
    core = await world.core()
    for _ in range(30):
        (await core.send(permit("bad", "good"))).body.close()
    assert (len(bad.heads), len(good.heads)) == (30, 10)  # the reserve, and not one more


async def test_nothing_is_retried_after_the_head_went_out(world):
    up = await world.add("a", Upstream(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nHALF"))
    other = await world.add("b")
    reply = await (await world.core()).send(permit("a", "b"))
    assert await reply.body.chunk() == b"HALF"
    with pytest.raises(UpstreamCut):
        await reply.body.chunk()
    assert (len(up.heads), other.heads) == (1, [])
    assert world.attempts == [("a", "ok"), ("a", "cut")]


# ---------------------------------------------------------------- the breaker


async def test_the_breaker_opens_lets_one_trial_through_and_closes_on_its_success(world):
    up = await world.add("a", Upstream(status(500), status(500), OK), retry=doc.Retry(attempts=1), breaker=doc.Breaker(failures=2, open_for=10.0))
    core = await world.core()
    for _ in range(2):
        (await core.send(permit("a"))).body.close()
    assert core.health() == {"a": "open"}
    with pytest.raises(UpstreamUnreachable):
        await core.send(permit("a"))
    assert len(up.heads) == 2
    world.clock.now += 10.0
    assert core.health() == {"a": "half_open"}
    assert await served(core, permit("a")) == "a"
    assert core.health() == {"a": "closed"}


async def test_an_open_breaker_is_passed_over_without_an_attempt(world):
    down = await world.add("a", Upstream(status(500)), breaker=doc.Breaker(failures=1), retry=doc.Retry(attempts=2))
    await world.add("b")
    core = await world.core()
    assert [await served(core, permit("a", "b")) for _ in range(3)] == ["b", "b", "b"]
    assert len(down.heads) == 1


async def test_a_client_that_leaves_during_the_trial_does_not_lock_the_breaker(world):
    waiting = asyncio.Event()

    class Silent(Upstream):
        async def serve(self, reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            waiting.set()
            await reader.read()
            writer.close()

    await world.add("a", Silent(), breaker=doc.Breaker(failures=1, open_for=1.0))
    core = await world.core()
    core._lanes["a"].breaker.failed(world.clock.now)
    world.clock.now += 2
    task = asyncio.ensure_future(core.send(permit("a")))
    await waiting.wait()
    assert not core._lanes["a"].ready()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert core._lanes["a"].ready()
    assert core._lanes["a"].busy == 0


# ---------------------------------------------------------------- what is no answer


async def test_a_redirect_to_the_metadata_address_is_refused_and_not_followed(world):
    up = await world.add("a", Upstream(status(302, "location: http://169.254.169.254/latest/meta-data/")))
    other = await world.add("b")
    with pytest.raises(UpstreamGarbage, match="redirect"):
        await (await world.core()).send(permit("a", "b"))
    assert (len(up.heads), other.heads) == (1, [])


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refusal_of_our_credential_is_not_relayed_as_the_callers_own(world, code):
    await world.add("a", Upstream(status(code)), credential=doc.Credential(env="KEY"))
    core = await world.core(environ={"KEY": "k"})
    with pytest.raises(UpstreamAuth):
        await core.send(permit("a"))
    assert core.health() == {"a": "closed"}
    assert core._lanes["a"].busy == 0


async def test_a_private_address_that_no_upstream_names_is_not_dialled(world):
    world.describe("a", "http://localhost:1/v1", retry=doc.Retry(attempts=1))
    with pytest.raises(UpstreamUnreachable, match="dialled"):
        await (await world.core()).send(permit("a"))


async def test_an_echo_upstream_answers_without_a_network(world):
    world.describe("echo", "echo:")
    reply = await (await world.core()).send(permit("echo"))
    assert (reply.status, reply.upstream) == (200, "echo")
    assert b'"object":"chat.completion"' in (await reply.body.read(10_000)).replace(b" ", b"")
