"""A client that nobody here wrote, against the assembled sidecar: curl, in every way it can send and be answered."""

import asyncio
import gzip
import json
import shutil

import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hello there"}]})
STREAM = json.dumps({**json.loads(BODY), "stream": True})
WORDS = "You said: hello there"


async def curl(stage, *options, path="/v1/chat/completions", kind="application/json", more=()):
    """(exit code, standard output) of one curl."""
    head = ["-H", f"authorization: Bearer {stage.tokens['dev']}", "-H", f"content-type: {kind}"]
    command = ["curl", "-sS", "--noproxy", "*", "-m", "10", *head, *options, stage.base + path, *more]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return process.returncode, out


SENT = {
    "plainly": ["-d", BODY],
    "in chunks": ["-H", "transfer-encoding: chunked", "-d", BODY],
    "after 100": ["-H", "expect: 100-continue", "-d", BODY],
    "in HTTP/1.0": ["--http1.0", "-d", BODY],
    "with a form's way of escaping": ["--data-binary", BODY],
    "by a large body": ["-H", "expect:", "-d", json.dumps({**json.loads(BODY), "user": "x" * 100_000})],
}


@pytest.mark.parametrize("way", SENT)
async def test_a_call_is_answered_however_it_is_sent(stage, way):
    code, out = await curl(stage, *SENT[way])
    assert code == 0
    assert json.loads(out)["choices"][0]["message"]["content"] == WORDS
    assert stage.upstream.count == 1


async def test_a_gzip_body_is_judged_decoded_and_sent_plain(stage, tmp_path):
    file = tmp_path / "body.gz"
    for body, expected in ((BODY, 200), (json.dumps({**json.loads(BODY), "temperature": 2}), 403)):
        file.write_bytes(gzip.compress(body.encode()))
        _, out = await curl(stage, "-H", "content-encoding: gzip", "--data-binary", f"@{file}", "-o", "/dev/null", "-w", "%{http_code}")
        assert out == str(expected).encode()
    (seen,) = stage.upstream.requests
    assert seen.json["messages"] == json.loads(BODY)["messages"]
    assert "content-encoding" not in {name.lower() for name in seen.headers}


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
async def test_a_stream_comes_to_its_end(stage, version):
    code, out = await curl(stage, "-N", version, "-d", STREAM)
    assert code == 0
    assert out.endswith(b"data: [DONE]\n\n")
    words = [
        json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in out.split(b"\n\n") if line.startswith(b"data: {") and b'"delta"' in line
    ]
    assert "".join(words) == WORDS


@pytest.mark.parametrize(("body", "statuses"), [(BODY, b"200 200"), (json.dumps({**json.loads(BODY), "temperature": 2}), b"403 403")])
async def test_a_connection_is_kept_after_a_yes_and_after_a_no(stage, body, statuses):
    again = stage.base + "/v1/chat/completions"
    _, out = await curl(stage, "-d", body, "-o", "/dev/null", "-w", "%{http_code} %{num_connects} ", more=["-o", "/dev/null", again])
    first, connected, second, reconnected = out.split()
    assert first + b" " + second == statuses
    assert (connected, reconnected) == (b"1", b"0"), "the second went over the first's connection"


async def test_curl_sees_the_ids_of_the_decision_and_its_own(stage):
    _, out = await curl(stage, "-H", "x-request-id: mine-1", "-d", BODY, "-o", "/dev/null", "-w", "%header{x-request-id} %header{x-sidecar-decision}")
    mine, decision = out.decode().split()
    assert mine == "mine-1"
    assert decision == stage.records()[0]["id"]


NO = {
    "another method": (["-X", "PUT", "-d", BODY], "405"),
    "an upgrade": (["-H", "connection: upgrade", "-H", "upgrade: websocket", "-d", BODY], "400"),
    "a proxy request": (["--request-target", "http://example.com/v1/chat/completions", "-d", BODY], "400"),
    "a climbing path": (["--path-as-is", "-d", BODY], "400"),
    "two types": (["-H", "content-type: text/plain", "-d", BODY], "400"),
    "no JSON": (["-d", BODY], "415"),
    "a foreign host": (["-H", "host: evil.example", "-d", BODY], "403"),
}


@pytest.mark.parametrize("case", NO)
async def test_what_is_no_call_is_refused_and_curl_understands_the_no(stage, case):
    options, status = NO[case]
    path = "/v1/files/../chat/completions" if case == "a climbing path" else "/v1/chat/completions"
    code, out = await curl(stage, *options, "-o", "/dev/null", "-w", "%{http_code}", path=path, kind="text/plain" if case == "no JSON" else "application/json")
    assert (code, out) == (0, status.encode())
    assert stage.upstream.count == 0


async def test_a_large_body_that_is_refused_early_is_told_before_it_is_sent(make_stage):
    async with make_stage(lambda stage: stage.documents(limits={"body": "64KiB"})) as stage:
        big = json.dumps({**json.loads(BODY), "user": "x" * 120_000})
        code, out = await curl(stage, "-H", "expect: 100-continue", "-d", big, "-o", "/dev/null", "-w", "%{http_code} %{size_upload}")
        assert (code, out) == (0, b"413 0")
        assert stage.upstream.count == 0
