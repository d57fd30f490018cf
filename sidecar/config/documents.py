"""The ten kinds of document as plain frozen dataclasses. The comments under fields are the manual and the JSON schema.

`validate` turns a positioned YAML tree into these; `schema` turns these into JSON Schema. Keys in YAML are camelCase, the
fields here snake_case. A field of type `tuple[X, ...]` takes one X for a list. What this release does not build is
absent here and in `LATER`, which names it for the error that says so.

Longer than most files because it is one table: every kind beside the next, in the order in which the manual tells them.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  (`validate` and `schema` read the hints at run time)
from dataclasses import dataclass, field
from typing import Annotated, Literal

Duration = Annotated[float, "duration"]
"""Seconds, written `50ms`, `15s`, `15m`, `1h`, `1d`."""
Size = Annotated[int, "size"]
"""Bytes, written `64KiB`, `32MiB`, `1GiB` or a plain number."""
Expression = Annotated[str, "expression"]
"""A CEL condition (see `sidecar.expr`)."""
Instant = Annotated[float, "instant"]
"""Unix seconds, written RFC 3339."""
Day = Annotated[float, "day"]
"""Unix seconds of the end of a day, written `2027-06-30`, or an RFC 3339 time."""
Percent = Annotated[float, "percent"]
"""A share, written `80%`."""
Pattern = Annotated[str, "pattern"]
"""Exact, `*` within a segment, `**` across segments."""
Subject = Annotated[str, "subject"]
"""`user:` `key:` `spiffe:` `sa:ns/name` `group:` `team:` or `anonymous`, with `*` globs."""
Named = Annotated[str, "named"]
"""A name from outside, in letters that are what they look like."""
Environ = Annotated[str, "environ"]
"""Text in which `${NAME}` and `${NAME:-default}` are taken from the environment."""
Money = Annotated[float, "number"]

Mode = Literal["enforce", "audit"]
Outage = Literal["deny", "allow"]
Protocol = Literal["llm"]
Dialect = Literal[
    "", "openai_chat", "openai_completions", "openai_responses", "openai_embeddings", "openai_moderations", "openai_models",
    "anthropic_messages", "anthropic_count_tokens", "gemini_generate", "gemini_count_tokens",
]  # fmt: skip
"""The codecs by name; a test holds it to `wire`'s own table."""
LlmOperation = Literal["chat", "embeddings", "moderation", "count_tokens", "models", "tool_call", "*"]

LATER: Mapping[str, str] = {
    # what DOCUMENTS.md names and this release does not build: kind, kind.field or kind.field=value (`*.` for any kind and path) -> what to say
    "Guardrail": "kind `Guardrail`: guardrails are not built in this release",
    "*.protocol=mcp": "protocol `mcp` is not built in this release",
    "*.protocol=a2a": "protocol `a2a` is not built in this release",
    "*.operation=image": "operation `image` is not built in this release; its paths answer 404",
    "*.operation=audio": "operation `audio` is not built in this release; its paths answer 404",
    "*.operation=file": "operation `file` is not built in this release; its paths answer 404",
    "*.operation=batch": "operation `batch` is not built in this release; its paths answer 404",
    "*.operation=tools/call": "operation `tools/call` comes with protocol `mcp`, which is not built in this release",
    "*.phase=screened": "phase `screened` comes with guardrails, which are not built in this release",
    "Policy.spec.rules.effect=require_approval": "approvals are not built in this release",
    "Policy.spec.rules.effect=redact": "no rule has the effect `redact`; it is an obligation: `effect: require` with `then: {redact: […]}`",
    "Policy.spec.rules.approval": "approvals are not built in this release",
    "Policy.spec.rules.then.allowUnscanned": "`allowUnscanned` comes with guardrails, which are not built in this release",
    "Upstream.spec.command": "stdio upstreams are not built in this release",
    "Upstream.spec.pin": "tool pins are not built in this release",
    "Upstream.spec.tools": "tool labels are not built in this release",
    "Upstream.spec.denyAs": "`denyAs` comes with protocol `a2a`, which is not built in this release",
    "Upstream.spec.credential.oauth": "OAuth credentials are not built in this release",
    "Identity.spec.methods.pod": "pod identity is not built in this release",
    "Settings.spec.store=redis": "store `redis://` is not built in this release",
    "Settings.spec.database=postgresql": "database `postgresql://` is not built in this release",
    "Settings.spec.plugins": "plugins are not built in this release",
    "Settings.spec.skills": "skills are not built in this release",
    "Test.spec.calls.session": "sessions in tests are not built in this release",
    "Test.spec.calls.findings": "findings come with guardrails, which are not built in this release",
    "Test.spec.calls.tool.labels": "tool labels come with protocol `mcp`, which is not built in this release",
    "Test.spec.calls.tool.title": "tool titles come with protocol `mcp`, which is not built in this release",
    "Test.spec.calls.tool.readOnly": "tool hints come with protocol `mcp`, which is not built in this release",
    "Test.spec.calls.tool.destructive": "tool hints come with protocol `mcp`, which is not built in this release",
    "Test.spec.calls.tool.idempotent": "tool hints come with protocol `mcp`, which is not built in this release",
    "Test.spec.calls.tool.openWorld": "tool hints come with protocol `mcp`, which is not built in this release",
    "Test.spec.expect.findings": "findings come with guardrails, which are not built in this release",
    "Test.spec.expect.facts.approvals": "approvals are not built in this release",
    "Test.spec.calls.facts.approvals": "approvals are not built in this release",
    "Test.spec.expect.effect=require_approval": "approvals are not built in this release",
}


