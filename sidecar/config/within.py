"""Rules about one document. Each takes the document and `now` and yields what is wrong; the table at the end lists them."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import SplitResult, urlsplit
from zoneinfo import available_timezones

from sidecar.config import documents
from sidecar.config.diagnostics import Diagnostic, Severity
from sidecar.config.document import Document, key_of
from sidecar.config.scalars import pattern_problem, seconds_of, subject_problem
from sidecar.config.validate import near

Found = Iterator[Diagnostic]
Within = Callable[[Document, float], Iterable[Diagnostic]]

DAY = 86400.0
LONGEST_EXCEPTION = 90 * DAY
EXPIRY_WARNING = 14 * DAY

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,126}$")
_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,126}$")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*$")
_CLAIM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*$")
_HEX = re.compile(r"[0-9a-f]{64}$")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
_LIFT = re.compile(r"(?P<kind>[A-Za-z]+)/(?P<document>[^/*]+)/(?P<rule>[^/*]+)$")
_PER = re.compile(r"[1-9]\d*(s|m|h|d)$")
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"})
_FRAMING_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "content-type", "expect", "trailer"})
_PARAMETERS_OF_THE_CALL = frozenset({"model", "messages", "input", "prompt", "tools", "contents", "system", "instructions", "stream"})


def escaped(token: str) -> str:
    """A name as a token of a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def at_key(document: Document, severity: Severity, code: str, message: str, pointer: str, hint: str = "") -> Diagnostic:
    """A diagnostic at a mapping's key."""
    place = key_of(document, pointer)
    shown = document.source.line(place.line) if document.source else ""
    return Diagnostic(severity, code, message, place, hint, shown, place.column + len(pointer.rpartition("/")[2]))


# ---------------------------------------------------------------- names


def name_problem(name: str, shape: re.Pattern[str] = _NAME) -> tuple[str, str] | None:
    """What is wrong with a name, and a hint. Letters that look like others are named by their code."""
    if shape.match(name):
        return None
    if strange := next((character for character in name if not character.isascii()), ""):
        spelt = unicodedata.name(strange, "a character without a name")
        return f"`{name}` holds U+{ord(strange):04X} ({spelt})", "names are plain ASCII, so that no two look alike"
    return f"`{name}` is no name", "a to z, 0 to 9, `.`, `_`, `-`, and a letter or digit first" if shape is _NAME else f"names here are of the form `{shape.pattern.rstrip('$')}`"


def names(document: Document, now: float) -> Found:
    """Names that records and other documents cite are plain, and unique where they stand."""
    if problem := name_problem(document.name):
        yield document.complaint("error", "name", problem[0], "/metadata/name", hint=problem[1])


def rule_names(document: Document, now: float) -> Found:
    """Rules have plain names of their own."""
    seen: dict[str, int] = {}
    for index, rule in enumerate(document.spec.rules):
        pointer = f"/spec/rules/{index}/name"
        if problem := name_problem(rule.name):
            yield document.complaint("error", "name", problem[0], pointer, hint=problem[1])
        if rule.name in seen:
            first = document.at(f"/spec/rules/{seen[rule.name]}/name")
            yield document.complaint("error", "duplicate-name", f"two rules are called `{rule.name}`; the first is on line {first.line}", pointer)
        seen.setdefault(rule.name, index)
    if not document.spec.rules:
        yield document.complaint("error", "no-rules", "a Policy without rules decides nothing", "/spec/rules")


def variable_names(document: Document, now: float) -> Found:
    """Variables are identifiers of the condition language."""
    for name in document.spec.variables:
        if not _IDENTIFIER.match(name):
            yield at_key(document, "error", "name", f"`{name}` is no variable name", f"/spec/variables/{escaped(name)}", "a to z, 0 to 9 and `_`, not a digit first")


# ---------------------------------------------------------------- policies


