"""One upstream, ready to be used: its address, its headers, its breaker and how busy it is. `direct.py` chooses between lanes.

`attempt` sends exactly what the permit holds for a member plus the headers below, and nothing that came from the caller
outside of it. It gives back a reply whose end it hears of, or raises the UpstreamError that says what went wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sidecar import __version__
from sidecar.errors import UpstreamAuth, UpstreamError, UpstreamGarbage, UpstreamTimeout, UpstreamUnreachable
from sidecar.route import credential
from sidecar.route.base import Body, Reply
from sidecar.route.breaker import Breaker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.call import Member, Outgoing
    from sidecar.config import documents

Headers = tuple[tuple[str, str], ...]

FADE = 30.0
"""Seconds in which an unused latency fades to half: what was slow once gets another chance."""
SMOOTH = 0.3
"""Share of a new latency in the smoothed one."""
DENIED = frozenset({401, 403, 407})
SECRET = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization"})
"""Headers that carry credentials: only the sidecar's own is ever sent."""


class Inbound(Body, Protocol):
    """The head of an answer and its body, as `route.channel` gives it."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Headers: ...


class Clocks(NamedTuple):
    """`wall` gives Unix seconds, `steady` seconds that only move forward."""

    wall: Callable[[], float]
    steady: Callable[[], float]


class Latency:
    """A smoothed time to the head of an answer that fades while it is not refreshed."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def note(self, seconds: float, now: float) -> None:
        """One more measurement."""
        self._seconds = seconds if not self._seconds else self._seconds + SMOOTH * (seconds - self._seconds)
        self._at = now

    def now(self, now: float) -> float:
        """Seconds; 0 where nothing is known."""
        return self._seconds * 0.5 ** ((now - self._at) / FADE) if self._seconds else 0.0


class Lane:
    """One upstream. `dial` sends (bytes, all headers) and comes back with the head of the answer; it raises UpstreamError."""

    def __init__(
        self,
        name: str,
        upstream: documents.Upstream,
        dial: Callable[[Outgoing, Headers], Awaitable[Inbound]],
        clocks: Clocks,
        *,
        value: Callable[[], str] | None = None,
        on_attempt: Callable[[str, str, int], None] | None = None,
    ) -> None:
        self.name = name
        self.family = upstream.dialect
        self.retry = upstream.retry
        self.passthrough = upstream.credential is not None and upstream.credential.passthrough
        self.breaker = Breaker(upstream.breaker.failures, upstream.breaker.open_for)
        self.busy = 0
        self._dial = dial
        self._clocks = clocks
        self._value = value
        self._fixed = fixed_headers(upstream)
        self._ours = frozenset(key for key, _ in self._fixed) | SECRET | {"host", "traceparent"}
        self._shown: tuple[str, tuple[str, str]] | None = None
        self._latency: dict[str, Latency] = {}
        self._on_attempt = on_attempt

    def latency(self, model: str) -> float:
        """Seconds to the head of an answer of this model; 0 where nothing is known."""
        held = self._latency.get(model)
        return held.now(self._clocks.steady()) if held is not None else 0.0

    def ready(self) -> bool:
        """Whether the breaker lets a call through."""
        return self.breaker.ready(self._clocks.steady())

    def state(self) -> str:
        """Of the breaker."""
        return self.breaker.state(self._clocks.steady())

    async def attempt(self, out: Outgoing, member: Member, *, trace: str, passed: str | None) -> Reply:
        """Send once. `passed` is the caller's own credential, for a passthrough upstream alone. Raises UpstreamError."""
        started = self._clocks.steady()
        self.breaker.enter()
        self.busy += 1
        ended = False
        try:
            inbound = await self._dial(out, self._headers(out, trace, passed))
            self._judge(inbound)
            ended = True
        except UpstreamError as error:
            self._failed(error)
            raise
        finally:
            if not ended:
                self.busy -= 1
                self.breaker.abandoned()  # a trial that was cancelled told nothing; a failure was counted above
        self._answered(member, inbound.status, started)
        return Reply(inbound.status, inbound.headers, Flow(inbound, self), self.name, member.model)

    def _headers(self, out: Outgoing, trace: str, passed: str | None) -> Headers:
        ours = self._ours
        headers = [*self._fixed, *(pair for pair in out.headers if pair[0] not in ours)]
        value = passed if self.passthrough else self._value() if self._value is not None else None
        if value is not None:
            headers.append(self._secret(value))
        if trace:
            headers.append(("traceparent", trace))
        return tuple(headers)

    def _secret(self, value: str) -> tuple[str, str]:
        """The credential's header, checked once per value. The caller's own is not kept."""
        if self.passthrough:
            return credential.header(self.family, value)
        if self._shown is None or self._shown[0] is not value:
            self._shown = (value, credential.header(self.family, value))
        return self._shown[1]

    def _judge(self, inbound: Inbound) -> None:
        """What is no answer at all. A redirect is never followed: it could lead anywhere, with our credential."""
        if 300 <= inbound.status < 400:
            inbound.close()
            raise UpstreamGarbage("the upstream answered with a redirect, which is not followed")
        if inbound.status in DENIED and not self.passthrough:
            inbound.close()
            raise UpstreamAuth(f"the upstream refused the sidecar's own credential ({inbound.status})")

    def _answered(self, member: Member, status: int, started: float) -> None:
        now = self._clocks.steady()
        if status >= 500:
            self.breaker.failed(now)
        else:
            self.breaker.succeeded()
        if status < 400:  # a quick no is not a fast upstream
            self._latency.setdefault(member.model, Latency()).note(now - started, now)
        self._told("ok" if status < 400 else "status", now - started)

    def _failed(self, error: UpstreamError) -> None:
        now = self._clocks.steady()
        if not isinstance(error, UpstreamAuth):
            self.breaker.failed(now)
        self._told(outcome(error), 0.0)

    def _told(self, what: str, seconds: float) -> None:
        if self._on_attempt is not None:
            self._on_attempt(self.name, what, int(seconds * 1e9))

    def ended(self, error: UpstreamError | None = None) -> None:
        """A reply came to its end, or broke off."""
        self.busy -= 1
        if error is not None:
            self.breaker.failed(self._clocks.steady())
            self._told(outcome(error), 0.0)