def later(path: str) -> str:
    """What to say of a kind, a field or a value (`field=value`) that a later release builds; "" for all others."""
    return LATER.get(path) or LATER.get(f"*.{path.rpartition('.')[2]}", "")


API_VERSION = "sidecar.dev/v1"
"""The first line of every document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a document is called."""

    name: str
    """Unique in its layer for its kind: `a-z`, `0-9`, `.`, `_`, `-`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """For people and tools; of an Upstream also for `then: {route: …}`."""


# ---------------------------------------------------------------- Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates of a listener; both files are watched and reloaded."""

    cert: str
    """PEM file with the certificate chain."""
    key: str
    """PEM file with the private key."""
    client_ca: str = ""
    """PEM file with the authorities whose client certificates are accepted; makes a client certificate possible."""
    require_client: bool = False
    """Refuse a connection that brings no client certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen."""

    host: str = "127.0.0.1"
    """An address of this machine."""
    port: int = 4100
    """A TCP port; 0 lets the system choose."""
    tls: Tls | None = None
    """Serve TLS."""
    hosts: tuple[str, ...] = ()
    """Host header values to accept beside the listen address, `localhost` and the loopback addresses."""
    origins: tuple[str, ...] = ()
    """Origin header values to accept; a request that carries any other is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What happens where no rule says anything."""

    effect: Literal["deny", "allow"] = "deny"
    """`allow` is for a laptop: a load error where the data port is not on loopback. Printed on every decision."""
    tool_call: Literal["allow", "deny"] = "allow"
    """`deny` makes the tool calls a model proposes an allow-list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds. What is over one is refused at once."""

    body: Size = 32 * 2**20
    """Largest request body, after decoding."""
    reply: Size = 64 * 2**20
    """Largest whole reply."""
    event: Size = 4 * 2**20
    """Largest single stream event, and largest arguments of one tool call that are held."""
    inflight: int = 512
    """Calls at once; more is 503 with `Retry-After: 1`."""
    inflight_bytes: Size = 64 * 2**20
    """Request bytes held at once."""
    header_bytes: Size = 64 * 2**10
    """Largest request head."""
    headers: int = 100
    """Most request headers."""
    client_timeout: Duration = 30.0
    """A client must send its head, and then each part of its body, within this."""
    idle: Duration = 75.0
    """An idle keep-alive connection is closed after this."""
    drain: Duration = 30.0
    """After SIGTERM open streams may go on for this long."""
    refusals: int = 600
    """Refusals before the quota stage, per principal and source, per minute; more is 429. 0 switches it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """One place records go to; exactly one of the fields."""

    file: Environ = ""
    """Append JSON lines to this file, relative to `$SIDECAR_STATE`."""
    stdout: bool = False
    """Write JSON lines to standard output."""
    max_size: Size = 256 * 2**20
    """Rotate the file past this."""
    keep: int = 4
    """Rotated files kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """To whom inputs are sealed."""

    public_key: Environ
    """An X25519 public key: a PEM file, or the PEM itself; made by `sidecar keys seal`. The private half stays away from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Decision records: one JSON line each, content-free unless `inputs` says more, written before anything leaves."""

    sinks: tuple[Sink, ...] = (Sink(file="decisions.jsonl"),)
    """Where to."""
    on_error: Outage = "deny"
    """`deny` refuses every call while a sink is down; `allow` counts the loss."""
    inputs: Literal["tuple", "facts", "sealed"] = "tuple"
    """What of a call is kept for `replay`: `tuple` names and counts; `facts` also the values that conditions read, no others; `sealed` all of it, encrypted."""
    seal: Seal | None = None
    """With `inputs: sealed`: to whom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom to believe about forwarded addresses."""

    proxies: tuple[str, ...] = ()
    """CIDR ranges whose `X-Forwarded-For` is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Traces."""

    otlp: Environ = ""
    """OTLP/HTTP endpoint for spans; empty costs nothing."""
    sample: Percent = 1.0
    """Share of calls without a sampled parent that get a trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denials:
    """How much a refusal tells."""

    disclose: Literal["rule", "id"] = "rule"
    """`rule` names the rule and the author's message; `id` gives the decision id alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The bootstrap: restart to change it."""

    listen: Address = Address()
    """The data port."""
    admin: Address = Address(port=4101)
    """The admin API; every answer needs an admin credential."""
    health: Address = Address(port=4102)
    """`/healthz`, `/readyz`, `/metrics`, nothing else."""
    mode: Mode = "enforce"
    """`audit` records every would-be refusal and forwards; printed on every decision."""
    default: Defaults = Defaults()
    """Where no rule says anything."""
    store: str = "memory://"
    """Counters and sessions."""
    database: str = "sqlite:///sidecar.db"
    """Owners of provider-minted ids; relative to `$SIDECAR_STATE`. `memory://` forgets them at restart."""
    limits: Limits = Limits()
    """Bounds."""
    records: Records = Records()
    """Decision records."""
    trust: Trust = Trust()
    """Forwarded addresses."""
    telemetry: Telemetry = Telemetry()
    """Traces."""
    denials: Denials = Denials()
    """What a refusal tells."""
    core: str = "direct"
    """Routing core: `direct`, `delegate`, `echo`, or the name of an installed `sidecar.cores` entry point."""
    delegate: Environ = ""
    """With `core: delegate`: the base URL of the gateway that takes every call."""
    max_snapshot_age: Duration = 300.0
    """A stream older than this after a reload is decided again."""
    candidate: tuple[str, ...] = ()
    """Directories of a whole configuration (one per layer, as with `-c`) that decides the same calls in the shadow and changes none."""