def rule_effects(document: Document, now: float) -> Found:
    """What goes together in a rule: `then` with require and allow, `buffer` with the phase response, which never allows."""
    response = document.spec.match.phase == "response"
    for index, rule in enumerate(document.spec.rules):
        pointer = f"/spec/rules/{index}"
        if rule.then is not None and rule.effect not in ("require", "allow"):
            yield at_key(document, "error", "then", f"`then` has no meaning with `effect: {rule.effect}`", f"{pointer}/then", "obligations come with `require` and `allow`")
        if rule.effect == "require" and (rule.then is None or rule.then == documents.Then()):
            yield document.complaint("error", "then", "a `require` that demands nothing", f"{pointer}/effect", hint="say what in `then`")
        if rule.buffer and not response:
            yield document.complaint("error", "phase", "`buffer` holds back a reply, and this document is about requests", f"{pointer}/buffer", hint="`match: {phase: response}`, or take it out")
        if response and rule.effect == "allow":
            yield document.complaint("error", "phase", "a reply is released unless it is denied; `allow` has no meaning here", f"{pointer}/effect", hint="turn the condition round and `deny`")
        if rule.help and not rule.help.startswith(("https://", "http://", "mailto:")):
            yield document.complaint("error", "url", f"`{rule.help}` is no link", f"{pointer}/help", hint="a link begins with `https://`")


def obligations(document: Document, now: float) -> Found:
    """What `then` asks must be possible: no field both capped and set, and none that is matched, screened or sent as it is."""
    for index, rule in enumerate(document.spec.rules):
        then, pointer = rule.then or documents.Then(), f"/spec/rules/{index}/then"
        for name in sorted(then.cap.keys() & then.set.keys()):
            yield at_key(document, "error", "then", f"`{name}` is both capped and set", f"{pointer}/set/{escaped(name)}", "keep one of them")
        for name in sorted(_PARAMETERS_OF_THE_CALL & then.set.keys()):
            yield at_key(document, "error", "then", f"`{name}` cannot be set: it is matched or screened", f"{pointer}/set/{name}", "deny the calls that have another value")
        for place, text in enumerate(then.redact):
            if not text.startswith("/"):
                yield document.complaint("error", "then", f"`{text}` is no JSON pointer", f"{pointer}/redact/{place}", hint=f"`/{text.replace('.', '/')}`")
        for place, text in enumerate(then.warn):
            if not text.isprintable():
                yield document.complaint("error", "then", "a warning is one printable line", f"{pointer}/warn/{place}")


def audits(document: Document, now: float) -> Found:
    """A forgotten audit is a policy that never bites."""
    until = document.spec.audit_until
    if until is not None and document.spec.mode != "audit":
        yield at_key(document, "error", "audit", "`auditUntil` has no meaning with `mode: enforce`", "/spec/auditUntil")
    elif until is not None and until < now:
        yield document.complaint("warning", "audit", "this audit is over and still does not bite", "/spec/auditUntil", hint="`mode: enforce`, or a later day")


# ---------------------------------------------------------------- roles, quotas, exceptions


def roles(document: Document, now: float) -> Found:
    """Roles inherit from and bindings name roles of the same document, and no role inherits from itself."""
    known = document.spec.roles
    for name, role in known.items():
        pointer = f"/spec/roles/{escaped(name)}"
        if problem := name_problem(name):
            yield at_key(document, "error", "name", problem[0], pointer, problem[1])
        for index, parent in enumerate(role.inherits):
            if parent not in known:
                yield document.complaint("error", "unknown-role", f"no role `{parent}` in this document", f"{pointer}/inherits/{index}", hint=near(parent, known))
        if _inherits_itself(name, known):
            yield document.complaint("error", "cycle", f"role `{name}` inherits from itself", f"{pointer}/inherits")
    for index, binding in enumerate(document.spec.bindings):
        if binding.role not in known:
            yield document.complaint("error", "unknown-role", f"no role `{binding.role}` in this document", f"/spec/bindings/{index}/role", hint=near(binding.role, known))


def _inherits_itself(name: str, known: Mapping[str, documents.Role]) -> bool:
    seen: set[str] = set()
    ahead = list(known[name].inherits)
    while ahead:
        parent = ahead.pop()
        if parent == name:
            return True
        if parent in known and parent not in seen:
            seen.add(parent)
            ahead += known[parent].inherits
    return False


_OPERATIONS = tuple(word for word in documents.LlmOperation.__args__ if word != "*")  # type: ignore[attr-defined]  # the arguments of a Literal
_LATER_PROTOCOLS = ("mcp", "a2a")


