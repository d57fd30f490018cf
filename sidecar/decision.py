"""What came out: a `Decision` with its reasons, and the `Permit` or the `Refusal` that follows from it.

Only `evaluate/` makes a `Permit` (a house test greps for it), only a `Permit` can be sent. It is used once, ends by
itself, and holds the exact bytes for each member that survived.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.errors import PermitError
from sidecar.principal import EMPTY, Principal
from sidecar.value import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.call import Call, Member, Outgoing
    from sidecar.need import Level
    from sidecar.segment import Edit


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule's part in a decision. `result` is the condition's: true | false | error | unread.

    `rule` is `document/rule` (`mcp-files/only-srv`; a grant: `eng/developer`), `kind` the document's kind, `where` is
    `file:line`. `effect` is the rule's own; `lifted` names the Exception that took it out.
    """

    rule: str
    kind: str
    effect: str
    result: str
    where: str
    message: str = ""
    help: str = ""
    lifted: str = ""
    layer: str = ""


@dataclass(frozen=True, slots=True)
class Obligations:
    """What must be done for the yes to hold; the sum over every matching `require` and `allow`."""

    route: tuple[tuple[str, str], ...] = ()
    cap: tuple[tuple[str, float], ...] = ()
    set: tuple[tuple[str, object], ...] = ()
    redact: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    warn: tuple[str, ...] = ()
    allow_unscanned: tuple[str, ...] = ()


NONE = Obligations()


@value
class Refusal:
    """A no, without a dialect: `server/refuse.py` hands it to the codec that shapes it (WIRE.md «How to say no»).

    `kind`: unauthenticated | policy | hidden | guardrail | quota | budget | unavailable | approval | capacity | upstream |
    malformed | not_found | too_large | media_type | method | timeout. `status` is the HTTP status, `code` the stable slug.
    `retry_after` seconds, where waiting helps; `retry` False sends `x-should-retry: false`.
    """

    kind: str
    status: int
    code: str
    message: str
    rule: str = ""
    help: str = ""
    retry_after: float | None = None
    retry: bool = False
    decision: str = ""
    levels: tuple[Level, ...] = ()
    """Of a quota: what ran out first, then the others."""
    now: float | None = None
    """Unix seconds at which `levels` stood so, for headers that tell a date."""


class Permit:
    """The proof that a call was decided. `payloads` maps a model name to the exact bytes; `redeem` hands them out once."""

    __slots__ = ("_digests", "_payloads", "_used", "call", "decision", "expires", "members", "principal")

    def __init__(
        self,
        call: Call,
        principal: Principal,
        decision: str,
        members: tuple[Member, ...],
        payloads: Mapping[str, Outgoing],
        *,
        expires: float,
    ) -> None:
        self.call = call
        self.principal = principal
        self.decision = decision
        self.members = members
        self.expires = expires
        self._payloads = payloads
        self._digests = {model: data.digest() for model, data in payloads.items()}
        self._used = False

    def redeem(self, now: float) -> None:
        """Use it up. Raises PermitError the second time, or after `expires`."""
        if self._used or now > self.expires:
            raise PermitError("this permit was used or has ended")
        self._used = True

    def payload(self, member: Member) -> Outgoing:
        """The very bytes that were decided for this member: frozen, so they need no second digest. Raises PermitError before `redeem` or for a stranger."""
        if not self._used or member not in self.members:
            raise PermitError("this permit does not hold that member")
        return self._payloads[member.model]

    def digest(self, member: Member) -> bytes:
        """SHA-256 of what was decided for this member. Raises KeyError for a stranger."""
        return self._digests[member.model]


@value
class Decision:
    """The whole answer. `effect`: allow | deny. `would` is what `mode: audit` documents would have done."""

    id: str
    call: Call
    principal: Principal | None
    effect: str
    reasons: tuple[Reason, ...] = ()
    """The determining rules first, then every other candidate that was read."""
    by: tuple[str, ...] = ()
    """Names of the determining rules."""
    would: tuple[Reason, ...] = ()
    obligations: Obligations = NONE
    edits: tuple[Edit, ...] = ()
    refusal: Refusal | None = None
    permit: Permit | None = None
    reservation: str = ""
    """The token to settle, or ""."""
    levels: tuple[Level, ...] = ()
    facts: Mapping[str, object] = field(default=EMPTY)
    """What the rim answered, by need; without content."""
    audited: bool = False
    """True where Settings `mode: audit` turned a refusal into a would-be one."""
    now: float = 0.0
    timings: tuple[tuple[str, int], ...] = ()
    """(stage, nanoseconds)."""