# ---------------------------------------------------------------- Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One API key, known by its SHA-256 alone; made by `sidecar keys new`."""

    id: str
    """The subject is `key:<id>`."""
    sha256: str
    """64 hex digits."""
    team: Named = ""
    """Becomes `principal.team`."""
    groups: tuple[Named, ...] = ()
    """Become `principal.groups`."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """Values for declared claims."""
    not_after: Day | None = None
    """The key is void after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """API keys."""

    keys: tuple[Key, ...] = ()
    """All keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """Bearer tokens of one issuer (RFC 7519, RFC 8725)."""

    issuer: str
    """Must equal `iss`."""
    audience: str
    """Must be in `aud`."""
    jwks: Environ
    """`https://…` or a file with a JWK set."""
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...] = ("RS256", "ES256", "EdDSA")
    """Accepted signatures."""
    leeway: Duration = 30.0
    """Clock skew allowed on `exp`, `nbf`, `iat`."""
    map: Mapping[str, str] = field(default_factory=dict)
    """Where `team` and `groups` (and declared claims of another name) are found: name to claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mtls:
    """Client certificates with one SPIFFE URI (the listener's `clientCa` verifies the chain)."""

    trust_domains: tuple[str, ...]
    """Accepted trust domains; `*` is not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """Callers without a credential. Alone on its listener: a load error beside any other method."""

    team: Named = ""
    """Becomes `principal.team`."""
    groups: tuple[Named, ...] = ()
    """Become `principal.groups`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to be known; exactly one field."""

    api_key: ApiKeys | None = None
    """API keys by hash."""
    jwt: Jwt | None = None
    """Tokens of an issuer."""
    mtls: Mtls | None = None
    """SPIFFE certificates."""
    anonymous: Anonymous | None = None
    """Nobody in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A declared claim: typed, never absent."""

    type: Literal["bool", "int", "double", "string", "list"] = "string"
    """`list` is a list of strings."""
    default: object = None
    """What a caller without it has; needed unless the type has a natural empty value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How a caller is known."""

    methods: tuple[Method, ...]
    """Told apart by the credential's form and issuer, never by order."""
    claims: Mapping[str, Claim] = field(default_factory=dict)
    """Claims that conditions may read as `principal.claims.<name>`."""


