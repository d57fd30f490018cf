"""The one shape every protocol becomes. Codecs in `wire/` make a `Call`; nothing else does but the public test kit.

What was judged is what is sent: `body` is the parsed object that the codec re-serialises, never the caller's bytes.
Treat `body` as frozen: edits make a new one (`wire.pointer.apply`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.principal import EMPTY, Source
from sidecar.value import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.segment import Segment


@value
class Tool:
    """A tool a model proposes, a caller offers, or a provider runs itself. `name` is bare; `server` is the MCP upstream or ""."""

    name: str
    server: str = ""
    kind: str = "function"
    args: Mapping[str, object] | None = None
    """Parsed arguments; None where they are not known (an offered tool, arguments that are no JSON object)."""
    call_id: str = ""

    @property
    def target(self) -> str:
        """`server/name`, or the bare name."""
        return f"{self.server}/{self.name}" if self.server else self.name


@dataclass(frozen=True, slots=True)
class Member:
    """One way to serve a call: this upstream with this model. `labels` and `price` are the Upstream document's."""

    upstream: str
    model: str
    labels: Mapping[str, str] = EMPTY
    price_input: float | None = None
    """Dollars per one input token; None where the price is not known (never 0)."""
    price_output: float | None = None
    weight: int = 1

    @property
    def name(self) -> str:
        """`upstream/model`, as patterns may spell it."""
        return f"{self.upstream}/{self.model}"


@value
class Call:
    """What is asked, whoever asks it. Made by a codec, then `resolved` by the routes of the snapshot.

    `operation` is canonical (DOCUMENTS.md «What a call is called»); `dialect` is the codec's name (`openai_chat`).
    `target` is the asked name, normalised (case-folded, trimmed); `members` the closed set the route may choose from.
    `segments` are all texts of the body. `tokens` is our estimate of the input, `max_output` the caller's own cap or None.
    `tools` are provider-side tools found in the request (each is judged as a `tool_call`).
    `refs` are provider-minted ids the call names, as (kind, id): (`response`, "resp_…").
    `params` are the scalar request parameters that conditions may read (`call.params.temperature`).
    """

    id: str
    protocol: str
    operation: str
    dialect: str
    target: str
    method: str = "POST"
    path: str = ""
    stream: bool = False
    body: Mapping[str, object] | None = None
    segments: tuple[Segment, ...] = ()
    params: Mapping[str, object] = EMPTY
    tools: tuple[Tool, ...] = ()
    tool: Tool | None = None
    """Set on a `tool_call`: the proposal that is judged."""
    refs: tuple[tuple[str, str], ...] = ()
    members: tuple[Member, ...] = ()
    tokens: int = 0
    max_output: int | None = None
    choices: int = 1
    """How many answers are asked for (`n`): the output bound is multiplied by it."""
    bytes: int = 0
    source: Source = Source()
    headers: tuple[tuple[str, str], ...] = ()
    """What of the request's headers may travel on (an allow-list per dialect), lower-case names."""
    query: tuple[tuple[str, str], ...] = ()
    """Likewise of the query parameters."""
    trace: tuple[str, str, str] | None = None
    """(trace id, parent span id, flags) of an accepted `traceparent`, in lower-case hex (W3C Trace Context, level 1)."""
    asked: str = ""
    """Set on a `tool_call`: the name of the model that was asked, which `target` is of every other call."""


@value
class Usage:
    """True usage as the provider told it, or our own count (`estimated`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The exact bytes that go to one member: method, path under the upstream's URL (with query), dialect headers, body."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def digest(self) -> bytes:
        """SHA-256 over all of it."""
        digest = hashlib.sha256(f"{self.method} {self.path}\n{self.headers}\n".encode())
        digest.update(self.body)
        return digest.digest()