def grants(document: Document, now: float) -> Found:
    """A grant is `protocol:operation:target`."""
    for name, role in document.spec.roles.items():
        for index, grant in enumerate(role.allow):
            if problem := grant_problem(grant):
                yield document.complaint("error", "grant", f"`{grant}`: {problem[0]}", f"/spec/roles/{escaped(name)}/allow/{index}", hint=problem[1])


def grant_problem(grant: str) -> tuple[str, str] | None:
    """What is wrong with a grant, and a hint."""
    parts = grant.split(":", 2)
    if len(parts) != 3:
        return "a grant has three parts", "`protocol:operation:target`, as in `llm:chat:gpt-*`"
    protocol, operation, target = parts
    if protocol in _LATER_PROTOCOLS:
        return f"protocol `{protocol}` is not built in this release", ""
    if protocol != "llm":
        return f"no protocol is called `{protocol}`", "`llm`"
    if "*" not in operation and operation not in _OPERATIONS:
        return f"no operation is called `{operation}`", near(operation, _OPERATIONS) or "one of " + ", ".join(f"`{word}`" for word in _OPERATIONS)
    return pattern_problem(target)


def limits(document: Document, now: float) -> Found:
    """Every limit has a window, but for concurrency, and zones are those of the tz database."""
    for index, limit in enumerate(document.spec.limits):
        pointer = f"/spec/limits/{index}"
        if limit.metric == "concurrency" and limit.per:
            yield document.complaint("error", "window", "`concurrency` is counted at one moment and has no window", f"{pointer}/per", hint="take the line out")
        if limit.metric != "concurrency" and not limit.per:
            yield document.complaint("error", "window", f"`{limit.metric}` needs a window", pointer, hint="`per: day`, `per: month`, or sliding: `per: 1h`")
        if limit.per and limit.per not in ("day", "month") and not (_PER.match(limit.per) and seconds_of(limit.per)):
            yield document.complaint("error", "window", f"`{limit.per}` is no window", f"{pointer}/per", hint="`day`, `month`, or sliding: `1m`, `1h`, `1d`")
        if limit.timezone != "UTC" and limit.timezone not in available_timezones():
            yield document.complaint("error", "timezone", f"no time zone is called `{limit.timezone}`", f"{pointer}/timezone", hint=near(limit.timezone, available_timezones()))
    if not document.spec.limits:
        yield document.complaint("error", "window", "a Quota without limits", "/spec/limits")


def expiry(document: Document, now: float) -> Found:
    """An exception ends, soon."""
    left = document.spec.expires - now
    if left > LONGEST_EXCEPTION:
        yield document.complaint("error", "expiry", f"ends in {left / DAY:.0f} days; 90 are the most", "/spec/expires", hint="an exception for good is a rule: write one")
    elif left <= 0:
        yield document.complaint("warning", "expiry", "is over: this exception lifts nothing any more", "/spec/expires", hint="take the document out, or renew it")
    elif left <= EXPIRY_WARNING:
        yield document.complaint("warning", "expiry", f"ends in {left / DAY:.0f} days", "/spec/expires")


def exception_words(document: Document, now: float) -> Found:
    """A reason and an approver are said, and what is lifted is named in full."""
    for name, text in (("reason", document.spec.reason), ("approvedBy", document.spec.approved_by)):
        if not text.strip():
            yield document.complaint("error", "no-value", f"`{name}` is empty", f"/spec/{name}")
    for index, lifted in enumerate(document.spec.lifts):
        pointer = f"/spec/lifts/{index}"
        found = _LIFT.match(lifted)
        if found is None:
            yield document.complaint("error", "lifts", f"`{lifted}` names no rule", pointer, hint="`Policy/<document>/<rule>`, without `*`")
        elif found["kind"] != "Policy":
            yield document.complaint("error", "lifts", f"rules of `{found['kind']}` cannot be lifted", pointer, hint="`Policy/<document>/<rule>`")
    if not document.spec.lifts:
        yield document.complaint("error", "lifts", "an Exception that lifts nothing", "/spec/lifts")


# ---------------------------------------------------------------- identity


