"""Requests with two readings against the assembled sidecar: each is refused and ends its connection, and what hides in it reaches nobody.

The grammar itself is tested in `tests/http1`; here the upstream's counter and the records speak.
"""

import asyncio
import json

import pytest

HIDDEN = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "smuggled"}]}).encode()
OPEN = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "open"}]}).encode()
WARM = json.dumps({"model": "gpt-4o", "temperature": 2, "messages": [{"role": "user", "content": "denied"}]}).encode()
PATH = b"/v1/chat/completions"


def head(*lines, target=PATH, version=b"HTTP/1.1", host=b"host: localhost", method=b"POST"):
    """A head with the key {key} still to be filled in."""
    first = [method + b" " + target + b" " + version, *([host] if host else []), b"authorization: Bearer {key}", b"content-type: application/json"]
    return b"\r\n".join([*first, *lines, b"", b""])


def sized(body, *lines, **more):
    return head(b"content-length: %d" % len(body), *lines, **more) + body


def chunks(*parts, end=b"0\r\n\r\n"):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


SECOND = sized(HIDDEN)
INNER = SECOND.replace(b"{key}", b"x")
CHUNKED = b"transfer-encoding: chunked"

REFUSED = {
    "CL and TE": head(b"content-length: %d" % len(OPEN), CHUNKED) + chunks(OPEN) + SECOND,
    "TE and CL": head(CHUNKED, b"content-length: 4") + chunks(OPEN) + SECOND,
    "two lengths": head(b"content-length: %d" % len(OPEN), b"content-length: 0") + OPEN + SECOND,
    "two equal lengths": head(b"content-length: %d" % len(OPEN), b"content-length: %d" % len(OPEN)) + OPEN + SECOND,
    "a list of lengths": head(b"content-length: %d, 0" % len(OPEN)) + OPEN + SECOND,
    "a signed length": head(b"content-length: +%d" % len(OPEN)) + OPEN + SECOND,
    "a length and more": head(b"content-length: %dx" % len(OPEN)) + OPEN + SECOND,
    "no length": head() .replace(b"content-type", b"content-length : 5\r\ncontent-type") + OPEN + SECOND,
    "chunked, twice": head(CHUNKED, CHUNKED) + chunks(OPEN) + SECOND,
    "chunked, then identity": head(b"transfer-encoding: chunked, identity") + chunks(OPEN) + SECOND,
    "identity": head(b"transfer-encoding: identity") + OPEN + SECOND,
    "xchunked": head(b"transfer-encoding: xchunked") + chunks(OPEN) + SECOND,
    "chunked after a tab of its own": head(b"transfer-encoding:\x0bchunked") + chunks(OPEN) + SECOND,
    "chunked, folded": head(b"transfer-encoding:\r\n chunked") + chunks(OPEN) + SECOND,
    "chunked on 1.0": head(CHUNKED, version=b"HTTP/1.0") + chunks(OPEN) + SECOND,
    "space before the colon": head(b"transfer-encoding : chunked") + chunks(OPEN) + SECOND,
    "bare LF in the head": head(b"x: y\ncontent-length: %d" % len(OPEN)) + OPEN + SECOND,
    "bare LF ends the head": sized(OPEN).replace(b"\r\n\r\n", b"\n\n", 1) + SECOND,
    "bare LF throughout": sized(OPEN).replace(b"\r\n", b"\n") + SECOND,
    "bare CR in a value": head(b"x: a\rcontent-length: 0", b"content-length: %d" % len(OPEN)) + OPEN + SECOND,
    "a fold": head(b"x: a\r\n b", b"content-length: %d" % len(OPEN)) + OPEN + SECOND,
    "NUL in a value": head(b"x: a\0b", b"content-length: %d" % len(OPEN)) + OPEN + SECOND,
    "two hosts": sized(OPEN, b"host: evil.example") + SECOND,
    "the same host twice": sized(OPEN, b"host: localhost") + SECOND,
    "no host": sized(OPEN, host=b"") + SECOND,
    "two keys": sized(OPEN, b"authorization: Bearer other") + SECOND,
    "two types": sized(OPEN, b"content-type: text/plain") + SECOND,
    "absolute form": sized(OPEN, target=b"http://localhost" + PATH) + SECOND,
    "absolute form elsewhere": sized(OPEN, target=b"http://169.254.169.254/latest") + SECOND,
    "authority form": head(target=b"localhost:80", method=b"CONNECT") + SECOND,
    "asterisk form": head(target=b"*", method=b"OPTIONS") + SECOND,
    "HTTP/0.9": b"POST " + PATH + b"\r\n" + SECOND,
    "HTTP/2.0": sized(OPEN, version=b"HTTP/2.0") + SECOND,
    "a preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECOND,
    "two spaces": sized(OPEN).replace(b" HTTP", b"  HTTP", 1) + SECOND,
    "a blank line before": b"\r\n" + sized(OPEN),
    "an upgrade": sized(OPEN, b"connection: upgrade", b"upgrade: websocket") + SECOND,
    "h2c": sized(OPEN, b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABk") + SECOND,
    "a method override": sized(OPEN, b"x-http-method-override: DELETE") + SECOND,
    "another expectation": sized(OPEN, b"expect: 200-ok") + SECOND,
    "chunk size in another base": head(CHUNKED) + b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(OPEN), OPEN) + SECOND,
    "chunk size with a sign": head(CHUNKED) + b"+%x\r\n%s\r\n0\r\n\r\n" % (len(OPEN), OPEN) + SECOND,
    "chunk size too small": head(CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(OPEN) - 2, OPEN) + SECOND,
    "chunk size past 64 bits": head(CHUNKED) + b"1%016x\r\n%s\r\n0\r\n\r\n" % (len(OPEN), OPEN) + SECOND,
    "LF after a chunk size": head(CHUNKED) + b"%x\n%s\r\n0\r\n\r\n" % (len(OPEN), OPEN) + SECOND,
    "LF after a chunk": head(CHUNKED) + b"%x\r\n%s\n0\r\n\r\n" % (len(OPEN), OPEN) + SECOND,
    "LF in an extension": head(CHUNKED) + b"%x;a\nb\r\n%s\r\n0\r\n\r\n" % (len(OPEN), OPEN) + SECOND,
    "a length in the trailers": head(CHUNKED) + chunks(OPEN, end=b"0\r\ncontent-length: 5\r\nx y\r\n\r\n") + SECOND,
    "gzip, twice": sized(OPEN, b"content-encoding: gzip, gzip") + SECOND,
    "gzip that is none": sized(OPEN, b"content-encoding: gzip") + SECOND,
}  # fmt: skip


