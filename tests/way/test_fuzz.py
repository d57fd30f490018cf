"""Garbage of every kind against the assembled sidecar: never a 500, never a forward without a record before it, and it goes on serving.

One sidecar and one upstream for the whole file, in a loop of their own, so that what one example leaves behind meets the next.
The `_long` tests are the same with more examples.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.credentials import keys
from sidecar.testing import CountingUpstream, document, running, write

TOKEN = keys.make(bytes([79]) * 24)
MODELS = {"openai": ["gpt-4o", "gpt-*"], "anthropic": ["claude-*"], "gemini": ["gemini-*"]}
TOOL = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
PICTURE = "data:image/png;base64,iVBORw0KGgo="

BODIES = {
    "/v1/chat/completions": {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "name": "u", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}]},
            {"role": "tool", "tool_call_id": "t1", "content": "seen"},
        ],
        "tools": [{"type": "function", "function": TOOL}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "temperature": 0.5, "max_tokens": 10, "n": 1, "stop": ["x"], "stream": False, "stream_options": None, "logit_bias": {"1": 1}, "metadata": {"a": "b"}, "user": "u",
    },
    "/v1/completions": {"model": "gpt-4o", "prompt": ["hi", "there"], "suffix": "x", "max_tokens": 5, "stop": "x", "echo": False, "logprobs": 1},
    "/v1/responses": {
        "model": "gpt-4o",
        "instructions": "Be kind.",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": PICTURE}]},
            {"type": "function_call", "call_id": "t1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "t1", "output": "seen"},
            {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "abc"},
        ],
        "tools": [{"type": "function", **TOOL}, {"type": "web_search"}, {"type": "mcp", "server_label": "s", "server_url": "https://example.com"}],
        "text": {"format": {"type": "text"}}, "reasoning": {"effort": "low"}, "max_output_tokens": 10, "store": False, "include": [], "metadata": {"a": "b"},
    },
    "/v1/embeddings": {"model": "gpt-4o", "input": ["a", "b"], "dimensions": 8, "encoding_format": "float"},
    "/v1/moderations": {"model": "gpt-4o", "input": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PICTURE}}]},
    "/v1/messages": {
        "model": "claude-sonnet-5-5",
        "max_tokens": 10,
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "x"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "seen"}], "is_error": False}]},
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "web_search"}],
        "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "s"}],
        "tool_choice": {"type": "auto"}, "stop_sequences": ["x"], "temperature": 0.5, "thinking": {"type": "disabled"}, "metadata": {"user_id": "u"},
    },
    "/v1/messages/count_tokens": {"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "hi"}], "system": "Be kind."},
    "/v1beta/models/gemini-2.5-flash:generateContent": {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}, {"fileData": {"fileUri": "https://x", "mimeType": "a/b"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"at": "x"}}, "thoughtSignature": "s"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"seen": True}}}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "tools": [{"functionDeclarations": [TOOL]}, {"googleSearch": {}}],
        "generationConfig": {"temperature": 0.5, "maxOutputTokens": 10, "stopSequences": ["x"], "responseSchema": {"type": "OBJECT"}},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    },
}  # fmt: skip

OURS = {200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 502}
"""What the sidecar may answer to garbage; the upstream here always answers 200."""


@dataclass
class Harness:
    """One sidecar for the file, driven from plain tests."""

    runner: asyncio.Runner
    upstream: CountingUpstream
    app: object = None
    bugs: list = field(default_factory=list)
    early: list = field(default_factory=list)
    _read: int = 0
    _allowed: int = 0

    @property
    def allowed(self):
        """Records of calls that were let through, so far."""
        with (self.app.state / "decisions.jsonl").open("rb") as file:
            file.seek(self._read)
            for line in file:
                row = json.loads(line)
                self._allowed += row.get("effect") == "allow" and row["call"]["operation"] != "tool_call"
            self._read = file.tell()
        return self._allowed

    async def answer(self, request, _body):
        """The upstream: a short yes to anything, and a look at the records while the request is here."""
        if self.allowed < self.upstream.count:
            self.early.append(request.path)
        return web.json_response({"id": "x1"})

    def send(self, data, patience=2.0):
        """These bytes on a connection of their own; the status of the first answer, or 0 where there is none in time."""
        return self.runner.run(self._send(data, patience))

    async def _send(self, data, patience):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.app.ports["data"])
        said = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            writer.write(data)
            async with asyncio.timeout(patience):
                while b"\r\n" not in said and (more := await reader.read(65536)):
                    said += more
        writer.transport.abort()
        assert said == b"" or said.startswith(b"HTTP/1.1 "), said[:80]
        return int(said[9:12]) if said else 0

    def check(self, status):
        """What must hold after every example."""
        assert not self.bugs, self.bugs
        assert status in OURS, status
        assert not self.early
        assert self.upstream.count <= self.allowed

    def alive(self):
        """An honest call still goes through."""
        before = self.upstream.count
        assert self.send(request("/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode())) == 200
        assert self.upstream.count == before + 1
        assert self.app.services.inflight == 0


def documents(stage_url):
    ports = {name: {"host": "127.0.0.1", "port": 0} for name in ("listen", "admin", "health")}
    limits = {"refusals": 0, "clientTimeout": "1s", "body": "256KiB"}
    rules = [
        {"name": "yes", "effect": "allow"},
        {"name": "hot", "when": "call.params.?temperature.orValue(0.0) > 1.5", "effect": "deny"},
        {"name": "big", "when": "call.tokens > 50000", "effect": "deny"},
    ]
    tool = {"match": {"operation": ["tool_call"], "target": ["web_*"]}, "rules": [{"name": "no-web", "effect": "deny"}]}
    cap = {"match": {"operation": ["chat"]}, "rules": [{"name": "short", "effect": "require", "then": {"cap": {"max_tokens": 100}}}]}
    return [
        document("Settings", "s", **ports, limits=limits),
        document("Identity", "i", methods=[{"apiKey": {"keys": [{"id": "dev", "sha256": keys.digest(TOKEN)}]}}]),
        *(document("Upstream", name, protocol="llm", dialect=name, url=stage_url, models=[{"name": model, "price": {"input": 1, "output": 1}} for model in models]) for name, models in MODELS.items()),
        document("Policy", "p", match={}, rules=rules),
        document("Policy", "t", **tool),
        document("Policy", "c", **cap),
        document("Quota", "q", match={}, limits=[{"metric": "requests", "max": 10**9, "per": "1m"}, {"metric": "tokens", "max": 10**12, "per": "day"}, {"metric": "concurrency", "max": 5}]),
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def serving(harness, folder):
    async with harness.upstream.running() as up:
        up.custom = harness.answer
        async with running(write(folder / "policies", *documents(up.url)), state=folder / "state") as app:
            app.services.report_bug = harness.bugs.append
            for listener in app._listeners.values():
                listener._on_bug = harness.bugs.append
            harness.app = app
            yield


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with asyncio.Runner() as runner:
        made = Harness(runner, CountingUpstream())
        stack = serving(made, tmp_path_factory.mktemp("fuzz"))
        runner.run(stack.__aenter__())
        yield made
        made.alive()
        runner.run(stack.__aexit__(None, None, None))


def request(target, body, headers=(), method="POST"):
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", f"authorization: Bearer {TOKEN}", "content-type: application/json", "connection: close"]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", ""]).encode() + b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return head + b"\r\n" + body


# ---------------------------------------------------------------- strategies

scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20), st.sampled_from(["", "gpt-4o", "tool_call", "\x00", "../x", "**", "{}", "[", "\ud83d\ude00"]))  # fmt: skip
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)


def places(value, path=()):
    """Every place in a body, the whole of it first."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@st.composite