def methods(document: Document, now: float) -> Found:
    """Anonymous stands alone; issuers and key methods are told apart."""
    spec = document.spec
    if not spec.methods:
        yield document.complaint("error", "identity", "no method: nobody could be known", "/spec/methods", hint="`anonymous: {}` for nobody in particular")
    issuers: set[str] = set()
    for index, method in enumerate(spec.methods):
        pointer = f"/spec/methods/{index}"
        if method.anonymous is not None and len(spec.methods) > 1:
            yield document.complaint("error", "anonymous", "`anonymous` stands alone: beside it a bad credential would be none", pointer, hint="take out either it or all others")
        if method.jwt is not None and method.jwt.issuer in issuers:
            yield document.complaint("error", "duplicate-issuer", f"two methods have the issuer `{method.jwt.issuer}`", f"{pointer}/jwt/issuer")
        if method.jwt is not None:
            issuers.add(method.jwt.issuer)
    for kind in ("api_key", "mtls"):
        places = [index for index, method in enumerate(spec.methods) if getattr(method, kind) is not None]
        for index in places[1:]:
            yield document.complaint("error", "identity", "the same method twice", f"/spec/methods/{index}", hint="put both into one")


def keys(document: Document, now: float) -> Found:
    """Keys are SHA-256 digests in lower case, each with an id of its own."""
    ids: set[str] = set()
    digests: set[str] = set()
    for method_index, method in enumerate(document.spec.methods):
        for index, key in enumerate(method.api_key.keys if method.api_key else ()):
            yield from _key(document, key, f"/spec/methods/{method_index}/apiKey/keys/{index}", now, ids, digests)


def _key(document: Document, key: documents.Key, pointer: str, now: float, ids: set[str], digests: set[str]) -> Found:
    if problem := name_problem(key.id, _KEY_ID):
        yield document.complaint("error", "name", problem[0], f"{pointer}/id", hint="letters, digits, `.`, `_`, `-` and `@`")
    if not _HEX.match(key.sha256):
        hint = "in lower case" if _HEX.match(key.sha256.lower()) else "64 hex digits; `sidecar keys new` prints them"
        yield document.complaint("error", "key", "`sha256` is no SHA-256 digest", f"{pointer}/sha256", hint=hint)
    if key.id in ids:
        yield document.complaint("error", "duplicate-key-id", f"two keys have the id `{key.id}`", f"{pointer}/id", hint="records could not tell them apart")
    if key.sha256 in digests:
        yield document.complaint("error", "duplicate-key", "two ids have the same key", f"{pointer}/sha256", hint="give each a key of its own")
    if key.not_after is not None and key.not_after < now:
        yield document.complaint("warning", "expired-key", f"key `{key.id}` is void since its `notAfter`", f"{pointer}/notAfter", hint="take the entry out, or make a new key")
    for name, value in key.claims.items():
        yield from _claim_value(document, name, value, f"{pointer}/claims/{escaped(name)}")
    ids.add(key.id)
    digests.add(key.sha256)


_CLAIM_TYPES: Mapping[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "double": (int, float), "string": (str,), "list": (list,)}
_RESERVED_CLAIMS = frozenset({"team", "groups"})


def _claim_value(document: Document, name: str, value: object, pointer: str) -> Found:
    claim = document.spec.claims.get(name)
    if claim is None:
        yield at_key(document, "error", "claim", f"claim `{name}` is not declared", pointer, near(name, document.spec.claims) or "declare it in `claims`")
    elif not _is(claim.type, value):
        yield document.complaint("error", "claim", f"claim `{name}` is declared as {claim.type}", pointer)


def _is(type_: str, value: object) -> bool:
    if isinstance(value, bool) and type_ != "bool":
        return False
    return isinstance(value, _CLAIM_TYPES[type_]) and (not isinstance(value, list) or all(isinstance(item, str) for item in value))


