"""The listener on real sockets, on asyncio's loop and on uvloop: order, limits, time, back-pressure, TLS, leaving and draining.

Longer than most files because all of it drives one door over raw sockets.
"""

from __future__ import annotations

import asyncio
import gzip
import shutil
import socket
import ssl
from typing import TYPE_CHECKING

import h11
import pytest
import trustme

from sidecar.config.documents import Limits, Tls
from sidecar.errors import ConfigError
from sidecar.http1 import RequestLimits
from sidecar.server.listener import HELD, Listener, ListenLimits
from sidecar.server.tls import Certificates

if TYPE_CHECKING:
    from sidecar.server.exchange import Exchange

QUICK = ListenLimits(RequestLimits(head=4096, headers=20, body=1 << 20), client=0.1, idle=0.1, write=0.1, linger=0.1, sweep=0.02)
CALM = ListenLimits(RequestLimits(head=4096, headers=20, body=1 << 20), sweep=0.02)
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"


class EchoDoor:
    """Answers with the target and the body; what a test needs more it overrides."""

    def __init__(self):
        self.seen = []
        self.refusals = []
        self.no = None
        self.gone = asyncio.Event()
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def serve(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        exchange.on_gone(self.gone.set)
        self.entered.set()
        await self.gate.wait()
        await self.answer(exchange)

    async def answer(self, exchange: Exchange) -> None:
        exchange.respond(200, [("x-method", exchange.method)], exchange.target.encode() + b"|" + exchange.body)

    def admit(self, method, target, headers):
        return self.no

    def refuse(self, method, target, headers, error):
        self.refusals.append((target, error))
        return error.status, [("x-code", error.code)], error.message.encode()


class Client:
    """A raw client whose answers are read by h11."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.h11 = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> Client:
        self.writer.write(data)
        await self.writer.drain()
        return self

    async def answer(self, method="GET"):
        """(status, headers, body, whether the connection stays)."""
        wire = h11.Connection(h11.CLIENT)
        wire.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        wire.send(h11.EndOfMessage())
        head, body = None, b""
        rest, self.rest = getattr(self, "rest", b""), b""
        if rest:
            wire.receive_data(rest)
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await asyncio.wait_for(self.reader.read(65536), 5))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.rest = wire.trailing_data[0]
                headers = {name.decode(): value.decode() for name, value in head.headers}
                return head.status_code, headers, body, headers.get("connection") != "close"

    async def closed(self) -> bytes:
        """What comes until the server ends the connection."""
        try:
            return await asyncio.wait_for(self.reader.read(-1), 5)
        except ConnectionError:
            return b"reset"

    def leave(self):
        self.writer.transport.abort()


@pytest.fixture
async def serve():
    """Start listeners and clients; close them all at the end, and let no bug pass unseen."""
    listeners, clients, bugs = [], [], []

    async def start(door=None, limits=CALM, tls=None, bugs_expected=False):
        door = door or EchoDoor()
        listener = Listener(door, limits, on_bug=bugs.append)
        port = await listener.start("127.0.0.1", 0, tls)
        listeners.append(listener)

        async def connect(**tls_options):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls_options)
            clients.append(writer)
            return Client(reader, writer)

        door.port, door.listener, door.bugs, door.connect = port, listener, bugs, connect
        door.bugs_expected = bugs_expected
        return door

    yield start
    for writer in clients:
        writer.transport.abort()
    for listener in listeners:
        await listener.close(0)
        if not listener.door.bugs_expected:
            assert bugs == []


# ---------------------------------------------------------------- answers


async def test_requests_of_one_connection_are_answered_one_after_the_other(serve):
    door = await serve()
    client = await door.connect()
    for number in range(3):
        await client.send(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" % number)
        assert (await client.answer())[2] == b"/%d|hi" % number
    assert door.seen[0].peer[0] == "127.0.0.1"
    assert not door.seen[0].tls
    assert door.listener.connections == 1


async def test_pipelined_requests_are_served_in_order_one_at_a_time(serve):
    door = await serve()
    door.gate.clear()
    client = await door.connect()
    await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(40)))
    await door.entered.wait()
    assert len(door.seen) == 1
    door.gate.set()
    assert [(await client.answer())[2] for _ in range(40)] == [b"/%d|" % number for number in range(40)]


async def test_a_pipeline_longer_than_the_buffer_makes_the_client_wait_and_loses_nothing(serve):
    door = await serve()
    door.gate.clear()
    client = await door.connect()
    one = b"GET /%05d HTTP/1.1\r\nHost: a\r\n\r\n"
    sending = asyncio.ensure_future(client.send(b"".join(one % number for number in range(HELD // 10))))
    await door.entered.wait()
    door.gate.set()
    for number in range(HELD // 10):
        assert (await client.answer())[2] == b"/%05d|" % number
    await sending


async def test_a_refused_request_in_a_pipeline_is_answered_after_those_before_it(serve):
    door = await serve()
    client = await door.connect()
    await client.send(GET + b"GET  /bad HTTP/1.1\r\n\r\n" + GET)
    assert (await client.answer())[0] == 200
    assert (await client.answer())[0] == 400
    assert await client.closed() == b""
    assert len(door.seen) == 1


async def test_a_head_answer_has_the_length_and_no_body(serve):
    door = await serve()
    client = await door.connect()
    await client.send(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
    status, headers, body, _ = await client.answer("HEAD")
    assert (status, headers["content-length"], body) == (200, "3", b"")
    assert (await client.answer())[2] == b"/a|"


async def test_an_http_1_0_client_is_answered_and_closed(serve):
    client = await (await serve()).connect()
    await client.send(b"GET /a HTTP/1.0\r\n\r\n")
    assert (await client.answer())[1:] == ({"x-method": "GET", "content-length": "3", "connection": "close"}, b"/a|", False)
    assert await client.closed() == b""


class StreamDoor(EchoDoor):
    async def answer(self, exchange):
        await exchange.start(200, [("content-type", "text/event-stream"), ("content-length", "9"), ("transfer-encoding", "evil")])
        for piece in (b"one", b"", b"two"):
            await exchange.write(piece)
        await exchange.finish()


async def test_a_stream_is_chunked_and_the_framing_is_the_listeners_own(serve):
    door = await serve(StreamDoor())
    client = await door.connect()
    await client.send(GET + GET)
    for _ in range(2):
        assert await client.answer() == (200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}, b"onetwo", True)


async def test_a_stream_to_an_http_1_0_client_ends_with_the_connection(serve):
    client = await (await serve(StreamDoor())).connect()
    await client.send(b"GET /a HTTP/1.0\r\n\r\n")
    assert (await client.closed()).endswith(b"connection: close\r\n\r\nonetwo")


async def test_a_header_that_would_split_the_answer_is_a_loud_500(serve):
    class Splitting(EchoDoor):
        async def answer(self, exchange):
            exchange.respond(200, [("x-a", "b\r\nset-cookie: c")], b"")

    door = await serve(Splitting(), bugs_expected=True)
    client = await door.connect()
    await client.send(GET)
    assert (await client.answer())[0] == 500
    assert isinstance(door.bugs[0], ValueError)


async def test_a_bug_before_the_answer_is_a_bare_500_and_one_inside_it_cuts_the_connection(serve):
    class Failing(EchoDoor):
        async def answer(self, exchange):
            if exchange.target == "/inside":
                await exchange.start(200, [])
            raise LookupError

    door = await serve(Failing(), bugs_expected=True)
    client = await door.connect()
    await client.send(GET)
    assert (await client.answer())[:3:2] == (500, b"internal error\n")
    await client.send(b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n")
    assert not (await client.closed()).endswith(b"0\r\n\r\n")
    assert [type(bug) for bug in door.bugs] == [LookupError, LookupError]


async def test_a_door_without_an_answer_and_a_door_with_two_are_bugs(serve):
    class Silent(EchoDoor):
        async def answer(self, exchange):
            if exchange.target == "/twice":
                exchange.respond(200, [], b"")
                exchange.respond(200, [], b"")

    door = await serve(Silent(), bugs_expected=True)
    client = await door.connect()
    await client.send(GET)
    assert (await client.answer())[0] == 500
    await client.send(b"GET /twice HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (await client.answer())[0] == 200
    await client.send(GET)
    assert (await client.answer())[0] == 500
    assert [type(bug) for bug in door.bugs] == [RuntimeError] * 3


# ---------------------------------------------------------------- the early no, and limits


async def test_a_client_that_waits_for_100_gets_it_only_when_the_door_admits_it(serve):
    door = await serve()
    head = b"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    client = await door.connect()
    await client.send(head)
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hi")
    assert (await client.answer())[2] == b"/a|hi"
    door.no = (503, [("retry-after", "1")], b"full")
    client = await door.connect()
    await client.send(head)
    assert (await client.answer())[:3] == (503, {"retry-after": "1", "content-length": "4", "connection": "close"}, b"full")


async def test_an_early_no_keeps_the_connection_where_the_whole_request_had_come(serve):
    door = await serve()
    door.no = (503, [], b"full")
    client = await door.connect()
    await client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi" * 3)
    assert [(await client.answer())[::3] for _ in range(3)] == [(503, True)] * 3
    door.no = None
    await client.send(GET)
    assert (await client.answer())[0] == 200


async def test_an_early_no_is_read_by_a_client_that_is_still_sending(serve):
    door = await serve(limits=CALM._replace(request=RequestLimits(body=1 << 30)))
    door.no = (503, [], b"full")
    client = await door.connect()
    sending = asyncio.ensure_future(client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n" + b"x" * (1 << 20)))
    assert (await client.answer())[0] == 503
    await sending
    assert door.seen == []


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n", 413),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n" + b"x" * 0x100001, 413),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000, 413),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n", 415),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
async def test_what_cannot_be_read_is_refused_by_the_door_and_the_connection_ends(serve, data, status):
    door = await serve()
    client = await door.connect()
    await client.send(data)
    answer = await client.answer()
    assert (answer[0], answer[3]) == (status, False)
    assert [error.status for _, error in door.refusals] == [status]
    assert door.seen == []


async def test_a_gzip_bomb_is_413_and_a_gzip_body_is_decoded(serve):
    door = await serve()
    client = await door.connect()
    for data, expected in ((gzip.compress(b"hi"), 200), (gzip.compress(b"x" * (1 << 21)), 413)):
        await client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        assert (await client.answer())[0] == expected
    assert [exchange.body for exchange in door.seen] == [b"hi"]


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("part", [b"GET /a HT", b"GET /a HTTP/1.1\r\nHost: a\r\n"])
async def test_a_head_that_does_not_come_is_408(serve, part):
    client = await (await serve(limits=QUICK)).connect()
    await client.send(part)
    assert (await client.answer())[0] == 408
    assert await client.closed() == b""


async def test_a_body_that_does_not_come_is_408(serve):
    door = await serve(limits=QUICK)
    client = await door.connect()
    await client.send(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    assert (await client.answer())[0] == 408
    assert door.refusals[0][0] == "/v1/x"


async def test_an_idle_connection_is_closed_without_a_word(serve):
    door = await serve(limits=QUICK)
    client = await door.connect()
    assert await client.closed() == b""
    client = await door.connect()
    await client.send(GET)
    await client.answer()
    assert await client.closed() == b""


async def test_an_answer_that_takes_long_to_make_is_no_idle_connection(serve):
    door = await serve(limits=QUICK)
    door.gate.clear()
    client = await door.connect()
    await client.send(GET)
    idle = await door.connect()
    assert await idle.closed() == b""  # a whole idle time has gone by
    door.gate.set()
    assert (await client.answer())[0] == 200


async def test_a_client_that_stays_after_a_refusal_is_cut(serve):
    door = await serve(limits=QUICK)
    client = await door.connect()
    await client.send(b"nonsense\r\n")
    assert b" 400 " in await client.closed()


# ---------------------------------------------------------------- back-pressure


class Flood(EchoDoor):
    """Streams without end; `sent` counts what the listener took."""

    def __init__(self):
        super().__init__()
        self.sent = 0
        self.error = None

    async def answer(self, exchange):
        await exchange.start(200, [])
        try:
            while True:
                await exchange.write(b"x" * 65536)
                self.sent += 65536
        except ConnectionResetError as error:
            self.error = error
            raise


async def test_a_slow_reader_slows_the_door_and_is_cut_in_the_end(serve):
    door = await serve(Flood(), limits=QUICK)
    client = await door.connect()
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.reader._transport.pause_reading()
    await client.send(GET)
    await asyncio.wait_for(door.gone.wait(), 5)
    assert door.sent < 32 << 20
    assert door.seen[0].gone


async def test_a_slow_reader_gets_no_second_answer_before_it_read_the_first(serve):
    class Big(EchoDoor):
        async def answer(self, exchange):
            exchange.respond(200, [], b"x" * (16 << 20))

    door = await serve(Big())
    client = await door.connect()
    client.reader._transport.pause_reading()
    await client.send(GET * 3)
    await door.entered.wait()
    other = await door.connect()
    await other.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
    await other.answer()  # the loop has turned often enough for a second answer to have begun
    assert [exchange.target for exchange in door.seen] == ["/a", "/other"]
    client.reader._transport.resume_reading()
    assert [len((await client.answer())[2]) for _ in range(3)] == [16 << 20] * 3


# ---------------------------------------------------------------- leaving and draining


@pytest.mark.parametrize("how", ["abort", "eof"])
async def test_a_client_that_leaves_is_noticed_at_once_and_writing_to_it_raises(serve, how):
    class Late(EchoDoor):
        async def answer(self, exchange):
            assert exchange.gone
            late = []
            exchange.on_gone(lambda: late.append(1))
            assert late == [1]
            with pytest.raises(ConnectionResetError):
                exchange.respond(200, [], b"")
            with pytest.raises(ConnectionResetError):
                await exchange.start(200, [])
            self.answered.set()

    door = await serve(Late())
    door.answered = asyncio.Event()
    door.gate.clear()
    client = await door.connect()
    await client.send(GET)
    await door.entered.wait()
    client.leave() if how == "abort" else client.writer.write_eof()
    await asyncio.wait_for(door.gone.wait(), 5)
    door.gate.set()
    await asyncio.wait_for(door.answered.wait(), 5)


async def test_a_client_that_leaves_mid_stream_wakes_the_writer(serve):
    door = await serve(Flood())
    client = await door.connect()
    client.reader._transport.pause_reading()
    await client.send(GET)
    await door.entered.wait()
    client.leave()
    await asyncio.wait_for(door.gone.wait(), 5)


async def test_gone_is_not_told_after_an_answer_is_finished(serve):
    door = await serve()
    client = await door.connect()
    await client.send(GET)
    await client.answer()
    client.leave()
    await door.listener.close(1)
    assert not door.gone.is_set()


async def test_draining_closes_the_idle_lets_the_running_finish_and_takes_no_more(serve):
    door = await serve()
    idle, running = await door.connect(), await door.connect()
    door.gate.clear()
    await running.send(GET)
    await door.entered.wait()
    closing = asyncio.ensure_future(door.listener.close(5))
    assert await idle.closed() == b""
    with pytest.raises(OSError):
        await door.connect()
    assert not closing.done()
    door.gate.set()
    assert (await running.answer())[::3] == (200, False)
    assert await running.closed() == b""
    await closing
    assert door.listener.connections == 0


async def test_what_outlives_the_grace_is_cut(serve):
    door = await serve()
    door.gate.clear()
    client = await door.connect()
    await client.send(GET)
    await door.entered.wait()
    await door.listener.close(0.01)
    assert await client.closed() in (b"", b"reset")
    assert door.listener.connections == 0


async def test_connections_past_the_limit_are_cut(serve):
    door = await serve(limits=CALM._replace(connections=1))
    first = await door.connect()
    await first.send(GET)
    await first.answer()
    assert await (await door.connect()).closed() in (b"", b"reset")
    await first.send(GET)
    assert (await first.answer())[0] == 200


def test_the_limits_of_the_settings_are_taken_over():
    limits = ListenLimits.of(Limits(body=5, header_bytes=6, headers=7, client_timeout=8.0, idle=9.0))
    assert limits.request == RequestLimits(head=6, headers=7, body=5)
    assert (limits.client, limits.idle, limits.write) == (8.0, 9.0, 8.0)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def write(folder, authority, *, client_ca=None, require=False) -> Tls:
    """Certificate files of a server, as a Settings document names them."""
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    if client_ca is not None:
        client_ca.cert_pem.write_to_path(folder / "ca.pem")
    return Tls(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"), client_ca=str(folder / "ca.pem") if client_ca else "", require_client=require)


def trusting(authority, identity=None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if identity is not None:
        identity.configure_cert(context)
    return context


async def test_tls_serves_and_says_so(serve, authority, tmp_path):
    door = await serve(tls=Certificates(write(tmp_path, authority)).context)
    client = await door.connect(ssl=trusting(authority))
    await client.send(GET)
    assert (await client.answer())[0] == 200
    assert door.seen[0].tls
    assert door.seen[0].certificate is None


async def test_a_client_certificate_reaches_the_door_as_der(serve, authority, tmp_path):
    clients = trustme.CA()
    identity = clients.issue_cert("spiffe.example")
    door = await serve(tls=Certificates(write(tmp_path, authority, client_ca=clients)).context)
    client = await door.connect(ssl=trusting(authority, identity))
    await client.send(GET)
    assert (await client.answer())[0] == 200
    assert door.seen[0].certificate == ssl.PEM_cert_to_DER_cert(identity.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize("stranger", [True, False])
async def test_no_certificate_or_a_strangers_is_refused_where_one_is_required(serve, authority, tmp_path, stranger):
    identity = trustme.CA().issue_cert("spiffe.example") if stranger else None
    door = await serve(tls=Certificates(write(tmp_path, authority, client_ca=trustme.CA(), require=True)).context)
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        client = await door.connect(ssl=trusting(authority, identity))
        await client.send(GET)
        await client.reader.readexactly(1)
    assert door.seen == []


async def test_reloaded_certificates_serve_new_connections_and_a_broken_reload_changes_nothing(serve, authority, tmp_path):
    first, second = trustme.CA(), trustme.CA()
    certificates = Certificates(write(tmp_path, authority, client_ca=first, require=True))
    door = await serve(tls=certificates.context)
    standing = await door.connect(ssl=trusting(authority, first.issue_cert("a.example")))
    other = trustme.CA()
    write(tmp_path, other, client_ca=second, require=True)
    certificates.reload()
    new = await door.connect(ssl=trusting(other, second.issue_cert("a.example")))
    for client in (standing, new):
        await client.send(GET)
        assert (await client.answer())[0] == 200
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        late = await door.connect(ssl=trusting(other, first.issue_cert("a.example")))
        await late.send(GET)
        await late.reader.readexactly(1)
    (tmp_path / "key.pem").write_text("junk")
    with pytest.raises(ConfigError):
        certificates.reload()
    again = await door.connect(ssl=trusting(other, second.issue_cert("a.example")))
    await again.send(GET)
    assert (await again.answer())[0] == 200


# ---------------------------------------------------------------- a second opinion


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-d", "hi"], b"/a|hi"),
        (["-H", "Transfer-Encoding: chunked", "-d", "hi"], b"/a|hi"),
        (["-H", "Expect: 100-continue", "-d", "hi"], b"/a|hi"),
        (["--http1.0"], b"/a|"),
        (["-I"], b"content-length: 3\r\n"),
    ],
)
async def test_curl_understands_the_answers(serve, options, expected):
    door = await serve()
    command = ["curl", "-sS", "--noproxy", "*", "-m", "5", *options, f"http://127.0.0.1:{door.port}/a"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert expected in out
