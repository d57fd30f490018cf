"""One sidecar and one upstream for a whole file of garbage, in a loop of their own: what one example leaves behind meets the next."""

import asyncio
import contextlib
import json
import time
import traceback
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from sidecar.credentials import keys
from sidecar.testing import CountingUpstream, document, running, write

TOKEN = keys.make(bytes([79]) * 24)
MODELS = {"openai": ["gpt-4o", "gpt-*"], "anthropic": ["claude-*"], "gemini": ["gemini-*"]}
OURS = {200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 502}
"""What the sidecar may answer to garbage; the upstream here always answers 200."""


USUAL = (
    b'{"id":"x1","type":"message","role":"assistant","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1},"input_tokens":1}',
)
"""Good enough an answer in every dialect."""


@dataclass(repr=False)
class Harness:
    """One sidecar for the file, driven from plain tests."""

    runner: asyncio.Runner
    upstream: CountingUpstream
    app: object = None
    reply: tuple = USUAL
    kind: str = "application/json"
    bugs: list = field(default_factory=list)
    early: list = field(default_factory=list)
    _read: int = 0
    _allowed: int = 0

    def __repr__(self):
        return "harness"

    def _repr_pretty_(self, printer, cycle):  # hypothesis would print every request there was
        printer.text("harness")

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
        response = web.StreamResponse(headers={"content-type": self.kind})
        await response.prepare(request)
        for piece in self.reply:
            await response.write(piece)
        return response

    def send(self, data, patience=2.0):
        """These bytes on a connection of their own; the status of the first answer, or 0 where there is none in time."""
        said = self.runner.run(self._send(data, patience, enough=b"\r\n"))
        return int(said[9:12]) if said else 0

    def all(self, data):
        """The same, read to its end: (status, everything after the head). In HTTP/1.0, so that no chunks stand between."""
        began = time.monotonic()
        said = self.runner.run(self._send(data.replace(b"HTTP/1.1", b"HTTP/1.0", 1), 5.0, enough=None))
        assert said, f"closed without an answer after {time.monotonic() - began:.2f} s (at 5 s: no answer in time)"
        return int(said[9:12]), said.partition(b"\r\n\r\n")[2]

    async def _send(self, data, patience, enough):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.app.ports["data"])
        said = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            writer.write(data)
            async with asyncio.timeout(patience):
                while (enough is None or enough not in said) and (more := await reader.read(65536)):
                    said += more
        writer.transport.abort()
        assert said == b"" or said.startswith(b"HTTP/1.1 "), said[:80]
        return said

    def check(self, status, allowed=OURS):
        """What must hold after every example."""
        self.sound()
        assert status in allowed, status

    def request(self, target, body, headers=(), method="POST"):
        """The bytes of a request with a good key."""
        lines = [f"{method} {target} HTTP/1.1", "host: localhost", f"authorization: Bearer {TOKEN}", "content-type: application/json", "connection: close"]
        head = "\r\n".join([*lines, f"content-length: {len(body)}", ""]).encode() + b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        return head + b"\r\n" + body

    def sound(self):
        """No bug was told, and nothing was forwarded without a record. What went wrong is forgotten, so that an example can be made smaller."""
        bugs, self.bugs[:] = list(self.bugs), []
        assert not bugs, "".join(traceback.format_exception(bugs[0]))
        early, self.early[:] = list(self.early), []
        assert not early
        assert self.upstream.count <= self.allowed

    def calm(self):
        """Nothing went wrong, and nothing is under way for a client that left."""
        self.runner.run(self._calm())
        self.sound()

    async def _calm(self):
        async with asyncio.timeout(5):
            while self.app.services.inflight:  # noqa: ASYNC110  a count, told to nobody
                await asyncio.sleep(0)

    def alive(self):
        """An honest call still goes through."""
        self.reply, self.kind = USUAL, "application/json"
        before = self.upstream.count
        assert self.send(self.request("/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode())) == 200
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
    tool = {"match": {"operation": ["tool_call"], "target": ["rm"]}, "rules": [{"name": "no-rm", "effect": "deny"}]}
    cap = {"match": {"operation": ["chat"]}, "rules": [{"name": "short", "effect": "require", "then": {"cap": {"max_tokens": 100}}}]}
    return [
        document("Settings", "s", **ports, limits=limits),
        document("Identity", "i", methods=[{"apiKey": {"keys": [{"id": "dev", "sha256": keys.digest(TOKEN)}]}}]),
        *(document("Upstream", name, protocol="llm", dialect=name, url=stage_url, models=[{"name": model, "price": {"input": 1, "output": 1}} for model in models]) for name, models in MODELS.items()),
        document("Policy", "p", match={}, rules=rules),
        document("Policy", "t", **tool),
        document("Policy", "c", **cap),
        document("Quota", "q", match={}, limits=[{"metric": "requests", "max": 10**9, "per": "1m"}, {"metric": "concurrency", "max": 5}]),
        document("Quota", "t", match={}, key=["call.id"], limits=[{"metric": "tokens", "max": 10**9, "per": "day"}, {"metric": "cost_usd", "max": 1000, "per": "day"}]),
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