def claims(document: Document, now: float) -> Found:
    """Claims are identifiers, have defaults of their type, and are not what `team` and `groups` already are."""
    for name, claim in document.spec.claims.items():
        pointer = f"/spec/claims/{escaped(name)}"
        if not _CLAIM.match(name):
            yield at_key(document, "error", "name", f"`{name}` is no claim name", pointer, "letters, digits and `_`; `map` finds a claim that is called otherwise in the token")
        if name in _RESERVED_CLAIMS:
            yield at_key(document, "error", "claim", f"`{name}` is read as `principal.{name}`", pointer, "take the line out")
        if claim.default is not None and not _is(claim.type, claim.default):
            yield document.complaint("error", "claim", f"the default of `{name}` is no {claim.type}", f"{pointer}/default")


def jwt(document: Document, now: float) -> Found:
    """Tokens: the map names declared claims, keys come by https or from a file, skew is small."""
    for index, method in enumerate(document.spec.methods):
        if method.jwt is None:
            continue
        pointer = f"/spec/methods/{index}/jwt"
        for name in method.jwt.map:
            if name not in _RESERVED_CLAIMS and name not in document.spec.claims:
                known = (*document.spec.claims, *_RESERVED_CLAIMS)
                yield at_key(document, "error", "claim", f"claim `{name}` is not declared", f"{pointer}/map/{escaped(name)}", near(name, known) or "declare it in `claims`")
        if "://" in method.jwt.jwks:
            yield from _url(document, method.jwt.jwks, f"{pointer}/jwks", ())
        for name, value in (("issuer", method.jwt.issuer), ("audience", method.jwt.audience), ("jwks", method.jwt.jwks)):
            if not value:
                yield document.complaint("error", "no-value", f"`{name}` is empty", f"{pointer}/{name}", hint="an empty one would match tokens that say nothing")
        if method.jwt.leeway > 300:
            yield document.complaint("error", "leeway", "a clock skew of more than 5 minutes keeps dead tokens alive", f"{pointer}/leeway")
        if not method.jwt.algorithms:
            yield document.complaint("error", "algorithms", "no algorithm: no token could be verified", f"{pointer}/algorithms")


def trust_domains(document: Document, now: float) -> Found:
    """Trust domains are named one by one."""
    for index, method in enumerate(document.spec.methods):
        for place, domain in enumerate(method.mtls.trust_domains if method.mtls else ()):
            if not re.match(r"[a-z0-9][a-z0-9._-]*$", domain):
                hint = f"`{domain.removeprefix('spiffe://').rstrip('/')}`" if domain.startswith("spiffe://") else "each is named, without `*`"
                yield document.complaint("error", "trust-domain", f"`{domain}` is no trust domain", f"/spec/methods/{index}/mtls/trustDomains/{place}", hint=hint)


# ---------------------------------------------------------------- upstreams


def upstream_url(document: Document, now: float) -> Found:
    """https; plain http only to loopback or to a literal private address. `echo:` is the embedded stand-in."""
    spec = document.spec
    if spec.url == "echo:":
        return
    if not spec.url:
        yield document.complaint("error", "url", "`url` is missing", "/spec", hint="the base URL with the version prefix, or `echo:`")
        return
    yield from _url(document, spec.url, "/spec/url", spec.addresses)


def _url(document: Document, url: str, pointer: str, addresses: tuple[str, ...]) -> Found:
    if problem := url_problem(url, addresses):
        yield document.complaint("error", "url", f"`{_without_secret(url)}`: {problem[0]}", pointer, hint=problem[1])


