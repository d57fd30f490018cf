"""The wire: every endpoint of the data port and the codec that reads it. This file is the table; a dialect is one line in it.

A path that is not listed here is 404 and is never forwarded. Literal segments match in any case, so that no spelling of a path is a
way around a rule; ids keep theirs. Paths come in canonical (`paths.canonical`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from sidecar.errors import MethodNotAllowed, UnknownPath
from sidecar.wire import (
    anthropic_count_tokens,
    anthropic_errors,
    anthropic_messages,
    gemini_count_tokens,
    gemini_errors,
    gemini_generate,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_errors,
    openai_models,
    openai_moderations,
    openai_responses,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sidecar.decision import Refusal
    from sidecar.wire.base import Answer, Codec


class Endpoint(NamedTuple):
    """One row. `path` is a pattern over the canonical path: its literals in any case, its groups as they came."""

    methods: tuple[str, ...]
    path: str
    codec: Codec


_RESPONSE = r"(?P<id>[A-Za-z0-9_-]{1,256})"
_GEMINI_MODEL = r"(?P<model>[A-Za-z0-9._-]{1,256})"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(("POST",), r"/v1/chat/completions", openai_chat.CODEC),
    Endpoint(("POST",), r"/v1/completions", openai_completions.CODEC),
    Endpoint(("POST",), r"/v1/responses", openai_responses.CODEC),
    Endpoint(("GET", "DELETE"), rf"/v1/responses/{_RESPONSE}", openai_responses.STORED),
    Endpoint(("POST",), rf"/v1/responses/{_RESPONSE}/(?P<action>cancel)", openai_responses.STORED),
    Endpoint(("GET",), rf"/v1/responses/{_RESPONSE}/(?P<action>input_items)", openai_responses.STORED),
    Endpoint(("POST",), r"/v1/embeddings", openai_embeddings.CODEC),
    Endpoint(("POST",), r"/v1/moderations", openai_moderations.CODEC),
    Endpoint(("GET",), r"/v1/models", openai_models.CODEC),
    Endpoint(("GET",), r"/v1/models/(?P<id>[A-Za-z0-9._:/@-]{1,256})", openai_models.CODEC),
    Endpoint(("POST",), r"/v1/messages", anthropic_messages.CODEC),
    Endpoint(("POST",), r"/v1/messages/count_tokens", anthropic_count_tokens.CODEC),
    Endpoint(("POST",), rf"/v1(?:beta)?/models/{_GEMINI_MODEL}:(?P<method>generateContent|streamGenerateContent)", gemini_generate.CODEC),
    Endpoint(("POST",), rf"/v1(?:beta)?/models/{_GEMINI_MODEL}:(?P<method>countTokens)", gemini_count_tokens.CODEC),
)

CODECS: Mapping[str, Codec] = {endpoint.codec.name: endpoint.codec for endpoint in ENDPOINTS}
"""Dialect name (`call.dialect`) to codec."""

REFUSALS: Mapping[str, Callable[[Refusal, str], Answer]] = {
    "openai": openai_errors.refuse,
    "anthropic": anthropic_errors.refuse,
    "gemini": gemini_errors.refuse,
}
"""Family to the shape of its refusals."""

_EXACT: dict[str, dict[str, Codec]] = {}
for _endpoint in ENDPOINTS:
    if "(" not in _endpoint.path:
        _EXACT.setdefault(_endpoint.path, {}).update(dict.fromkeys(_endpoint.methods, _endpoint.codec))
_PATTERNS = tuple((re.compile(endpoint.path, re.IGNORECASE), endpoint) for endpoint in ENDPOINTS if "(" in endpoint.path)
_GEMINI = re.compile(r"/v1beta(?:/.*)?|/v1/models/[^/]*:(?:[a-z]*generatecontent|counttokens)", re.DOTALL)


def match(method: str, path: str) -> tuple[Codec, dict[str, str]]:
    """The codec of a canonical path, and the path's variables. Raises UnknownPath, MethodNotAllowed."""
    codecs = _EXACT.get(path) or _EXACT.get(path.lower())
    if codecs is not None:
        if method in codecs:
            return codecs[method], {}
        raise _not_allowed(codecs)
    return _match_pattern(method, path)


def family_of(path: str) -> str:
    """Whose shape a refusal takes on a path, or a raw target, that may not even be listed: `openai` | `anthropic` | `gemini`."""
    low = re.sub("/+", "/", path.partition("?")[0].lower())
    if low == "/v1/messages" or low.startswith("/v1/messages/"):
        return "anthropic"
    return "gemini" if _GEMINI.fullmatch(low) else "openai"


def refuse(family: str, refusal: Refusal, request_id: str) -> Answer:
    """A no in a family's shape, for calls that have no codec (unknown path, framing, capacity). Carries `x-request-id` and `x-sidecar-decision`."""
    return REFUSALS[family](refusal, request_id)


def _not_allowed(methods: Iterable[str]) -> MethodNotAllowed:
    allow = tuple(sorted(set(methods)))
    return MethodNotAllowed("this path takes " + " or ".join(allow), allow)


def _match_pattern(method: str, path: str) -> tuple[Codec, dict[str, str]]:
    others: list[str] = []
    for pattern, endpoint in _PATTERNS:
        found = pattern.fullmatch(path)
        if found is not None:
            if method in endpoint.methods:
                return endpoint.codec, {name: value for name, value in found.groupdict().items() if value is not None}
            others += endpoint.methods
    if others:
        raise _not_allowed(others)
    raise UnknownPath("there is no such endpoint")