def fixed_headers(upstream: documents.Upstream) -> Headers:
    """What every attempt at an upstream carries, lower-case names, each once. The document's own headers win over our defaults."""
    ours = {"user-agent": f"sidecar/{__version__}", "accept-encoding": "identity"}
    if upstream.dialect == "anthropic":
        ours |= [credential.ANTHROPIC_VERSION]
    ours |= {name.lower(): value for name, value in upstream.headers.items()}
    return tuple((name, value) for name, value in ours.items() if upstream.credential is None or name not in SECRET)


def outcome(error: UpstreamError) -> str:
    """Its name in the metrics."""
    kinds: tuple[tuple[type[UpstreamError], str], ...] = (
        (UpstreamUnreachable, "unreachable"),
        (UpstreamTimeout, "timeout"),
        (UpstreamAuth, "auth"),
        (UpstreamGarbage, "garbage"),
    )
    return next((name for kind, name in kinds if isinstance(error, kind)), "cut")


class Flow:
    """A body that tells its lane when it has ended, once."""

    __slots__ = ("_body", "_lane")

    def __init__(self, body: Body, lane: Lane) -> None:
        self._body = body
        self._lane: Lane | None = lane

    async def chunk(self) -> bytes:
        """The next bytes; `b""` at the end. Raises UpstreamError."""
        try:
            data = await self._body.chunk()
        except UpstreamError as error:
            self._end(error)
            raise
        if not data:
            self._end()
        return data

    async def read(self, limit: int) -> bytes:
        """All of it. Raises UpstreamError."""
        try:
            data = await self._body.read(limit)
        except UpstreamError as error:
            self._end(error)
            raise
        self._end()
        return data

    def close(self) -> None:
        """Let go."""
        self._body.close()
        self._end()

    def _end(self, error: UpstreamError | None = None) -> None:
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.ended(error)
