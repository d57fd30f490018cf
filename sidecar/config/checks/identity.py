"""Rules about Identity documents: methods that can be told apart, keys, claims."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sidecar.config.checks.base import Found, at_key, escaped, name_problem
from sidecar.config.checks.upstreams import url_found
from sidecar.config.validate import near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config import documents
    from sidecar.config.document import Document

_KEY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,126}\Z")
_CLAIM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")


def methods(document: Document) -> Found:
    """Anonymous stands alone; issuers and key methods are told apart."""
    spec = document.spec
    if not spec.methods:
        yield document.complaint("error", "identity", "no method: nobody could be known", "/spec/methods", hint="`anonymous: {}` for nobody in particular")
    issuers: set[str] = set()
    for index, method in enumerate(spec.methods):
        pointer = f"/spec/methods/{index}"
        if method.anonymous is not None and len(spec.methods) > 1:
            yield document.complaint(
                "error", "anonymous", "`anonymous` stands alone: beside it a bad credential would be none", pointer, hint="take out either it or all others"
            )
        if method.jwt is not None and method.jwt.issuer in issuers:
            yield document.complaint("error", "duplicate-issuer", f"two methods have the issuer `{method.jwt.issuer}`", f"{pointer}/jwt/issuer")
        if method.jwt is not None:
            issuers.add(method.jwt.issuer)
    for kind in ("api_key", "mtls"):
        places = [index for index, method in enumerate(spec.methods) if getattr(method, kind) is not None]
        for index in places[1:]:
            yield document.complaint("error", "identity", "the same method twice", f"/spec/methods/{index}", hint="put both into one")


def keys(document: Document) -> Found:
    """Keys are SHA-256 digests in lower case, each with an id of its own."""
    ids: set[str] = set()
    digests: set[str] = set()
    for method_index, method in enumerate(document.spec.methods):
        for index, key in enumerate(method.api_key.keys if method.api_key else ()):
            yield from _key(document, key, f"/spec/methods/{method_index}/apiKey/keys/{index}", ids, digests)


def _key(document: Document, key: documents.Key, pointer: str, ids: set[str], digests: set[str]) -> Found:
    if problem := name_problem(key.id, _KEY_ID, "letters, digits, `.`, `_`, `-` and `@`, and a letter or digit first"):
        yield document.complaint("error", "name", problem[0], f"{pointer}/id", hint=problem[1])
    if not _HEX.match(key.sha256):
        hint = "in lower case" if _HEX.match(key.sha256.lower()) else "64 hex digits; `sidecar keys new` prints them"
        yield document.complaint("error", "key", "`sha256` is no SHA-256 digest", f"{pointer}/sha256", hint=hint)
    if key.id in ids:
        yield document.complaint("error", "duplicate-key-id", f"two keys have the id `{key.id}`", f"{pointer}/id", hint="records could not tell them apart")
    if key.sha256 in digests:
        yield document.complaint("error", "duplicate-key", "two ids have the same key", f"{pointer}/sha256", hint="give each a key of its own")
    for name, value in key.claims.items():
        yield from _claim_value(document, name, value, f"{pointer}/claims/{escaped(name)}")
    ids.add(key.id)
    digests.add(key.sha256)


def expired_keys(document: Document, now: float) -> Found:
    """A key that is void is told of, once a day is past."""
    for method_index, method in enumerate(document.spec.methods):
        for index, key in enumerate(method.api_key.keys if method.api_key else ()):
            if key.not_after is not None and key.not_after < now:
                pointer = f"/spec/methods/{method_index}/apiKey/keys/{index}/notAfter"
                yield document.complaint(
                    "warning", "expired-key", f"key `{key.id}` is void since its `notAfter`", pointer, hint="take the entry out, or make a new key"
                )


_CLAIM_TYPES: Mapping[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "double": (int, float), "string": (str,), "list": (list,)}
_RESERVED_CLAIMS = frozenset({"team", "groups"})


def _claim_value(document: Document, name: str, value: object, pointer: str) -> Found:
    claim = document.spec.claims.get(name)
    if claim is None:
        yield at_key(document, "claim", f"claim `{name}` is not declared", pointer, near(name, document.spec.claims) or "declare it in `claims`")
    elif not _is(claim.type, value):
        yield document.complaint("error", "claim", f"claim `{name}` is declared as {claim.type}", pointer)


def _is(type_: str, value: object) -> bool:
    if isinstance(value, bool) and type_ != "bool":
        return False
    return isinstance(value, _CLAIM_TYPES[type_]) and (not isinstance(value, list) or all(isinstance(item, str) for item in value))


def claims(document: Document) -> Found:
    """Claims are identifiers, have defaults of their type, and are not what `team` and `groups` already are."""
    for name, claim in document.spec.claims.items():
        pointer = f"/spec/claims/{escaped(name)}"
        if not _CLAIM.match(name):
            yield at_key(
                document,
                "name",
                f"`{name}` is no claim name",
                pointer,
                "letters, digits and `_`; `map` finds a claim that is called otherwise in the token",
            )
        if name in _RESERVED_CLAIMS:
            yield at_key(document, "claim", f"`{name}` is read as `principal.{name}`", pointer, "take the line out")
        if claim.default is not None and not _is(claim.type, claim.default):
            yield document.complaint("error", "claim", f"the default of `{name}` is no {claim.type}", f"{pointer}/default")


def jwt(document: Document) -> Found:
    """Tokens: the map names declared claims, keys come by https or from a file, skew is small."""
    for index, method in enumerate(document.spec.methods):
        if method.jwt is None:
            continue
        pointer = f"/spec/methods/{index}/jwt"
        for name in method.jwt.map:
            if name not in _RESERVED_CLAIMS and name not in document.spec.claims:
                known = (*document.spec.claims, *_RESERVED_CLAIMS)
                yield at_key(
                    document,
                    "claim",
                    f"claim `{name}` is not declared",
                    f"{pointer}/map/{escaped(name)}",
                    near(name, known) or "declare it in `claims`",
                )
        if "://" in method.jwt.jwks:
            yield from url_found(document, method.jwt.jwks, f"{pointer}/jwks", query=True)
        for name, value in (("issuer", method.jwt.issuer), ("audience", method.jwt.audience), ("jwks", method.jwt.jwks)):
            if not value:
                yield document.complaint(
                    "error", "no-value", f"`{name}` is empty", f"{pointer}/{name}", hint="an empty one would match tokens that say nothing"
                )
        if method.jwt.leeway > 300:
            yield document.complaint("error", "leeway", "a clock skew of more than 5 minutes keeps dead tokens alive", f"{pointer}/leeway")
        if not method.jwt.algorithms:
            yield document.complaint("error", "algorithms", "no algorithm: no token could be verified", f"{pointer}/algorithms")


def trust_domains(document: Document) -> Found:
    """Trust domains are named one by one."""
    for index, method in enumerate(document.spec.methods):
        for place, domain in enumerate(method.mtls.trust_domains if method.mtls else ()):
            if not re.match(r"[a-z0-9][a-z0-9._-]*\Z", domain):
                hint = f"`{domain.removeprefix('spiffe://').rstrip('/')}`" if domain.startswith("spiffe://") else "each is named, without `*`"
                yield document.complaint(
                    "error", "trust-domain", f"`{domain}` is no trust domain", f"/spec/methods/{index}/mtls/trustDomains/{place}", hint=hint
                )
