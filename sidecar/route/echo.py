"""The core that needs no provider: it answers every LLM dialect from the words it was sent.

What `make run` and the quickstart stand on. `answer` is pure and is the whole product; `EchoCore` puts it behind the
contract of `route.base`. It stands in for a provider's shape, never for its checks: what it cannot read it answers anyway.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from sidecar.errors import UpstreamGarbage
from sidecar.route import echo_anthropic, echo_gemini, echo_openai, echo_responses
from sidecar.route.base import Reply
from sidecar.route.echo_script import Memory, Said, document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sidecar.call import Call
    from sidecar.decision import Permit

_POSTS: Mapping[str, Callable[[Mapping[str, Any], Memory, int], Said]] = {
    "/chat/completions": echo_openai.chat,
    "/completions": echo_openai.completions,
    "/embeddings": echo_openai.embeddings,
    "/moderations": echo_openai.moderations,
    "/responses": echo_responses.create,
    "/messages": echo_anthropic.messages,
    "/messages/count_tokens": echo_anthropic.count_tokens,
}


def answer(method: str, path: str, body: Mapping[str, Any], memory: Memory, now: float = 0.0) -> Said:
    """What a provider would say. `path` is the one under an upstream's URL, with or without `/v1`; a query is ignored.

    An unknown path or id is 404; nothing raises for what a codec of ours writes.
    """
    path = path.partition("?")[0].removeprefix("/v1beta").removeprefix("/v1")
    post = _POSTS.get(path)
    if post and method == "POST":
        return post(body, memory, int(now))
    if path.startswith("/responses/"):
        return _stored(method, path.split("/")[2:], memory)
    if path.startswith("/models/") and method == "POST":
        return _gemini(path.removeprefix("/models/"), body, memory)
    return _nothing()


def _stored(method: str, parts: list[str], memory: Memory) -> Said:
    match method, parts:
        case "GET", [id]:
            return echo_responses.retrieve(id, memory)
        case "DELETE", [id]:
            return echo_responses.delete(id, memory)
        case "POST", [id, "cancel"]:
            return echo_responses.cancel(id, memory)
    return _nothing()


def _gemini(name: str, body: Mapping[str, Any], memory: Memory) -> Said:
    model, _, method = name.rpartition(":")
    match method:
        case "generateContent":
            return echo_gemini.generate(model, body, memory)
        case "streamGenerateContent":
            return echo_gemini.stream(model, body, memory)
        case "countTokens":
            return echo_gemini.count_tokens(body)
    return _nothing()


def _nothing() -> Said:
    return document({"error": {"message": "the echo does not know this path", "type": "invalid_request_error", "param": None, "code": "not_found"}}, 404)


class EchoBody:
    """A body that is at hand. One event per `chunk`, and a turn of the loop between two, as a network would give."""

    __slots__ = ("_rest",)

    def __init__(self, body: bytes | tuple[bytes, ...]) -> None:
        self._rest: Iterator[bytes] = iter((body,) if isinstance(body, bytes) else body)

    async def chunk(self) -> bytes:
        """The next event; `b""` at the end."""
        await asyncio.sleep(0)
        return next(self._rest, b"")

    async def read(self, limit: int) -> bytes:
        """All of it. Raises UpstreamGarbage past `limit`."""
        whole = b"".join(self._rest)
        if len(whole) > limit:
            raise UpstreamGarbage("the reply is over the limit")
        return whole

    def close(self) -> None:
        """Say no more."""
        self._rest = iter(())


class EchoCore:
    """`core: echo`. Serves the first member of the permit. `clock` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._memory = Memory(run=f"{int(clock() * 1000):x}")

    async def send(self, permit: Permit) -> Reply:
        """Redeem the permit and answer its bytes. Raises PermitError."""
        now = self._clock()
        permit.redeem(now)
        member = permit.members[0]
        out = permit.payload(member)
        said = answer(out.method, out.path, orjson.loads(out.body) if out.body else {}, self._memory, now)
        kind = "application/json" if isinstance(said.body, bytes) else "text/event-stream"
        return Reply(said.status, (("content-type", kind),), EchoBody(said.body), member.upstream, member.model)

    def carries(self, _call: Call) -> bool:
        """Every obligation: any member is as good as another here."""
        return True

    def health(self) -> Mapping[str, str]:
        """Nothing can fail."""
        return {}

    async def close(self) -> None:
        """Nothing is held."""