def url_problem(url: str, addresses: tuple[str, ...] = ()) -> tuple[str, str] | None:
    """What is wrong with a URL that the sidecar would dial, and a hint. `addresses` are those its document names."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return str(error).lower(), ""
    if parts.scheme not in ("http", "https"):
        return "no http or https URL", "`https://…`"
    if not parts.hostname:
        return "no host", "`https://host/v1`"
    if parts.username is not None or parts.password is not None:
        return "credentials in a URL end in logs", "`credential: {env: NAME}`"
    if parts.query or parts.fragment:
        return "a base URL has no query and no fragment", ""
    if parts.scheme == "http" and not _is_near(parts, addresses):
        return "plain http only to loopback, or to a private address that the document names", "`https://…`"
    return None


def _without_secret(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)


def _is_near(parts: SplitResult, addresses: tuple[str, ...]) -> bool:
    host = parts.hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or bool(addresses)
    return address.is_loopback or (address.is_private and not address.is_link_local)


def upstream_addresses(document: Document, now: float) -> Found:
    """Addresses are literal; link-local ones (metadata services) are not named by range."""
    for index, text in enumerate(document.spec.addresses):
        pointer = f"/spec/addresses/{index}"
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield document.complaint("error", "address", f"`{text}` is no address and no range", pointer, hint="as in `10.0.0.0/8` or `192.168.1.7`")
            continue
        if network.prefixlen == 0:
            yield document.complaint("error", "address", f"`{text}` is everywhere", pointer, hint="name the range that the upstream is in")


def upstream_headers(document: Document, now: float) -> Found:
    """Fixed headers carry no credential and no framing."""
    for name, value in document.spec.headers.items():
        pointer = f"/spec/headers/{escaped(name)}"
        lower = name.lower()
        if lower in _CREDENTIAL_HEADERS:
            yield at_key(document, "error", "header", f"`{name}` is a credential", pointer, "`credential: {env: NAME}`")
        elif lower in _FRAMING_HEADERS:
            yield at_key(document, "error", "header", f"`{name}` is the sidecar's own", pointer, "take the line out")
        elif not _HEADER.match(name) or not value.isascii() or not value.isprintable():
            yield at_key(document, "error", "header", f"`{name}` is no header that can be sent", pointer)


def models(document: Document, now: float) -> Found:
    """Models have names of their own; a glob has no aliases."""
    seen: dict[str, str] = {}
    for index, model in enumerate(document.spec.models):
        pointer = f"/spec/models/{index}"
        if "*" in model.name and model.aliases:
            yield document.complaint("error", "alias", f"`{model.name}` stands for many names and has no aliases", f"{pointer}/aliases", hint="name the model that the alias means")
        for name, place in ((model.name, f"{pointer}/name"), *((alias, f"{pointer}/aliases/{at}") for at, alias in enumerate(model.aliases))):
            if name.casefold() in seen:
                yield document.complaint("error", "duplicate-model", f"`{name}` is named twice in this upstream", place, hint="models and aliases are names of one kind")
            if "*" in name and place.endswith("/name") is False:
                yield document.complaint("error", "alias", f"`{name}`: an alias is exact", place)
            seen[name.casefold()] = place


# ---------------------------------------------------------------- settings

_STORES: Mapping[str, tuple[str, ...]] = {"store": ("memory",), "database": ("sqlite", "memory")}


def stores(document: Document, now: float) -> Found:
    """Stores of this release."""
    for name, known in _STORES.items():
        value = getattr(document.spec, name)
        scheme, colon, _ = value.partition("://")
        if scheme in known and colon:
            continue
        later = documents.LATER.get(f"Settings.spec.{name}={'redis' if scheme == 'rediss' else scheme}")
        hint = "" if later else "one of " + ", ".join(f"`{word}://`" for word in known)
        yield document.complaint("error", "later" if later else "store", later or f"`{value}` is no {name}", f"/spec/{name}", hint=hint)


def listeners(document: Document, now: float) -> Found:
    """Ports differ, TLS files come in pairs, and `effect: allow` stays on the laptop."""
    spec = document.spec
    taken: dict[int, str] = {}
    for name in ("listen", "admin", "health"):
        address = getattr(spec, name)
        if address.port > 65535:
            yield document.complaint("error", "port", f"{address.port} is no port", f"/spec/{name}/port", hint="0 to 65535")
        if address.port and address.port in taken:
            yield document.complaint("error", "port", f"port {address.port} is that of `{taken[address.port]}`", f"/spec/{name}/port")
        if address.tls is not None and address.tls.require_client and not address.tls.client_ca:
            yield document.complaint("error", "tls", "`requireClient` needs the authorities to believe", f"/spec/{name}/tls/requireClient", hint="`clientCa: FILE`")
        taken[address.port] = name
    if spec.default.effect == "allow" and not is_loopback(spec.listen.host):
        yield document.complaint("error", "default-allow", f"`effect: allow` is for loopback, and the data port is on `{spec.listen.host}`", "/spec/default/effect", hint="`effect: deny` and a rule that allows")


def is_loopback(host: str) -> bool:
    """Whether a listen address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bounds(document: Document, now: float) -> Found:
    """Limits that would refuse everything are mistakes."""
    sizes = document.spec.limits
    for name, field in (("body", "body"), ("reply", "reply"), ("event", "event"), ("inflight", "inflight"), ("inflightBytes", "inflight_bytes"), ("headerBytes", "header_bytes"), ("headers", "headers"), ("clientTimeout", "client_timeout")):
        if not getattr(sizes, field):
            yield document.complaint("error", "limit", f"`{name}: 0` refuses every call", f"/spec/limits/{name}")
    if sizes.inflight_bytes < sizes.body:
        yield document.complaint("error", "limit", "`inflightBytes` is smaller than `body`: the largest body could never be held", "/spec/limits/inflightBytes")