def mutated(draw):
    """(path, body): a valid body with a few of its places changed."""
    path = draw(st.sampled_from(sorted(BODIES)))
    body = json.loads(json.dumps(BODIES[path]))
    for _ in range(draw(st.integers(0, 3))):
        body = changed(draw, body, draw(st.sampled_from(list(places(body)))))
    return path, json.dumps(body).encode()


def changed(draw, body, place):
    if not place:
        return draw(values)
    holder = body
    for step in place[:-1]:
        holder = holder[step]
    how = draw(st.sampled_from(["set", "drop", "swap", "add"]))
    if how == "set":
        holder[place[-1]] = draw(values)
    elif how == "drop":
        del holder[place[-1]]
    elif how == "swap":
        other = draw(st.sampled_from(list(places(body))))
        holder[place[-1]] = draw(st.just(json.loads(json.dumps(at(body, other)))))
    elif isinstance(holder, dict):
        holder[draw(st.text(max_size=12) | st.sampled_from(["model", "Model", "stream", "messages", "tools", "type", "store", "previous_response_id"]))] = draw(values)
    else:
        holder.insert(0, draw(values))
    return body


def at(body, place):
    for step in place:
        body = body[step]
    return body


@st.composite
def bent(draw, data):
    """Bytes with a few of them changed, taken out, doubled or put in."""
    data = draw(data)
    for _ in range(draw(st.integers(1, 4))):
        here, there = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        piece = draw(st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b":", b"0\r\n\r\n", b'"', b"{", b"\\u0000", b"\xed\xa0\x80", b"GET / HTTP/1.1\r\n", b"transfer-encoding: chunked\r\n"]))  # fmt: skip
        data = draw(st.sampled_from([data[:here] + piece + data[here:], data[:here] + data[there:], data[:there] + data[here:], data[:here] + piece + data[here + len(piece) :]]))
    return data