# ---------------------------------------------------------------- Upstream, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Where the upstream's credential is; exactly one field."""

    env: str = ""
    """Name of an environment variable."""
    file: str = ""
    """A file, read again when it changes."""
    passthrough: bool = False
    """Send the caller's own credential up (loopback listeners only), for tools that log in by subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars per `per` tokens."""

    input: Money
    """Dollars for input."""
    output: Money = 0.0
    """Dollars for output."""
    per: Literal["1M", "1K"] = "1M"
    """Tokens the two figures are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model this upstream serves."""

    name: Pattern
    """Its name at the provider; a glob admits every name it matches, which then has no aliases."""
    aliases: tuple[Named, ...] = ()
    """Other names callers may use."""
    price: Price | None = None
    """Needed where a dollar limit matches."""
    max_output: int = 0
    """Its largest output in tokens; bounds reservations of calls that state none. 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Waiting for an upstream."""

    connect: Duration = 5.0
    """TCP and TLS."""
    first_byte: Duration = 120.0
    """Until the head of the answer."""
    idle: Duration = 60.0
    """Between two pieces of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Trying again, never after a first byte went out."""

    attempts: int = 2
    """Attempts in all, over all upstreams of the route."""
    budget: Percent = 0.2
    """Retries allowed as a share of calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """Circuit breaker of an upstream."""

    failures: int = 5
    """Failures in a row that open it."""
    open_for: Duration = 10.0
    """Until one trial call is let through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """TLS to an upstream; verification cannot be switched off."""

    ca: str = ""
    """PEM file with the authorities to trust instead of the system's."""
    cert: str = ""
    """Client certificate (PEM)."""
    key: str = ""
    """Its key (PEM)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One LLM provider."""

    protocol: Protocol
    """`llm`."""
    dialect: Literal["openai", "anthropic", "gemini"] = "openai"
    """What it speaks; routes never translate."""
    url: Environ = ""
    """Base URL with the version prefix (`https://api.openai.com/v1`), or `echo:` for the embedded stand-in."""
    credential: Credential | None = None
    """Put on every call by the sidecar."""
    models: tuple[Model, ...] = ()
    """What it serves: a closed set."""
    addresses: tuple[str, ...] = ()
    """Private or loopback addresses or CIDR ranges that its name may resolve to. A literal address in `url` is named by itself."""
    hidden: bool = False
    """Answer 404 `model_not_found` instead of 403 to callers that nothing could allow."""
    timeouts: Timeouts = Timeouts()
    """Waiting."""
    retry: Retry = Retry()
    """Trying again."""
    breaker: Breaker = Breaker()
    """Circuit breaker."""
    tls: UpstreamTls = UpstreamTls()
    """Trust."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Fixed headers to send (`anthropic-version`, an organisation); never a credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """Which asked names a route serves."""

    target: tuple[Pattern, ...] = ("**",)
    """Model names or aliases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTarget:
    """One destination."""

    upstream: str
    """Name of an Upstream."""
    model: str = ""
    """Its model; by default the asked one."""
    weight: int = 1
    """With `weighted`: its share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which upstreams serve which models. A model without a Route goes to every Upstream that declares it, in document order of names."""

    match: RouteMatch = RouteMatch()
    """Asked names."""
    to: tuple[RouteTarget, ...]
    """Destinations, in order of priority."""
    strategy: Literal["weighted", "priority", "least_busy", "lowest_latency", "lowest_cost"] = "priority"
    """How to choose."""


