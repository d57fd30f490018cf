"""Requests with two readings, as data. Each must be refused, in one feed and byte by byte, with nothing read as a request before it.

Sources: RFC 9112 sections 2 to 7 and 11, the published desync corpora (CL.TE, TE.CL, TE.TE, 0.CL), and advisories of other servers.
"""

from __future__ import annotations

import pytest

from sidecar.errors import CallError, MalformedCall, MethodNotAllowed, TooLarge, WrongMediaType
from sidecar.http1 import RequestLimits, RequestReader

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

BAD_LINE = {
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF after the line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare CR after the line": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "blank line in front": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "LF in front": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in front": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces before the version": b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "trailing space": b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "tab": b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "line end in the target": b"GET /a\r\nX: HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character in the target": b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute form, other host": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/0.9, said": b"GET / HTTP/0.9\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/1.10": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "lower-case version": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "TLS hello on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
BAD_FIELDS = {
    "bare LF": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\nGET /b HTTP/1.1\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "bare LF and no blank line": b"GET / HTTP/1.1\r\nHost: a\n\n",
    "fold": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "fold by tab": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
    "fold of an empty value": b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n c\r\n\r\n",
    "fold of the length": POST + b"Content-Length:\r\n 3\r\n\r\nabc",
    "fold of the coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "space before the first field": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "tab before the colon": b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n",
    "space before the colon of the length": POST + b"Content-Length : 3\r\n\r\nabc",
    "space before the colon of the coding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    "DEL in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: a\r\nfoo\r\n\r\n",
    "separator in a name": b"GET / HTTP/1.1\r\nHost: a\r\nf(o: b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: a\r\nf\0o: b\r\n\r\n",
    "non-ASCII name": b"GET / HTTP/1.1\r\nHost: a\r\nf\xe9o: b\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
    "no field at all": b"GET / HTTP/1.1\r\n\r\n",
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same Host twice": b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    "two Hosts on 1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "list in Host": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "path in Host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "user in Host": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "percent in Host": b"GET / HTTP/1.1\r\nHost: a%00\r\n\r\n",
    "two Authorizations": b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
    "two Content-Types": POST + b"Content-Type: application/json\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
    "Upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "Upgrade to h2c": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "Upgrade without Connection": b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n",
    "method override": POST + b"X-HTTP-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n",
    "method override, second spelling": POST + b"X-Method-Override: DELETE\r\nContent-Length: 0\r\n\r\n",
    "method override, third spelling": POST + b"X-HTTP-Method: DELETE\r\nContent-Length: 0\r\n\r\n",
    "other expectation": POST + b"Expect: 200-ok\r\nContent-Length: 0\r\n\r\n",
}
BAD_FRAMING = {
    "CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n",
    "CL.TE on 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE on 1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length twice, equal": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "length twice, unequal": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "list of equal lengths": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "plus": POST + b"Content-Length: +3\r\n\r\nabc",
    "minus": POST + b"Content-Length: -3\r\n\r\nabc",
    "empty length": POST + b"Content-Length:\r\n\r\nabc",
    "hexadecimal length": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "fraction": POST + b"Content-Length: 3.0\r\n\r\nabc",
    "two numbers": POST + b"Content-Length: 3 3\r\n\r\nabc",
    "vertical tab before the length": POST + b"Content-Length: \x0b3\r\n\r\nabc",
    "superscript digit": POST + b"Content-Length: \xb3\r\n\r\nabc",
    "length past 64 bits": POST + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "TE.TE": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE.TE, equal": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\nabc",
    "gzip coding": POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "parameter": POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
    "vertical tab before the coding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "empty coding": POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "comma first": POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
}
BAD_CHUNKS = {
    "LF after the size": b"3\nabc\r\n0\r\n\r\n",
    "LF after the data": b"3\r\nabc\n0\r\n\r\n",
    "CR alone after the size": b"3\rabc\r\n0\r\n\r\n",
    "nothing after the data": b"3\r\nabc0\r\n\r\n",
    "data longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-3\r\nabc\r\n0\r\n\r\n",
    "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n",
    "space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "space after the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "size past 64 bits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "control character in an extension": b"3;a\x01\r\nabc\r\n0\r\n\r\n",
    "extension without end": b"3;" + b"a" * 20000,
    "leading zeros without end": b"0" * 20000,
    "trailers without end": b"0\r\n" + b"X: y\r\n" * 5000,
    "bare LF in a trailer": b"0\r\nX: y\n\r\n",
    "fold in a trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "length in a trailer": b"0\r\nContent-Length: 5\r\n\r\n",
    "coding in a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "LF at the end": b"0\r\n\n",
    "no HTTP at all": b"GET / HTTP/1.1\r\n",
}
CASES = {**BAD_LINE, **BAD_FIELDS, **BAD_FRAMING, **{f"chunk: {name}": CHUNKED + data for name, data in BAD_CHUNKS.items()}}
LIMITS = RequestLimits(head=4096, headers=20, body=1 << 20)


def refused(reader: RequestReader, data: bytes, step: int) -> CallError | None:
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            assert not reader.complete, "it was taken for a request"
    except CallError as error:
        return error
    return None


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", CASES)
def test_a_request_with_two_readings_is_refused_however_it_is_cut(name, step):
    error = refused(RequestReader(LIMITS), CASES[name], step)
    assert isinstance(error, MalformedCall | MethodNotAllowed)
    assert error.status in (400, 405)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PRI", "FOO", "PROPFIND", "SOURCE"])
def test_a_method_that_no_door_serves_is_405(method):
    with pytest.raises(MethodNotAllowed):
        RequestReader(LIMITS).feed(f"{method} /v1/models HTTP/1.1\r\nHost: a\r\n\r\n".encode())


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 21 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
        b"GET /" + b"a" * 5000,
        POST + b"Content-Length: 1048577\r\n\r\n",
        CHUNKED + b"fffffff\r\n" + b"x" * 1048577,
    ],
)
def test_what_is_over_a_limit_is_413(data):
    with pytest.raises(TooLarge):
        RequestReader(LIMITS).feed(data)


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "gzip, br", "compress", "zstd"])
def test_an_unknown_content_coding_is_415(coding):
    with pytest.raises(WrongMediaType):
        RequestReader(LIMITS).feed(POST + f"Content-Encoding: {coding}\r\nContent-Length: 3\r\n\r\nabc".encode())


def test_a_refused_request_still_tells_its_target_so_that_the_answer_finds_its_dialect():
    for data in (
        b"POST /v1/messages HTTP/1.1\nHost: a\n\n",
        b"POST /v1/messages HTTP/1.1\r\nHost : a\r\n\r\n",
        b"POST /v1/messages HTTP/2.0\r\n\r\n",
        b"TRACE /v1/messages HTTP/1.1\r\n\r\n",
    ):
        reader = RequestReader(LIMITS)
        with pytest.raises(CallError):
            reader.feed(data)
        assert reader.target == "/v1/messages"


@pytest.mark.parametrize("name", CASES)
def test_the_reason_never_echoes_what_was_sent(name):
    marked = CASES[name].replace(b"X: ", b"X-Secret-Marker: ")
    error = refused(RequestReader(LIMITS), marked, 1 << 20)
    assert error is not None
    assert "Marker" not in error.message