async def wire(stage, *parts):
    """Send all of it in these parts; returns every byte up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
    key = stage.tokens["dev"].encode()
    for part in parts:
        writer.write(part.replace(b"{key}", key))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        said = await reader.read()
    writer.close()
    return said


def statuses(said):
    """The statuses of the answers on one connection."""
    found = []
    while said:
        top, _, rest = said.partition(b"\r\n\r\n")
        found.append(int(top[9:12]))
        length = next((int(line[15:]) for line in top.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        said = rest[length:]
    return found


def decided(stage):
    return [row for row in stage.records() if row["effect"] == "allow"]


@pytest.mark.parametrize("case", REFUSED)
async def test_a_request_with_two_readings_is_refused_and_what_hides_in_it_reaches_nobody(stage, case):
    said = await wire(stage, REFUSED[case])
    found = statuses(said)
    assert len(found) == 1, "its connection ends with it"
    assert found[0] in {400, 404, 405, 415}
    assert b"connection: close" in said.lower()
    assert stage.upstream.count == 0
    assert [row["effect"] for row in stage.records()] == ["deny"]


@pytest.mark.parametrize("cut", [1, 7, 64])
async def test_the_same_holds_however_the_bytes_are_cut(stage, cut):
    data = REFUSED["TE and CL"]
    said = await wire(stage, *(data[at : at + cut] for at in range(0, len(data), cut)))
    assert statuses(said) == [400]
    assert stage.upstream.count == 0


LAST = sized(OPEN, b"connection: close")
PIPES = {
    "two that are allowed": ([sized(OPEN), LAST], [200, 200], 2),
    "a denied one before": ([sized(WARM), LAST], [403, 200], 1),
    "a denied one behind": ([sized(OPEN), sized(WARM, b"connection: close")], [200, 403], 1),
    "an unreadable body before": ([sized(b"{"), LAST], [400, 200], 1),
    "an unknown path before": ([sized(OPEN, target=b"/v1/files"), LAST], [404, 200], 1),
    "a body that looks like a request": ([sized(INNER), LAST], [400, 200], 1),
    "chunks that look like a request": ([head(CHUNKED) + chunks(INNER), LAST], [400, 200], 1),
    "trailers that look like fields": ([head(CHUNKED) + chunks(OPEN, end=b"0\r\nauthorization: Bearer x\r\n\r\n"), LAST], [200, 200], 2),
    "a body on GET": ([sized(OPEN, method=b"GET"), LAST], [405, 200], 1),
    "a body on HEAD": ([sized(OPEN, method=b"HEAD"), LAST], [405, 200], 1),
    "a smuggler behind": ([sized(OPEN), REFUSED["CL and TE"], LAST], [200, 400], 1),
}


@pytest.mark.parametrize("case", PIPES)
@pytest.mark.parametrize("cut", [0, 97])
async def test_each_request_of_a_pipeline_is_decided_by_itself_in_order(stage, case, cut):
    requests, expected, forwarded = PIPES[case]
    data = b"".join(requests)
    parts = [data[at : at + cut] for at in range(0, len(data), cut)] if cut else [data]
    said = await wire(stage, *parts)
    if case == "a body on HEAD":
        said = said.replace(b"content-length", b"x-would-be", 1)
    assert statuses(said) == expected
    assert stage.upstream.count == forwarded == len(decided(stage))
    assert all(b"smuggled" not in seen.body and seen.json["messages"][0]["content"] == "open" for seen in stage.upstream.requests)


@pytest.mark.parametrize(("body", "expected"), [(OPEN, 200), (WARM, 403)])
async def test_a_client_that_waits_for_100_is_told_to_go_on_and_then_decided(stage, body, expected):
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port("data"))
    top = head(b"content-length: %d" % len(body), b"expect: 100-continue", b"connection: close").replace(b"{key}", stage.tokens["dev"].encode())
    writer.write(top)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert stage.upstream.count == 0
    writer.write(body)
    assert statuses(await reader.read()) == [expected]
    writer.close()


async def test_a_client_that_waits_for_100_and_has_no_business_here_is_told_at_once(stage):
    said = await wire(stage, head(b"content-length: 100", b"expect: 100-continue", host=b"host: evil.example"))
    assert statuses(said) == [403]
    assert stage.upstream.count == 0


async def test_the_upstream_gets_framing_of_our_own_whatever_came(stage):
    said = await wire(
        stage, head(CHUNKED, b"te: trailers", b"trailer: x", b"connection: close, x-hop", b"x-hop: 1", b"keep-alive: 5") + chunks(OPEN[:9], OPEN[9:])
    )
    assert statuses(said) == [200]
    sent = {name.lower(): value for name, value in stage.upstream.requests[0].headers.items()}
    assert sent["content-length"] == str(len(stage.upstream.requests[0].body))
    assert not {"transfer-encoding", "te", "trailer", "x-hop", "keep-alive", "proxy-connection"} & sent.keys()
