"""The request reader: what it reads, that cuts change nothing, and that h11 reads the same."""

from __future__ import annotations

import gzip
import re
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.errors import CallError, MalformedCall, TooLarge
from sidecar.http1 import RequestLimits, RequestReader

LIMITS = RequestLimits(head=8192, headers=50, body=4096)
Read = tuple[str, str, tuple[tuple[str, str], ...], bytes]
REFUSED = "refused"


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(point % (len(data) + 1) for point in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


def ours(parts: list[bytes]) -> list[Read | str]:
    """All requests in order, as one listener would take them, and REFUSED where it stops."""
    reader, found = RequestReader(LIMITS), []
    try:
        for part in parts:
            reader.feed(part)
            while reader.complete:
                assert reader.head is not None
                headers = tuple((name, value.lower() if name == "transfer-encoding" else value) for name, value in reader.head.headers)  # as h11 does
                found.append((reader.head.method, reader.head.target, headers, reader.body()))
                if not reader.head.keep_alive:
                    return found
                rest, reader.rest = reader.rest, b""
                reader.next()
                if rest:
                    reader.feed(rest)
    except CallError:
        found.append(REFUSED)
    return found


def theirs(parts: list[bytes]) -> list[Read | str]:
    connection, found = h11.Connection(h11.SERVER, max_incomplete_event_size=8192), []
    head: h11.Request | None = None
    body = b""
    try:
        for part in parts:
            connection.receive_data(part)
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                if isinstance(event, h11.Request):
                    head, body = event, b""
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
                    found.append((head.method.decode(), head.target.decode(), headers, body))
                    connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    connection.send(h11.EndOfMessage())
                    if connection.our_state is h11.MUST_CLOSE:
                        return found
                    connection.start_next_cycle()
    except h11.RemoteProtocolError:
        found.append(REFUSED)
    return found


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"])
TARGETS = st.sampled_from(["/", "/v1/chat/completions", "/a?b=%20&c", "//a/../b", "/a#b", "http://x/a", "*", '/a\\"<>^`{|}'])
VERSIONS = st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.2"])
NEWLINES = st.sampled_from(["\r\n"] * 20 + ["\n", "\r"])
HOSTS = st.sampled_from([["Host: a"]] * 8 + [[], ["Host:"], ["Host: a", "Host: a"], ["host:b:80"], ["Host: a b"], ["HOST: [::1]:4100"]])
FRAMINGS = st.sampled_from(
    [[]] * 3
    + [["Content-Length: {n}"]] * 6
    + [["transfer-encoding: chunked"]] * 6
    + [
        ["Content-Length: 0{n}"],
        ["Content-Length: {n} "],
        ["content-length: {n}, {n}"],
        ["Content-Length: {n}", "Content-Length: {n}"],
        ["Content-Length: {n}", "Transfer-Encoding: chunked"],
    ]
    + [
        ["Transfer-Encoding: Chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: identity"],
        ["Content-Length: +{n}"],
        ["Content-Length : {n}"],
    ]
)
OTHERS = st.lists(
    st.sampled_from(
        ["X: y", "x:y", "X:", "X:  spaced out \t", "Accept: */*", "Connection: close", "Connection: keep-alive", "connection: x, Close", "X: \xe9", "X: a\r\n b", "X : y", "X: \x01", "Upgrade: x",
         "Expect: 100-continue", "Expect: x", "X-HTTP-Method-Override: PUT", "Content-Encoding: identity", "(: y", "Connection: x", "Cookie: a=b"]
    ),
    max_size=3,
)  # fmt: skip
CHUNKS = st.sampled_from(
    ["{h}\r\n{b}\r\n", "{h};a=b\r\n{b}\r\n", '{h};a="b c"\r\n{b}\r\n', "0{h}\r\n{b}\r\n", "{h}\n{b}\r\n", "{h} \r\n{b}\r\n", "{h}\r\n{b}\n", "{h}\r\n{b}"]
)
TRAILS = st.sampled_from(["0\r\n\r\n"] * 6 + ["0\r\nX: y\r\n\r\n", "000\r\n\r\n", "0\n\n", "0\r\nX: y\n\r\n", "0;a\r\n\r\n"])
BODIES = st.text("ab\r\n0 ;:", max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    newline = draw(NEWLINES)
    body = draw(BODIES)
    framing = draw(FRAMINGS)
    lines = [f"{draw(METHODS)} {draw(TARGETS)} {draw(VERSIONS)}", *draw(HOSTS), *(line.format(n=len(body)) for line in framing), *draw(OTHERS)]
    head = "".join(line + newline for line in lines) + draw(st.sampled_from(["\r\n"] * 8 + [newline]))
    if any("hunked" in line for line in framing):
        chunk = draw(st.sampled_from(["{h}\r\n{b}\r\n"] * 4) | CHUNKS)
        body = (chunk.format(h=f"{len(body):x}", b=body) if body else "") + draw(TRAILS)
    elif not framing:
        body = ""
    return (head + body).encode("latin-1")


STRICTER: dict[str, re.Pattern[bytes]] = {
    "a bare LF or CR in a head or a chunk line (RFC 9112, 2.2 lets a server take LF)": re.compile(rb"(?<!\r)\n|\r(?!\n)"),
    "a folded field (RFC 9112, 5.2 lets a server take it)": re.compile(rb"\r\n[ \t]"),
    "both Content-Length and Transfer-Encoding (RFC 9112, 6.3 lets Transfer-Encoding win)": re.compile(rb"(?is)content-length.*transfer-encoding"),
    "equal lengths, repeated (RFC 9112, 6.3 lets a server take one)": re.compile(rb"(?is)content-length: *\d+ *(,|\r\ncontent-length)"),
    "control characters in a value": re.compile(rb"[\x01-\x08]"),
    "a method that no door serves": re.compile(rb"(?<![A-Z])(TRACE|FOO) "),
    "a target that is no path": re.compile(rb"(?<![A-Z])[A-Z]+ (http://|\*|/a#b)"),
    "a Host that is none": re.compile(rb"Host: a b|Host:\r\n"),
    "Transfer-Encoding on HTTP/1.0": re.compile(rb"(?is)HTTP/1\.0\r\n.*transfer-encoding"),
    "HTTP/1.0 with a repeated Host": re.compile(rb"(?is)HTTP/1\.0\r\n.*host.*\r\nhost"),
    "another expectation than 100-continue": re.compile(rb"Expect: x"),
    "a field with one value, repeated": re.compile(rb"(?is)\r\n(expect|content-encoding):.*\r\n\1:"),
    "Upgrade": re.compile(rb"Upgrade: x"),
    "method override": re.compile(rb"(?i)x-http-method-override"),
    "another HTTP version": re.compile(rb"HTTP/(1\.2|2\.0)"),
    "space after a chunk size": re.compile(rb"\r\n[0-9a-f]+ \r\n"),
    "another coding before chunked": re.compile(rb"gzip, chunked"),
}
"""Where h11 takes what is refused here: the reason, and the bytes that show it."""


@settings(max_examples=600, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join), st.lists(st.integers(0, 1000), max_size=6))
@example(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", [62, 63, 64])
@example(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n0GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", [])
@example(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n0TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", [])
def test_h11_reads_the_same_or_we_are_stricter_for_a_listed_reason(data, cuts):
    mine, other = ours(cut(data, cuts)), theirs([data])
    if mine and mine[-1] == REFUSED:
        assert other[: len(mine) - 1] == mine[:-1]
        assert (other[len(mine) - 1 :] or [REFUSED])[0] == REFUSED or any(pattern.search(data) for pattern in STRICTER.values())
    else:
        assert other[: len(mine)] == mine
        assert other in (mine, [*mine, REFUSED])  # h11 looks at an unfinished head earlier


@settings(max_examples=300, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join), st.lists(st.integers(0, 1000), max_size=12))
def test_any_cut_of_the_bytes_gives_the_same_requests(data, cuts):
    assert ours(cut(data, cuts)) == ours([data])


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_garbage_raises_only_the_one_error(data, cuts):
    ours(cut(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data, cuts))
    ours(cut(data, cuts))


def one(data: bytes) -> RequestReader:
    reader = RequestReader(LIMITS)
    reader.feed(data)
    assert reader.complete
    return reader


def test_trailers_and_extensions_are_dropped():
    reader = one(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-Evil: 1\r\nAuthorization: x\r\n\r\n")
    assert reader.body() == b"abc"
    assert reader.head is not None
    assert [name for name, _ in reader.head.headers] == ["host", "transfer-encoding"]


def test_what_follows_a_message_stays_unread_until_its_turn():
    reader = one(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\n")
    reader.feed(b"Host: a\r\n\r\n")
    assert reader.target == "/1"
    rest, reader.rest = reader.rest, b""
    reader.next()
    reader.feed(rest)
    assert reader.target == "/2"
    assert reader.complete


@pytest.mark.parametrize(
    ("line", "lasts"),
    [("HTTP/1.1\r\nHost: a", True), ("HTTP/1.0\r\nHost: a", False), ("HTTP/1.0\r\nConnection: keep-alive", False), ("HTTP/1.1\r\nHost: a\r\nConnection: close", False),
     ("HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: x,CLOSE", False), ("HTTP/1.1\r\nHost: a\r\nConnection: closed", True)],
)  # fmt: skip
def test_a_connection_lasts_unless_the_client_says_otherwise_or_is_of_1_0(line, lasts):
    head = one(f"GET / {line}\r\n\r\n".encode()).head
    assert head is not None
    assert head.keep_alive is lasts


def test_values_lose_outer_whitespace_and_keep_their_bytes():
    head = one(b"GET / HTTP/1.1\r\nHOST:a\r\nX-Odd: \t \xe9 b\t \r\nX-Empty:   \r\n\r\n").head
    assert head is not None
    assert head.headers == [("host", "a"), ("x-odd", "\xe9 b"), ("x-empty", "")]


def test_gzip_is_decoded_and_no_longer_announced():
    data = gzip.compress(b'{"a":1}')
    reader = one(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    assert reader.body() == b'{"a":1}'
    assert reader.head is not None
    assert "content-encoding" not in dict(reader.head.headers)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (gzip.compress(b"x" * 100_000, mtime=0), TooLarge),
        (gzip.compress(b"x", mtime=0)[:-1], MalformedCall),
        (gzip.compress(b"x", mtime=0) + b"y", MalformedCall),
        (gzip.compress(b"x", mtime=0) * 2, MalformedCall),
        (b"abc", MalformedCall),
    ],
)
def test_a_gzip_body_that_is_a_bomb_or_not_one_whole_member_is_refused(data, error):
    reader = one(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    with pytest.raises(error):
        reader.body()


@given(st.binary(max_size=4096))
def test_what_gzip_packed_is_what_comes_out(data):
    packed = gzip.compress(data)
    if len(packed) <= LIMITS.body:
        assert one(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: x-gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed).body() == data
