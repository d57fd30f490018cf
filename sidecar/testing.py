"""The public test kit: a counting upstream, a frozen clock, a fake core, a sidecar in this process, builders of documents.

For people who write policies, cores or dialects, and for our own tests. `CountingUpstream` is a real HTTP server (aiohttp,
a second opinion beside our own bytes) whose `requests` tell what was really forwarded.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml
from aiohttp import web

from sidecar.call import Call
from sidecar.principal import Principal
from sidecar.route.echo import EchoCore, answer
from sidecar.route.echo_script import Memory
from sidecar.server.app import Sidecar, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from sidecar.decision import Permit
    from sidecar.route.base import Reply

EPOCH = 1_790_000_000.0
"""The test kit's now: 2026-09-21T14:13:20Z."""


class FrozenClock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = EPOCH) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(slots=True)
class Seen:
    """One request as the upstream got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)


@dataclass(slots=True)
class CountingUpstream:
    """An upstream that answers every LLM dialect and counts. Behaviours are set by attributes between calls.

    `mode`: ok | status | slow | stall | cut | garbage | html | redirect | bomb | endless | hang. `port` is filled by `running`.
    """

    mode: str = "ok"
    status: int = 500
    after: int = 2
    """With `cut` and `stall`: stream events sent first."""
    headers: dict[str, str] = field(default_factory=dict)
    location: str = "http://169.254.169.254/latest/meta-data/"
    """With `redirect`: where to."""
    delay: float = 0.0
    requests: list[Seen] = field(default_factory=list)
    port: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client went away in the middle of an answer."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come, whatever is answered."""
    answers: list[bytes] = field(default_factory=list)
    """The bodies of `mode: ok`, as they were sent."""
    custom: Callable[[web.Request, bytes], Awaitable[web.StreamResponse]] | None = None
    """Answers instead of all modes."""
    _memory: Memory = field(default_factory=lambda: Memory(run="up"))
    _runner: web.AppRunner | None = None

    @property
    def count(self) -> int:
        """Requests seen."""
        return len(self.requests)

    @property
    def url(self) -> str:
        """Its base URL with a version prefix."""
        return f"http://127.0.0.1:{self.port}/v1"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CountingUpstream]:
        """Serve on a free loopback port."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self._runner = runner
        try:
            yield self
        finally:
            await runner.cleanup()

    async def stop(self) -> None:
        """Go away: the port refuses connections from now on."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(Seen(request.method, request.path_qs, dict(request.headers), body))
        self.reached.set()
        if self.custom is not None:
            return await self._customary(self.custom, request, body)
        await asyncio.sleep(self.delay)
        behave = getattr(self, f"_{self.mode}", None)
        if behave is not None:
            return await behave(request, body)  # type: ignore[no-any-return]
        return await self._answered(request, body)

    async def _customary(self, custom: Callable[[web.Request, bytes], Awaitable[web.StreamResponse]], request: web.Request, body: bytes) -> web.StreamResponse:
        try:
            return await custom(request, body)
        except (ConnectionError, asyncio.CancelledError):
            self.closed.set()
            raise

    async def _answered(self, request: web.Request, body: bytes, *, events: int | None = None, then: str = "") -> web.StreamResponse:
        said = answer(request.method, request.path_qs, orjson.loads(body) if body else {}, self._memory, EPOCH)
        self.answers.append(said.body if isinstance(said.body, bytes) else b"".join(said.body))
        if isinstance(said.body, bytes):
            if then:
                return await self._half(request, said.body)
            return web.Response(status=said.status, body=said.body, content_type="application/json", headers=self.headers)
        response = web.StreamResponse(status=said.status, headers={"content-type": "text/event-stream", **self.headers})
        await response.prepare(request)
        try:
            for event in said.body[:events]:
                await response.write(event)
            if then == "stall":
                await asyncio.sleep(60)
        except (ConnectionError, asyncio.CancelledError):
            self.closed.set()
            raise
        if then == "cut":
            _drop(request)
        return response

    async def _half(self, request: web.Request, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json", "content-length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        _drop(request)
        return response

    async def _cut(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return await self._answered(request, body, events=self.after, then="cut")

    async def _stall(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return await self._answered(request, body, events=self.after, then="stall")

    async def _hang(self, request: web.Request, body: bytes) -> web.StreamResponse:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.closed.set()
            raise
        return web.Response()

    async def _status(self, request: web.Request, body: bytes) -> web.StreamResponse:
        error = {"error": {"message": "as told", "type": "server_error", "param": None, "code": None}}
        return web.json_response(error, status=self.status, headers=self.headers)

    async def _garbage(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(body=b"\x00\xff{not json", content_type="application/json")

    async def _html(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(status=self.status, body=b"<html>internal host db-7</html>", content_type="text/html")

    async def _redirect(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(status=307, headers={"location": self.location})

    async def _bomb(self, request: web.Request, body: bytes) -> web.StreamResponse:
        return web.Response(body=_bomb(), headers={"content-encoding": "gzip", "content-type": "application/json"})


@cache
def _bomb() -> bytes:
    """A quarter of a GiB in as little as gzip can."""
    return gzip.compress(b"\0" * (256 * 2**20), 9)


def _drop(request: web.Request) -> None:
    """Cut the connection as a crash would."""
    if request.transport is not None:
        request.transport.abort()


class FakeCore(EchoCore):
    """The embedded echo, which keeps the permits it was sent."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.permits: list[Permit] = []

    async def send(self, permit: Permit) -> Reply:
        """Answer as the echo does. Raises PermitError."""
        reply = await super().send(permit)
        self.permits.append(permit)
        return reply


# ---------------------------------------------------------------- builders


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """One document as a mapping."""
    return {"apiVersion": "sidecar.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def write(directory: Path, *documents: Mapping[str, Any], name: str = "all.yaml") -> Path:
    """Write documents as one YAML file; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{name}.new"
    temporary.write_text(yaml.safe_dump_all(documents, sort_keys=False))
    temporary.replace(directory / name)
    return directory


def call(**fields: Any) -> Call:
    """A chat call with sensible fields."""
    known: dict[str, Any] = {"id": "d_test", "protocol": "llm", "operation": "chat", "dialect": "openai_chat", "target": "gpt-4o"}
    return Call(**{**known, **fields})


def principal(id: str = "key:dev", **fields: Any) -> Principal:
    """A caller."""
    return Principal.of(id, **fields)


# ---------------------------------------------------------------- the assembled product


@asynccontextmanager
async def running(
    *directories: Path | str, environ: Mapping[str, str] | None = None, state: Path | None = None, clock: Callable[[], float] | None = None, **options: Any
) -> AsyncIterator[Sidecar]:
    """The whole sidecar in this loop, ports as its Settings say (use port 0). Closed without grace at the end."""
    names: Sequence[str] = [str(directory) for directory in directories]
    env = {**os.environ, **(environ or {})}
    where = state or Path(names[0]).parent / "state"
    more = {"clock": clock} if clock is not None else {}
    now = clock() if clock is not None else _now()
    sidecar = Sidecar(names, prepared=load(names, env, now), environ=env, state=where, **more, **options)  # type: ignore[arg-type]
    await sidecar.start()
    try:
        yield sidecar
    finally:
        with suppress(asyncio.CancelledError):
            await sidecar.close(grace=0.0)


def _now() -> float:
    import time  # noqa: PLC0415  (only where no clock is given)

    return time.time()