def proxies(document: Document, now: float) -> Found:
    """Trusted proxies are ranges, and not everybody."""
    for index, text in enumerate(document.spec.trust.proxies):
        pointer = f"/spec/trust/proxies/{index}"
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            yield document.complaint("error", "address", f"`{text}` is no address and no range", pointer)
            continue
        if network.prefixlen == 0:
            yield document.complaint("error", "address", f"`{text}` believes everybody's `X-Forwarded-For`", pointer, hint="name the proxies")


def core(document: Document, now: float) -> Found:
    """`core: delegate` and `delegate:` come together."""
    spec = document.spec
    if spec.core == "delegate" and not spec.delegate:
        yield document.complaint("error", "core", "`core: delegate` needs to know to whom", "/spec/core", hint="`delegate: https://gateway.example.com`")
    if spec.delegate and spec.core != "delegate":
        yield document.complaint("error", "core", f"`delegate` has no meaning with `core: {spec.core}`", "/spec/delegate", hint="`core: delegate`, or take the line out")
    if spec.delegate:
        yield from _url(document, spec.delegate, "/spec/delegate", ())
    if spec.telemetry.otlp:
        yield from _url(document, spec.telemetry.otlp, "/spec/telemetry/otlp", ("collector",))


# ---------------------------------------------------------------- tests


def fixtures(document: Document, now: float) -> Found:
    """Expectations name principals and calls of the document; principals are single subjects."""
    spec = document.spec
    for name, principal in spec.principals.items():
        pointer = f"/spec/principals/{escaped(name)}"
        problem = ("a principal is one, without `*`", "") if "*" in principal.id else subject_problem(principal.id)
        if problem:
            yield document.complaint("error", "subject", f"`{principal.id}`: {problem[0]}", f"{pointer}/id", hint=problem[1])
    for index, row in enumerate(spec.expect):
        for field, known in (("principal", spec.principals), ("call", spec.calls)):
            for place, name in enumerate(getattr(row, field)):
                if name != "*" and name not in known:
                    yield document.complaint("error", f"unknown-{field}", f"no {field} `{name}` in this document", f"/spec/expect/{index}/{field}/{place}", hint=near(name, known))
    for name, call in spec.calls.items():
        if bool(call.dialect) == bool(call.operation):
            yield document.complaint("error", "call", f"call `{name}` needs either `operation` or `dialect` with `body`", f"/spec/calls/{escaped(name)}")


ALL = tuple(documents.KINDS)

WITHIN: tuple[tuple[tuple[str, ...], Within], ...] = (
    (ALL, names),
    (("Policy",), rule_names),
    (("Policy",), variable_names),
    (("Policy",), rule_effects),
    (("Policy",), obligations),
    (("Policy", "Quota"), audits),
    (("Roles",), roles),
    (("Roles",), grants),
    (("Quota",), limits),
    (("Exception",), expiry),
    (("Exception",), exception_words),
    (("Identity",), methods),
    (("Identity",), keys),
    (("Identity",), claims),
    (("Identity",), jwt),
    (("Identity",), trust_domains),
    (("Upstream",), upstream_url),
    (("Upstream",), upstream_addresses),
    (("Upstream",), upstream_headers),
    (("Upstream",), models),
    (("Settings",), stores),
    (("Settings",), listeners),
    (("Settings",), bounds),
    (("Settings",), proxies),
    (("Settings",), core),
    (("Test",), fixtures),
)
"""The visible table: kinds and the rule about each document of them."""