# ---------------------------------------------------------------- Policy, Roles, Quota, Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """AND over fields, OR in a list; indexed, no CEL here."""

    protocol: tuple[Protocol, ...] = ()
    """Protocols; all if empty."""
    operation: tuple[LlmOperation, ...] = ()
    """Operations; `*` or empty is all but `tool_call`, `batch`, `file`."""
    target: tuple[Pattern, ...] = ()
    """Model, `upstream/model`, tool or `server/tool`; all if empty."""
    subjects: tuple[Subject, ...] = ()
    """Who; anyone if empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasedMatch(Match):
    """A match with a phase."""

    phase: Literal["request", "response"] = "request"
    """`response` rules see `reply` and may deny, require or warn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """Obligations."""

    route: Mapping[str, str] = field(default_factory=dict)
    """Only upstreams with all these labels; sets intersect."""
    cap: Mapping[str, float] = field(default_factory=dict)
    """Parameter to largest value; the smallest wins."""
    set: Mapping[str, object] = field(default_factory=dict)
    """Parameter to value; two unequal ones deny."""
    redact: tuple[str, ...] = ()
    """JSON pointers into the request body whose values are replaced by `[redacted]`."""
    label: tuple[str, ...] = ()
    """Labels for the session and the record."""
    warn: tuple[str, ...] = ()
    """Texts for the record and the `x-sidecar-warning` header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule."""

    name: str
    """Unique in its document; records cite `document/rule`."""
    when: Expression = "true"
    """The condition; an error in it counts as matched for deny, require and warn, as not matched for allow."""
    effect: Literal["deny", "allow", "require", "warn"]
    """What it does."""
    message: str = ""
    """For the caller, in the author's words."""
    help: str = ""
    """A link for the caller."""
    then: Then | None = None
    """Obligations, with `require` and `allow`."""
    buffer: bool = False
    """Hold a streamed reply to its end so that this `response` rule can read all of `reply`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules over calls."""

    mode: Mode = "enforce"
    """`audit`: evaluated and recorded as would-be, never live."""
    audit_until: Day | None = None
    """`check` warns once an audit is older than this."""
    match: PhasedMatch = PhasedMatch()
    """Which calls."""
    when: Expression = "true"
    """A condition that all rules share (AND)."""
    variables: Mapping[str, Expression] = field(default_factory=dict)
    """Named values, lazy, computed once, read as `variables.<name>`."""
    rules: tuple[Rule, ...]
    """The rules; their order never matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A named set of grants."""

    inherits: tuple[str, ...] = ()
    """Other roles of this document."""
    allow: tuple[str, ...] = ()
    """`protocol:operation:target`, with globs in operation and target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Who has a role."""

    role: str
    """A role of this document."""
    subjects: tuple[Subject, ...]
    """Who."""
    when: Expression = "true"
    """Under which condition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Compact grants; an allow rule like any other."""

    mode: Mode = "enforce"
    """`audit`: never grants."""
    roles: Mapping[str, Role]
    """Roles by name."""
    bindings: tuple[Binding, ...] = ()
    """Bindings; recorded as `document/role`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of a quota; a counter of its own."""

    metric: Literal["requests", "input_tokens", "output_tokens", "tokens", "cost_usd", "concurrency"]
    """What is counted."""
    max: Money
    """How much fits in a window."""
    per: str = ""
    """`day` and `month` follow the calendar; `1m`, `1h`, `1d` slide. None for concurrency."""
    timezone: str = "UTC"
    """For `day` and `month` (IANA name)."""
    warn_at: Percent | None = None
    """A warning in record and metrics from this share on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Limits per key per window; reserved before, settled with true usage after."""

    mode: Mode = "enforce"
    """`audit`: never reserves or refuses."""
    audit_until: Day | None = None
    """`check` warns once an audit is older than this."""
    match: Match = Match()
    """Which calls."""
    when: Expression = "true"
    """A condition; an error counts as matched."""
    scope: Literal["fleet", "process"] = "process"
    """`fleet` shares counters; on `memory://` that is a warning (an error in a pod)."""
    key: tuple[Expression, ...] = ("principal.id",)
    """Parts of the counter's key; one that is absent or errors follows `onError`."""
    limits: tuple[Limit, ...]
    """The limits; each has a counter of its own."""
    on_error: Outage = "deny"
    """Store outage, missing price or missing key part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exception_:  # noqa: N801  (the kind is called so, and the builtin must stay reachable)
    """Lifts named rules of its own layer; lifts a no, never makes a yes."""

    lifts: tuple[str, ...]
    """`Policy/<document>/<rule>` of deny rules; no globs."""
    match: Match = Match()
    """For which calls."""
    when: Expression = "true"
    """Under which condition; an error means it does not apply."""
    reason: str
    """Why."""
    approved_by: str
    """Who approved it; a claim, for review to verify."""
    expires: Instant
    """At most 90 days ahead; past it the exception is void."""


# ---------------------------------------------------------------- Test


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPrincipal:
    """A caller of a test."""

    id: str
    """`user:u1`, `key:ci-bot`."""
    team: str = ""
    """Its team."""
    groups: tuple[str, ...] = ()
    """Its groups."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """Its claims."""
    actors: tuple[str, ...] = ()
    """Its delegation chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReply:
    """A reply that a response rule judges."""

    status: int = 200
    """HTTP status."""
    finish: str = ""
    """Finish reason."""
    tokens: int = 0
    """Output tokens."""
    tool_calls: tuple[str, ...] = ()
    """Proposed tools, `name` or `server/name`. Each is judged as a `tool_call` with unknown arguments; rules see those that are not denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSource:
    """Where a call of a test comes from."""

    ip: str = ""
    """Its address."""
    loopback: bool = False
    """Whether that is this machine."""
    namespace: str = ""
    """Kubernetes namespace."""
    pod: str = ""
    """Kubernetes pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestTool:
    """What is known of a proposed tool beside its name."""

    kind: str = "function"
    """`function`, `custom`, `mcp`, or a tool that the provider runs: `web_search`, `code_interpreter` …"""
    server: str = ""
    """The MCP server; `target: server/name` says the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFacts:
    """What the rim would answer."""

    quota: Mapping[str, Literal["granted", "exhausted", "unavailable"]] = field(default_factory=dict)
    """Quota document to answer, whatever its limits; `granted` unless said."""
    used: Mapping[str, Mapping[str, Money]] = field(default_factory=dict)
    """Quota document to what is used already, by metric (`requests`, or `requests/1m` for one window): more than `max` is refused."""
    owners: Mapping[str, Literal["own", "foreign", "unknown", "unavailable"]] = field(default_factory=dict)
    """An id that the call names (`previous_response_id`, a file) to whose it is; `own` unless said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCall:
    """A call of a test: protocol, operation, target and what conditions read; or `dialect` and `body`."""

    protocol: Protocol = "llm"
    """`llm`."""
    operation: Literal["", "chat", "embeddings", "moderation", "count_tokens", "models", "tool_call"] = ""
    """What is done; taken from `dialect` where that is given."""
    target: str = ""
    """Asked model, or the tool."""
    model: str = ""
    """With `tool_call`: the model that proposes."""
    dialect: Dialect = ""
    """`openai_chat`, `anthropic_messages`, …: read `body` with that codec."""
    body: Mapping[str, object] | None = None
    """A request body."""
    args: Mapping[str, object] | None = None
    """With `tool_call`: the arguments; left out, they are not known."""
    tool: TestTool | None = None
    """With `tool_call`: its kind and server."""
    params: Mapping[str, object] = field(default_factory=dict)
    """Request parameters."""
    stream: bool = False
    """Streamed."""
    tokens: int = 0
    """Input tokens."""
    source: TestSource = TestSource()
    """Where it comes from."""
    reply: TestReply | None = None
    """Judge this reply too (phase `response`), and the tools it proposes."""
    facts: TestFacts = TestFacts()
    """What the rim answers, unless a row says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRefusal:
    """How the no must look; what is not said may be anything."""

    status: int = 0
    """HTTP status."""
    code: str = ""
    """The stable slug: `policy_denied`, `rate_limit_exceeded`."""
    message: str = ""
    """The words for the caller, all of them."""
    help: str = ""
    """The link for the caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One row: principals by calls and what must come out."""

    principal: tuple[str, ...]
    """Names of principals above; `*` is all."""
    call: tuple[str, ...]
    """Names of calls above; `*` is all."""
    effect: Literal["allow", "deny"]
    """The decision."""
    by: tuple[str, ...] = ()
    """Each must be among the determining rules."""
    would: tuple[str, ...] = ()
    """Each must be among the would-be rules of audit documents."""
    obligations: Mapping[str, object] = field(default_factory=dict)
    """Obligations that must hold, by name; an empty list or mapping says that there is none."""
    refusal: TestRefusal | None = None
    """How the refusal must look."""
    without: tuple[str, ...] = ()
    """Fields taken out first: of the call (`params.temperature`, `args.path`, `args`) or the caller (`principal.team`, `principal.claims.mfa`)."""
    facts: TestFacts = TestFacts()
    """What the rim answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """Fixtures and expectations; run by `sidecar test` and before every swap."""

    now: Instant | None = None
    """The time of every decision; 2026-01-01T00:00:00Z unless said."""
    principals: Mapping[str, TestPrincipal] = field(default_factory=dict)
    """Callers by name."""
    calls: Mapping[str, TestCall] = field(default_factory=dict)
    """Calls by name."""
    expect: tuple[Expectation, ...]
    """The matrix."""


KINDS: Mapping[str, type] = {
    "Settings": Settings,
    "Identity": Identity,
    "Upstream": Upstream,
    "Route": Route,
    "Policy": Policy,
    "Roles": Roles,
    "Quota": Quota,
    "Exception": Exception_,
    "Test": Test,
}
"""The visible table of kinds."""
