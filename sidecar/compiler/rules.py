"""What documents become: rules, exemptions and quotas, frozen, each with its `Matcher` and its checked conditions.

A role grant is a `Rule` like any other. The reasons that a decision records are made here, at load, one per possible
result, so that recording a rule costs nothing on the way of a call. Knows nothing of how rules combine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.decision import NONE, Obligations, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.index import Matcher
    from sidecar.expr import Program

FLAT = frozenset({"requests", "concurrency"})
"""Metrics of which a call takes exactly one."""
LATE = frozenset({"reply.finish", "reply.tokens", "reply.tool_calls"})
"""What of a reply is known at its end only."""


@dataclass(frozen=True, slots=True, eq=False)
class Variables:
    """The variables of one document; none reads itself, however far round."""

    programs: Mapping[str, Program]


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Programs joined by AND; a false one decides whatever the others do. `reads` holds what variables read too."""

    programs: tuple[Program, ...]
    reads: frozenset[str]
    variables: Variables | None = None
    only: Program | None = field(init=False)
    """The one program of a condition that needs nothing else: nearly all of them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", self.programs[0] if len(self.programs) == 1 and self.variables is None else None)

    @property
    def roots(self) -> frozenset[str]:
        """The bindings it needs: `call`, `principal` and so on."""
        return frozenset(path.partition(".")[0] for path in self.reads)

    @property
    def per_model(self) -> bool:
        """Whether two models of one call may get different results."""
        return touches(self.reads, "call.model")


def touches(reads: frozenset[str], path: str) -> bool:
    """Whether any read is of `path`, of a part of it, or of something that holds it."""
    return any(read == path or read.startswith(path + ".") or path.startswith(read + ".") for read in reads)


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One rule of a Policy, or the grants of one role to one binding.

    `name` is `document/rule`, `effect` deny | allow | require | warn, `where` `file:line`. `condition` None is true.
    `order` makes every list of rules the same whatever the order of documents.
    """

    name: str
    kind: str
    effect: str
    match: Matcher
    condition: Condition | None
    layer: str
    where: str
    order: tuple[str, ...]
    audit: bool = False
    phase: str = "request"
    obligations: Obligations = NONE
    message: str = ""
    help: str = ""
    buffer: bool = False
    pointer: str = ""
    """Where it stands in its document."""
    reasons: Mapping[str, Reason] = field(init=False)

    def __post_init__(self) -> None:
        results = ("true", "false", "error", "unread", "unknown")
        object.__setattr__(self, "reasons", {result: self._reason(result) for result in results})

    def _reason(self, result: str) -> Reason:
        return Reason(self.name, self.kind, self.effect, result, self.where, self.message, self.help, layer=self.layer)

    @property
    def demands(self) -> bool:
        """Whether it owes more than a label or a warning."""
        owed = self.obligations
        return bool(owed.route or owed.cap or owed.set or owed.redact)

    @property
    def late(self) -> bool:
        """Whether it reads what only the end of a reply tells."""
        return self.condition is not None and any(touches(self.condition.reads, path) for path in LATE)


@dataclass(frozen=True, slots=True, eq=False)
class Exemption:
    """An Exception document: lifts the named deny rules of its own layer until `expires` (Unix seconds)."""

    name: str
    lifts: frozenset[str]
    match: Matcher
    condition: Condition | None
    expires: float
    layer: str
    where: str
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LimitRule:
    """One limit. `counter` names it within all documents; the key's values are added per call. `window` as in `Reservation`."""

    counter: str
    metric: str
    max: float
    window: float | str
    warn_at: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class QuotaRule:
    """An enforced Quota document. `keys` are the parts of the counter's key; `name` is the document's."""

    name: str
    match: Matcher
    condition: Condition | None
    keys: tuple[Condition, ...]
    limits: tuple[LimitRule, ...]
    fail_open: bool
    layer: str
    where: str
    order: tuple[str, ...]
    per_model: bool = field(init=False)
    """Whether two models of one call may be counted under different keys."""
    personal: bool = field(init=False)
    """Whether the key depends on the caller alone."""
    metered: bool = field(init=False)
    """Whether an amount depends on tokens or prices."""
    identity: str = field(init=False)
    """The name with a digest of what is counted, by which key, up to which bound: another one asks the store another question."""
    reasons: Mapping[str, Reason] = field(init=False)

    def __post_init__(self) -> None:
        results = ("true", "false", "error", "unread", "unavailable", "exhausted", "skipped", "warned")
        object.__setattr__(self, "per_model", any(key.per_model for key in self.keys))
        object.__setattr__(self, "personal", all(key.roots <= {"principal"} for key in self.keys))
        object.__setattr__(self, "metered", any(limit.metric not in FLAT for limit in self.limits))
        object.__setattr__(self, "identity", f"{self.name}#{self._digest()}")
        object.__setattr__(self, "reasons", {r: Reason(self.name, "Quota", "quota", r, self.where, layer=self.layer) for r in results})

    def _digest(self) -> str:
        keys = [program.source for key in self.keys for program in key.programs]
        limits = [(limit.counter, limit.metric, limit.max, limit.window) for limit in self.limits]
        return hashlib.sha256(repr((keys, limits)).encode()).hexdigest()[:12]
