"""Who speaks. A `Principal` is made by `credentials/` from a verified credential and by nothing else.

Its counterpart is `Presented`: what the caller handed over, not yet believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from sidecar.value import value

if TYPE_CHECKING:
    from collections.abc import Mapping


class Nothing(dict[str, Any]):
    """The mapping that holds nothing and can't be changed, so that it can be a default of frozen values."""

    __slots__ = ()
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __setitem__(self, key: str, value: object) -> NoReturn:
        raise TypeError("frozen")


EMPTY: Mapping[str, Any] = Nothing()


@value
class Presented:
    """One credential as it came: `form` is `bearer` (any header or query key) or `certificate` (DER of the TLS peer)."""

    form: str
    value: str | bytes = field(repr=False)


@value
class Source:
    """Where the call came from. `ip` is the peer's, or the forwarded one where `trust.proxies` admits it."""

    ip: str = ""
    loopback: bool = False
    namespace: str = ""
    pod: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Principal:
    """A verified caller. Compared by identity: credentials/ keeps one object per live credential.

    `id` is one of DOCUMENTS.md's subjects (`key:ci-bot`, `user:u1`, `spiffe:…`, `anonymous`). `subjects` holds every
    subject string it answers to (id, `group:…`, `team:…`) and is what indexes match on. `claims` are the declared ones,
    typed, never absent. `actors` is the delegation chain (RFC 8693 `act`), nearest first.
    """

    id: str
    kind: str
    team: str = ""
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    claims: Mapping[str, object] = EMPTY
    actors: tuple[str, ...] = ()
    subjects: frozenset[str] = frozenset()
    expires: float | None = None

    @classmethod
    def of(
        cls,
        id: str,
        kind: str = "",
        *,
        team: str = "",
        groups: tuple[str, ...] = (),
        claims: Mapping[str, object] = EMPTY,
        actors: tuple[str, ...] = (),
        expires: float | None = None,
    ) -> Principal:
        """Build one, filling `subjects` from the parts. `expires` is a Unix time after which it must be verified anew."""
        named = {id, *(f"group:{g}" for g in groups)}
        if team:
            named.add(f"team:{team}")
        return cls(
            id=id,
            kind=kind or id.partition(":")[0],
            team=team,
            groups=groups,
            claims=claims,
            actors=actors,
            subjects=frozenset(named),
            expires=expires,
        )