plain = st.sampled_from([request(path, json.dumps(body).encode()) for path, body in BODIES.items()] + [request("/v1/models", b"", method="GET")])
tokens = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
known = st.sampled_from([b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"host", b"expect", b"connection", b"authorization", b"x-api-key", b"x-request-id", b"traceparent", b"tracestate", b"baggage", b"x-forwarded-for", b"anthropic-beta", b"openai-beta", b"anthropic-version", b"idempotency-key", b"accept", b"origin", b"te", b"trailer", b"upgrade", b"range", b"cookie"])  # fmt: skip
field_values = st.binary(max_size=30) | st.sampled_from([b"", b"chunked", b"gzip", b"identity", b"0", b"-1", b"100-continue", b"close", b"keep-alive, x", b"application/json; charset=utf-16", b"text/plain", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"\xff", b"a\tb"])  # fmt: skip
fields = st.lists(st.tuples(tokens | known, field_values), max_size=5)
pieces = st.sampled_from(["/", "//", "/v1", "/v1beta", "/models", "/gpt-4o", "/chat", "/completions", "/responses", "/messages", "/count_tokens", "/cancel", "/resp_1", ":generateContent", ":streamGenerateContent", "/embeddings", "..", ".", "%2e", "%2F", "%00", "%", "%zz", "%25", "?", "&", "=", "alt=sse", "key=", "key=x", "#", ";", "\\", "+", "*", "@", "http://", "localhost", "{", "~", "'", "%c3%a9", "A"])  # fmt: skip
targets = st.lists(pieces, min_size=1, max_size=8).map("".join) | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "X"])


# ---------------------------------------------------------------- tests


def examples(count):
    return settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def both(count, *strategies):
    """The test as it is, and the same with forty times the examples."""

    def made(check):
        short = examples(count)(given(*strategies)(check))
        long = pytest.mark.slow(examples(count * 40)(given(*strategies)(check)))
        return staticmethod(short), staticmethod(long)

    return made
