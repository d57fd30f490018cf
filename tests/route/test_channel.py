"""The channel against real sockets: reuse, stale connections, checked addresses, framing, time, back-pressure, TLS.

Longer than most files because all of it runs against one scripted upstream.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib

import pytest
import trustme

from sidecar.config.documents import Timeouts, UpstreamTls
from sidecar.errors import ConfigError, UpstreamCut, UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable
from sidecar.http1 import ResponseLimits
from sidecar.route.channel import Channel, Endpoint
from sidecar.route.pool import HIGH_WATER

PATIENT = Timeouts(connect=5.0, first_byte=5.0, idle=5.0)
HASTY = Timeouts(connect=0.1, first_byte=0.1, idle=0.1)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 1 << 20


class Upstream:
    """Answers each request (told by its blank line and length) with the next scripted answer; the last one repeats."""

    def __init__(self, script):
        self.script, self.requests, self.connections, self.answers = script, [], [], 0
        self.asked = asyncio.Event()

    def connection(self):
        return Peer(self)


class Peer(asyncio.Protocol):
    def __init__(self, upstream):
        self.upstream, self.data, self.lost = upstream, b"", asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.upstream.connections.append(self)

    def data_received(self, data):
        self.data += data
        head, blank, body = self.data.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        if blank and len(body) >= length:
            self.data = b""
            upstream = self.upstream
            upstream.requests.append((head, body))
            upstream.asked.set()
            answer = upstream.script[min(upstream.answers, len(upstream.script) - 1)]
            upstream.answers += 1
            self.give(answer)

    def give(self, answer):
        """Bytes to send, "close" or "reset", a tuple of these, or a function of this peer."""
        if isinstance(answer, tuple):
            for part in answer:
                self.give(part)
        elif isinstance(answer, bytes):
            self.transport.write(answer)
        elif answer == "close":
            self.transport.close()
        elif answer == "reset":
            self.transport.abort()
        elif answer is not None:
            answer(self)

    def connection_lost(self, exc):
        self.lost.set()


@pytest.fixture
async def upstream():
    """Start scripted upstreams; give them back with an `endpoint`."""
    servers, peers = [], []

    async def start(*script, tls=None, scheme="http", **options):
        made = Upstream(script)
        server = await asyncio.get_running_loop().create_server(made.connection, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        peers.append(made)
        made.server = server
        made.port = server.sockets[0].getsockname()[1]
        made.endpoint = Endpoint(**{"upstream": "u", "scheme": scheme, "host": "127.0.0.1", "port": made.port, **options})
        return made

    yield start
    for server in servers:
        server.close()
    for made in peers:
        for peer in made.connections:
            peer.transport.abort()


@pytest.fixture
async def channel():
    made = Channel(sweep=0.02)
    yield made
    await made.close()


async def get(channel, endpoint, timeouts=PATIENT, body=b"{}", headers=()):
    return await channel.send(endpoint, "POST", "/v1/x?y=z", headers, body, timeouts)


async def whole(channel, endpoint, **options):
    return await (await get(channel, endpoint, **options)).read(LIMIT)


# ---------------------------------------------------------------- requests and reuse


async def test_a_request_is_written_as_it_is_with_framing_of_our_own(channel, upstream):
    up = await upstream(OK)
    headers = [
        ("authorization", "Bearer k"),
        ("host", "evil"),
        ("content-length", "99"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("te", "trailers"),
    ]
    inbound = await get(channel, up.endpoint, headers=headers)
    assert (inbound.status, inbound.headers, await inbound.read(LIMIT), await inbound.chunk()) == (200, (("content-length", "2"),), b"ok", b"")
    head, body = up.requests[0]
    assert head.split(b"\r\n") == [b"POST /v1/x?y=z HTTP/1.1", b"host: 127.0.0.1:%d" % up.port, b"authorization: Bearer k", b"content-length: 2"]
    assert body == b"{}"


async def test_a_request_that_would_split_is_never_sent(channel, upstream):
    up = await upstream(OK)
    for path, header in (("/a b", "c"), ("/a\r\nx: y", "c"), ("http://x/", "c"), ("/a", "c\r\nx: y"), ("/a", "c\0")):
        with pytest.raises(ValueError):
            await channel.send(up.endpoint, "POST", path, [("x", header)], b"", PATIENT)
    assert up.connections == []


async def test_a_large_body_arrives_whole(channel, upstream):
    up = await upstream(OK)
    body = bytes(range(256)) * 40_000
    assert await whole(channel, up.endpoint, body=body) == b"ok"
    assert up.requests[0][1] == body


async def test_a_connection_is_reused_and_the_newest_first(channel, upstream):
    up = await upstream(OK)
    first, second = await asyncio.gather(get(channel, up.endpoint), get(channel, up.endpoint))
    assert len(up.connections) == 2
    await first.read(LIMIT)
    await second.read(LIMIT)
    for _ in range(3):
        await whole(channel, up.endpoint)
    assert len(up.connections) == channel.connections == 2


async def test_answers_of_one_connection_are_never_mixed_up(channel, upstream):
    up = await upstream(*(b"HTTP/1.1 200 OK\r\nX-N: %d\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(50)))
    for n in range(50):
        inbound = await get(channel, up.endpoint)
        assert (dict(inbound.headers)["x-n"], await inbound.read(LIMIT)) == (str(n), b"%02d" % n)
    assert len(up.connections) == 1


async def test_an_answer_may_be_read_after_its_connection_carries_another(channel, upstream):
    up = await upstream(OK, OK.replace(b"ok", b"no"))
    first = await get(channel, up.endpoint)
    second = await get(channel, up.endpoint)
    assert (await first.read(LIMIT), await second.read(LIMIT), len(up.connections)) == (b"ok", b"no", 1)


@pytest.mark.parametrize(
    "other",
    [{"upstream": "v"}, {"allowed": ("10.0.0.0/8",)}, {"tls": UpstreamTls(ca="/x")}, {"server_hostname": "x"}],
)
async def test_endpoints_that_differ_in_anything_share_no_connection(channel, upstream, other):
    up = await upstream(OK)
    await whole(channel, up.endpoint)
    await whole(channel, Endpoint(**{"upstream": "u", "scheme": "http", "host": "127.0.0.1", "port": up.port, **other}))
    assert len(up.connections) == 2


async def test_equal_endpoints_share_connections_and_those_not_retained_are_closed(channel, upstream):
    up = await upstream(OK)
    await whole(channel, up.endpoint)
    same = Endpoint("u", "http", "127.0.0.1", up.port)
    await whole(channel, same)
    assert len(up.connections) == 1
    channel.retain(frozenset([same]))
    assert not up.connections[0].lost.is_set()
    channel.retain(frozenset())
    await asyncio.wait_for(up.connections[0].lost.wait(), 5)


async def test_an_idle_connection_is_closed_in_time_and_past_the_limit(upstream):
    channel = Channel(sweep=0.02, idle_timeout=0.05, max_idle=1)
    up = await upstream(OK)
    await asyncio.gather(whole(channel, up.endpoint), whole(channel, up.endpoint))
    for peer in up.connections:
        await asyncio.wait_for(peer.lost.wait(), 5)
    await channel.close()


async def test_calls_past_the_most_connections_wait_for_one(upstream):
    channel = Channel(sweep=0.02, max_connections=2)
    up = await upstream(OK)
    assert await asyncio.gather(*(whole(channel, up.endpoint) for _ in range(20))) == [b"ok"] * 20
    assert len(up.connections) == 2
    await channel.close()


async def test_a_call_that_finds_no_free_connection_in_time_is_unreachable(upstream):
    channel = Channel(sweep=0.02, max_connections=1)
    up = await upstream(b"HTTP/1.1 200 OK\r\n\r\n")
    held = await get(channel, up.endpoint)
    with pytest.raises(UpstreamUnreachable):
        await get(channel, up.endpoint, timeouts=HASTY)
    held.close()
    await channel.close()


# ---------------------------------------------------------------- stale connections


async def test_a_running_answer_of_a_retired_endpoint_ends_and_its_connection_is_not_kept(channel, upstream):
    up = await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    inbound = await get(channel, up.endpoint)
    channel.retain(frozenset())
    up.connections[0].give(b"k")
    assert await inbound.read(LIMIT) == b"ok"
    await asyncio.wait_for(up.connections[0].lost.wait(), 5)


async def test_a_kept_connection_that_died_is_replaced_once_without_the_caller_noticing(channel, upstream):
    up = await upstream(OK, "reset", OK)
    await whole(channel, up.endpoint)
    assert await whole(channel, up.endpoint) == b"ok"
    assert len(up.connections) == 2
    assert len(up.requests) == 3


async def test_a_second_death_is_not_tried_again(channel, upstream):
    up = await upstream(OK, "reset", "reset", OK)
    await whole(channel, up.endpoint)
    with pytest.raises(UpstreamUnreachable):
        await whole(channel, up.endpoint)
    assert len(up.requests) == 3


async def test_a_new_connection_that_dies_is_not_tried_again(channel, upstream):
    up = await upstream("close", OK)
    with pytest.raises(UpstreamUnreachable):
        await whole(channel, up.endpoint)
    assert len(up.requests) == 1


async def test_after_a_byte_of_the_answer_nothing_is_tried_again(channel, upstream):
    up = await upstream(OK, (b"HTTP/1.1 2", "close"), OK)
    await whole(channel, up.endpoint)
    with pytest.raises(UpstreamCut):
        await whole(channel, up.endpoint)
    assert len(up.requests) == 2


async def test_an_upstream_that_slams_the_door_is_unreachable_whenever_it_does(channel, upstream):
    class Slamming(Peer):
        def connection_made(self, transport):
            transport.abort()

    server = await asyncio.get_running_loop().create_server(lambda: Slamming(None), "127.0.0.1", 0)
    endpoint = Endpoint("u", "http", "127.0.0.1", server.sockets[0].getsockname()[1])
    outcomes = await asyncio.gather(*(whole(channel, endpoint) for _ in range(20)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {UpstreamUnreachable}
    server.close()


async def test_bytes_nobody_asked_for_spoil_an_idle_connection(channel, upstream):
    up = await upstream(OK)
    await whole(channel, up.endpoint)
    up.connections[0].transport.write(OK)
    await asyncio.wait_for(up.connections[0].lost.wait(), 5)
    assert await whole(channel, up.endpoint) == b"ok"
    assert len(up.connections) == 2


async def test_a_second_answer_is_never_taken_for_the_next_requests(channel, upstream):
    up = await upstream(OK + OK.replace(b"ok", b"no"), OK)
    assert [await whole(channel, up.endpoint) for _ in range(2)] == [b"ok", b"ok"]
    assert len(up.connections) == 2


# ---------------------------------------------------------------- addresses


def resolver(*answers):
    """Gives each answer in turn, the last for ever, and counts."""

    async def resolve(host, port):
        resolve.asked += 1
        return list(answers[min(resolve.asked, len(answers)) - 1])

    resolve.asked = 0
    return resolve


async def test_the_address_that_was_checked_is_dialled_and_not_the_resolvers_next_answer(upstream):
    names = resolver(["127.0.0.1"], ["169.254.169.254"])
    channel = Channel(names, sweep=0.02, ttl=0.0)
    up = await upstream(OK, host="api.example", allowed=("127.0.0.1",))
    assert await whole(channel, up.endpoint) == b"ok"
    assert names.asked == 1
    assert up.requests[0][0].split(b"\r\n")[1] == b"host: api.example:%d" % up.port
    with pytest.raises(UpstreamUnreachable, match="metadata"):
        await whole(channel, up.endpoint)
    assert len(up.requests) == 1
    await channel.close()


async def test_a_name_that_moved_is_not_reached_over_a_connection_to_its_old_address(upstream):
    channel = Channel(resolver(["127.0.0.1"], ["127.0.0.2"]), sweep=0.02, ttl=0.0)
    up = await upstream(OK, host="api.example", allowed=("127.0.0.0/8",))
    await whole(channel, up.endpoint)
    with pytest.raises(UpstreamUnreachable):
        await whole(channel, up.endpoint)  # nobody listens there
    assert len(up.requests) == 1
    await channel.close()


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "junk"])
async def test_a_name_that_resolves_inside_is_refused_unless_the_upstream_names_it(upstream, ip):
    channel = Channel(resolver([ip]), sweep=0.02)
    up = await upstream(OK, host="rebind.example")
    with pytest.raises(UpstreamUnreachable, match="can't be dialled"):
        await whole(channel, up.endpoint)
    assert up.connections == []
    await channel.close()


async def test_forbidden_addresses_are_passed_over_and_the_next_is_tried_when_one_refuses(upstream):
    channel = Channel(resolver(["10.0.0.1", "127.0.0.3", "127.0.0.1"]), sweep=0.02)
    up = await upstream(OK, host="api.example", allowed=("127.0.0.0/8",))
    assert await whole(channel, up.endpoint) == b"ok"
    await channel.close()


async def test_addresses_are_asked_for_once_by_all_who_wait_and_believed_for_a_while(upstream):
    names = resolver(["127.0.0.1"])
    channel = Channel(names, sweep=0.02)
    up = await upstream(OK, host="api.example", allowed=("127.0.0.1",))
    await asyncio.gather(*(whole(channel, up.endpoint) for _ in range(10)))
    await whole(channel, up.endpoint)
    assert names.asked == 1
    await channel.close()


async def test_a_name_that_does_not_resolve_is_unreachable_and_one_that_takes_too_long_is_late(upstream):
    async def never(host, port):
        await asyncio.Event().wait()

    up = await upstream(OK, host="api.example")
    for names, error in ((resolver([]), UpstreamUnreachable), (never, UpstreamTimeout)):
        channel = Channel(names, sweep=0.02)
        with pytest.raises(error):
            await whole(channel, up.endpoint, timeouts=HASTY)
        await channel.close()


async def test_the_systems_resolver_is_the_default(channel, upstream):
    up = await upstream(OK, host="localhost", allowed=("127.0.0.1",))
    assert await whole(channel, up.endpoint) == b"ok"


@pytest.mark.parametrize("broken", [{"scheme": "ftp"}, {"host": "0x7f.1"}, {"host": "127.1"}, {"host": "a b"}])
def test_an_endpoint_that_cannot_be_dialled_is_a_configuration_error(broken):
    with pytest.raises(ConfigError):
        Endpoint(**{"upstream": "u", "scheme": "https", "host": "a.example", "port": 443, **broken})


@pytest.mark.parametrize(
    ("scheme", "host", "port", "authority"),
    [("https", "a.example", 443, "a.example"), ("https", "a.example", 80, "a.example:80"), ("http", "::1", 80, "[::1]"), ("http", "[::1]", 8080, "[::1]:8080")],
)
def test_the_host_field_is_the_urls_authority(scheme, host, port, authority):
    assert Endpoint("u", scheme, host, port).authority == authority


async def test_proxy_variables_change_nothing(channel, upstream, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    up = await upstream(OK)
    assert await whole(channel, up.endpoint) == b"ok"


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Trailer: z\r\n\r\n", 200, b"ok"),
        ((b"HTTP/1.1 200 OK\r\n\r\nok", "close"), 200, b"ok"),
        ((b"HTTP/1.0 200 OK\r\n\r\nok", "close"), 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nx", 500, b"x"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
            % (len(gzip.compress(b"ok", mtime=0)), gzip.compress(b"ok", mtime=0)),
            200,
            b"ok",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(zlib.compress(b"ok")) + zlib.compress(b"ok"), 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 4\r\n\r\n" + zlib.compress(b"ok", wbits=-15), 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ],
)
@pytest.mark.parametrize("cut", [1, 1 << 20])
async def test_an_answer_is_read_whole_or_byte_by_byte(channel, upstream, answer, status, body, cut):  # noqa: PLR0917
    parts = answer if isinstance(answer, tuple) else (answer,)
    pieces = tuple(piece for part in parts for piece in ([part] if isinstance(part, str) else [part[at : at + cut] for at in range(0, len(part), cut)]))
    up = await upstream(pieces)
    inbound = await get(channel, up.endpoint)
    assert (inbound.status, await inbound.read(LIMIT)) == (status, body)
    assert not {"content-encoding"} & dict(inbound.headers).keys() or body == b"ok"
    assert len(up.requests) == 1  # no redirect was followed


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + OK,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 201 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000,
    ],
)
async def test_an_answer_with_two_readings_is_garbage_and_its_connection_is_closed(channel, upstream, answer):
    up = await upstream(answer)
    with pytest.raises(UpstreamGarbage):
        await get(channel, up.endpoint)
    await asyncio.wait_for(up.connections[0].lost.wait(), 5)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"\0" * (64 << 20), 9, mtime=0),  # a bomb: 64 MiB in 64 KiB
        gzip.compress(b"hello", mtime=0)[:-3],
        gzip.compress(b"hello", mtime=0) + b"more",
        b"not gzip at all",
    ],
    ids=["bomb", "cut", "followed", "none"],
)
async def test_a_compressed_answer_that_is_a_bomb_or_not_whole_is_garbage_for_whole_readers_and_streams(channel, upstream, body):
    up = await upstream(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(UpstreamGarbage):
        await whole(channel, up.endpoint)
    inbound = await get(channel, up.endpoint)
    with pytest.raises(UpstreamGarbage):
        while piece := await inbound.chunk():
            assert len(piece) <= 1 << 20
    inbound.close()


async def test_an_answer_over_the_readers_limit_is_garbage_and_closed(channel, upstream):
    up = await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 5000)
    inbound = await get(channel, up.endpoint)
    with pytest.raises(UpstreamGarbage):
        await inbound.read(4999)
    await asyncio.wait_for(up.connections[0].lost.wait(), 5)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("head", [b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n2\r\n"])
async def test_an_answer_that_ends_before_its_end_is_cut_after_what_came(channel, upstream, head, end):
    up = await upstream((b"HTTP/1.1 200 OK\r\n" + head + b"ok", None))
    inbound = await get(channel, up.endpoint)
    assert await inbound.chunk() == b"ok"
    up.connections[0].give(end)
    with pytest.raises(UpstreamCut):
        await inbound.chunk()
    with pytest.raises(UpstreamCut):
        await inbound.chunk()


async def test_a_stream_gives_each_piece_as_it_comes(channel, upstream):
    up = await upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    inbound = await get(channel, up.endpoint)
    for text in (b"one", b"two"):
        up.connections[0].give(b"%x\r\n%b\r\n" % (len(text), text))
        assert await inbound.chunk() == text
    up.connections[0].give(b"0\r\n\r\n")
    assert await inbound.chunk() == b""


# ---------------------------------------------------------------- time, leaving, back-pressure


@pytest.mark.parametrize(
    ("answer", "message"),
    [(None, "did not answer"), (b"HTTP/1.1 200 OK\r\n", "did not answer"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "stopped in the middle")],
)
async def test_an_upstream_that_takes_too_long_is_cut(channel, upstream, answer, message):
    up = await upstream(answer)
    with pytest.raises(UpstreamTimeout, match=message):
        await whole(channel, up.endpoint, timeouts=HASTY)
    await asyncio.wait_for(up.connections[0].lost.wait(), 5)


async def test_an_upstream_that_does_not_take_connections_is_unreachable(channel, upstream):
    up = await upstream(OK)
    up.server.close()
    with pytest.raises(UpstreamUnreachable):
        await whole(channel, up.endpoint)


@pytest.mark.parametrize("how", ["close", "cancel", "cancel before the head"])
async def test_letting_go_closes_the_upstream_call(channel, upstream, how):
    up = await upstream(None if how == "cancel before the head" else b"HTTP/1.1 200 OK\r\n\r\ndata: x\n\n")
    if how == "close":
        inbound = await get(channel, up.endpoint)
        await inbound.chunk()
        waiting = asyncio.ensure_future(inbound.chunk())
        await asyncio.sleep(0)
        inbound.close()
        inbound.close()
        with pytest.raises(UpstreamCut):
            await waiting
    else:
        task = asyncio.ensure_future(whole(channel, up.endpoint))
        await asyncio.wait_for(up.asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    if how != "cancel":  # a reader that is cancelled keeps its answer until it is closed
        await asyncio.wait_for(up.connections[0].lost.wait(), 5)
    assert not any(pool.waiting for pool in channel._pools.values())


async def test_closing_an_answer_that_has_ended_keeps_its_connection(channel, upstream):
    up = await upstream(OK)
    inbound = await get(channel, up.endpoint)
    inbound.close()
    assert await inbound.read(LIMIT) == b"ok"
    await whole(channel, up.endpoint)
    assert len(up.connections) == 1


async def test_a_slow_reader_slows_the_upstream_and_loses_nothing(channel, upstream):
    total = 64 << 20
    up = await upstream(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total + bytes(total))
    inbound = await get(channel, up.endpoint, timeouts=HASTY)
    connection = inbound._connection
    while not connection.paused:  # noqa: ASYNC110  there is no event to wait for: that is what is tested
        await asyncio.sleep(0)
    assert inbound.buffered() <= HIGH_WATER + (1 << 20)
    assert up.connections[0].transport.get_write_buffer_size() > total // 2
    quiet = await upstream(None)
    with pytest.raises(UpstreamTimeout):
        await whole(channel, quiet.endpoint, timeouts=HASTY)  # a whole idle time: a paused reader is not the upstream's fault
    size = 0
    while piece := await inbound.chunk():
        size += len(piece)
        assert len(piece) <= HIGH_WATER + (1 << 20)
    assert size == total


async def test_an_answer_that_overtakes_its_request_ends_the_connection(channel, upstream):
    up = await upstream(OK)

    class Early(Peer):
        def data_received(self, data):
            self.transport.pause_reading()
            self.transport.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.get_running_loop().create_server(lambda: Early(up), "127.0.0.1", 0)
    endpoint = Endpoint("u", "http", "127.0.0.1", server.sockets[0].getsockname()[1])
    inbound = await get(channel, endpoint, body=bytes(32 << 20))
    assert inbound.status == 413
    assert all(not kept for pool in channel._pools.values() for kept in pool.idle.values())
    server.close()


async def test_a_channel_that_closes_cuts_what_is_under_way(channel, upstream):
    up = await upstream(b"HTTP/1.1 200 OK\r\n\r\nx")
    inbound = await get(channel, up.endpoint)
    await inbound.chunk()
    await channel.close()
    with pytest.raises(UpstreamCut):
        await inbound.read(LIMIT)


async def test_a_small_head_limit_holds(upstream):
    channel = Channel(limits=ResponseLimits(head=32), sweep=0.02)
    up = await upstream(OK)
    with pytest.raises(UpstreamGarbage):
        await get(channel, up.endpoint)
    await channel.close()


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def serving(identity, clients=None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity.configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def pem(path, blob) -> str:
    blob.write_to_path(path)
    return str(path)


async def test_tls_verifies_and_names_the_urls_host_while_the_checked_address_is_dialled(upstream, authority, tmp_path):
    names = []
    context = serving(authority.issue_cert("api.example"))
    context.sni_callback = lambda connection, name, context: names.append(name)
    trust = UpstreamTls(ca=pem(tmp_path / "ca.pem", authority.cert_pem))
    channel = Channel(resolver(["127.0.0.1"]), sweep=0.02)
    up = await secured(upstream, context, trust)
    assert await whole(channel, up.endpoint) == b"ok"
    assert await whole(channel, up.endpoint) == b"ok"
    assert names == ["api.example"]
    assert len(up.connections) == 1
    await channel.close()


async def secured(upstream, context, trust, host="api.example"):
    up = await upstream(OK, tls=context)
    up.endpoint = Endpoint("u", "https", host, up.port, ("127.0.0.1",), trust)
    return up


@pytest.mark.parametrize("wrong", ["name", "authority", "plain"])
async def test_a_certificate_that_does_not_verify_is_unreachable_and_nothing_is_sent(upstream, authority, tmp_path, wrong):
    identity = (trustme.CA() if wrong == "authority" else authority).issue_cert("other.example" if wrong == "name" else "api.example")
    trust = UpstreamTls(ca=pem(tmp_path / "ca.pem", authority.cert_pem))
    channel = Channel(resolver(["127.0.0.1"]), sweep=0.02)
    up = await secured(upstream, None if wrong == "plain" else serving(identity), trust)
    with pytest.raises((UpstreamUnreachable, UpstreamTimeout)):
        await whole(channel, up.endpoint, timeouts=Timeouts(connect=0.5))
    assert up.requests == []
    await channel.close()


async def test_a_client_certificate_is_shown_and_read_again_after_reload(upstream, authority, tmp_path):
    clients = trustme.CA()
    identity = clients.issue_cert("sidecar.example")
    spec = UpstreamTls(
        ca=pem(tmp_path / "ca.pem", authority.cert_pem),
        cert=pem(tmp_path / "cert.pem", identity.cert_chain_pems[0]),
        key=pem(tmp_path / "key.pem", identity.private_key_pem),
    )
    channel = Channel(resolver(["127.0.0.1"]), sweep=0.02)
    up = await secured(upstream, serving(authority.issue_cert("api.example"), clients), spec)
    await channel.warm(up.endpoint)
    assert await whole(channel, up.endpoint) == b"ok"
    (tmp_path / "cert.pem").write_text("junk")
    assert await whole(channel, up.endpoint) == b"ok"
    channel.reload()
    with pytest.raises(UpstreamUnreachable):
        await whole(channel, up.endpoint)
    with pytest.raises(UpstreamUnreachable):
        await channel.warm(up.endpoint)
    await channel.close()
