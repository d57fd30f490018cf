"""`core: delegate`, and the table of cores."""

import asyncio
import importlib.metadata
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from sidecar import route
from sidecar.call import Call, Member, Outgoing
from sidecar.config import documents as doc
from sidecar.decision import Permit
from sidecar.errors import CannotCarry, ConfigError, UpstreamCut, UpstreamTimeout
from sidecar.principal import Principal
from sidecar.route.channel import Channel
from sidecar.route.lane import outcome
from sidecar.route.parts import Parts, delegate

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
PAIR = (Member("openai", "gpt-4o"), Member("azure", "gpt-4o"))


def permit(members, resolved=PAIR):
    call = Call(id="d_1", protocol="llm", operation="chat", dialect="openai_chat", target="gpt-4o", members=resolved)
    payloads = {"gpt-4o": Outgoing("POST", "/chat/completions", (("content-type", "application/json"),), b"{}")}
    return Permit(call, Principal.of("key:ci"), "d_1", members, payloads, expires=200.0)


def parts(channel, url):
    upstream = doc.Upstream(protocol="llm", url="https://api.example.com/v1", credential=doc.Credential(env="KEY"))
    return Parts(
        upstreams={"openai": upstream, "azure": upstream},
        strategy=lambda _family, _target: "priority",
        delegate=url,
        channel=channel,
        environ={"KEY": "sk-gateway"},
        wall=lambda: 100.0,
        steady=lambda: 0.0,
        draw=lambda: 0.0,
        trace=lambda _call: "",
        passthrough=lambda _permit: None,
    )


@pytest.fixture
async def gateway():
    seen = []

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2))
        writer.write(OK)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        channel = Channel()
        yield seen, parts(channel, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await channel.close()


async def test_the_permit_goes_whole_to_the_one_gateway(gateway):
    seen, made = gateway
    reply = await delegate(made).send(permit(PAIR))
    assert await reply.body.read(10) == b"{}"
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1")
    assert b"\r\nauthorization: Bearer sk-gateway\r\n" in seen[0]
    assert (reply.upstream, reply.model) == ("openai", "gpt-4o")


async def test_a_call_whose_members_were_narrowed_is_not_handed_on(gateway):
    seen, made = gateway
    with pytest.raises(CannotCarry):
        await delegate(made).send(permit(PAIR[1:]))
    assert seen == []


async def test_it_says_that_it_carries_no_obligation_on_who_serves(gateway):
    assert not delegate(gateway[1]).carries(permit(PAIR).call)


async def test_it_needs_the_url_of_a_gateway(gateway):
    with pytest.raises(ConfigError, match="delegate"):
        delegate(parts(gateway[1].channel, ""))


# ---------------------------------------------------------------- the table


def provide(monkeypatch, *points):
    found = EntryPoints(EntryPoint(name, value, route.GROUP) for name, value in points)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found.select(group=group))


@pytest.mark.parametrize("name", sorted(route.CORES))
def test_built_in_cores_need_no_entry_point(name, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: pytest.fail("looked for entry points"))
    assert route.load(name) is route.CORES[name]


async def test_a_core_of_the_users_own_is_loaded_when_named(monkeypatch, gateway):
    provide(monkeypatch, ("mine", "collections:OrderedDict"), ("other", "no.such.module:x"))
    assert route.load("mine").__name__ == "OrderedDict"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ((), "nothing provides the core `mine`"),
        ((("mine", "no.such.module:x"),), "cannot be imported"),
        ((("mine", "os:no_such_name"),), "cannot be imported"),
        ((("mine", "os:sep"),), "no callable"),
        ((("mine", "os:getcwd"), ("mine", "os:getpid")), "two packages"),
    ],
)
def test_a_core_that_cannot_be_had_is_a_configuration_error_that_says_why(monkeypatch, points, message):
    provide(monkeypatch, *points)
    with pytest.raises(ConfigError, match=message):
        route.load("mine")


def test_a_built_in_name_cannot_be_taken_over_by_an_entry_point(monkeypatch):
    provide(monkeypatch, ("direct", "os:getcwd"))
    assert route.load("direct") is route.CORES["direct"]


def test_every_failure_of_an_upstream_has_a_name_in_the_metrics():
    assert [outcome(UpstreamTimeout()), outcome(UpstreamCut())] == ["timeout", "cut"]


class Routes:
    """What `strategies` reads of a snapshot; counts how often routes are matched."""

    def __init__(self):
        self.asked = []

    def route(self, family, asked):
        self.asked.append((family, asked))
        return SimpleNamespace(spec=SimpleNamespace(strategy="weighted")) if asked == "gpt-4o" else None


def test_a_names_strategy_is_its_routes_and_is_looked_up_once():
    routes = Routes()
    of = route.strategies(routes)
    assert [of("openai", name) for name in ("gpt-4o", "other", "gpt-4o", "other")] == ["weighted", "priority"] * 2
    assert len(routes.asked) == 2
