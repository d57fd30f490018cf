"""The snapshot: all that was compiled, frozen and hashed. One call pins one snapshot from its first to its last byte.

It answers two questions, both remembered: which members may serve this name (`resolve`), and which rules may speak
about this call (`candidates`). Its memories are bounded and change no answer. Counterpart: `evaluate/`, which reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sidecar.compiler.candidates import Candidates, Layer, gather
from sidecar.compiler.dimensions import DIMENSIONS, RECORDED, facts
from sidecar.compiler.index import NOTHING
from sidecar.compiler.memo import Memo
from sidecar.compiler.routes import Path, Table, with_members

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from sidecar.call import Call, Member
    from sidecar.compiler.rules import QuotaRule
    from sidecar.config.document import Document
    from sidecar.config.documents import Identity, Route, Settings, Upstream
    from sidecar.need import Reservation
    from sidecar.principal import Principal

CandidateKey = tuple[str, bool, str, str, str, tuple[tuple[str, str], ...], "Principal", "Hashable"]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """`digest` is SHA-256 in hex. `identity` is None where no document says how callers are known: then nobody is."""

    digest: str
    settings: Settings
    identity: Identity | None
    table: Table
    layers: tuple[Layer, ...]
    documents: tuple[Document, ...] = ()
    """All of them, layer by layer: for the admin API."""
    servers: frozenset[str] = frozenset()
    """Names of MCP upstreams; none in this release."""
    _members: Memo[tuple[str, str], tuple[Member, ...]] = field(default_factory=Memo, repr=False)
    _candidates: Memo[CandidateKey, Candidates] = field(default_factory=Memo, repr=False)
    people: Memo[Principal, Mapping[str, object]] = field(default_factory=Memo, repr=False)
    """For `evaluate/bindings.py`."""
    counters: Memo[tuple[QuotaRule, Principal], tuple[Reservation | None, ...]] = field(default_factory=Memo, repr=False)
    """For `evaluate/quotas.py`: one per limit, where the key depends on the caller alone."""
    leaves: Memo[Hashable, tuple[str, ...]] = field(default_factory=Memo, repr=False)
    """For `evaluate/inputs.py`."""
    known: frozenset[str] | None = None
    """The fields that guards may ask for, where not all of them are known: of calls on record."""
    _dimensions: frozenset[str] = field(init=False, repr=False)
    _unnamed: tuple[str, ...] = field(init=False, repr=False)
    """Those of them that the other parts of a key do not tell."""

    def __post_init__(self) -> None:
        dimensions = frozenset().union(*(layer.dimensions for layer in self.layers))
        if self.known is not None:
            dimensions &= self.known
        object.__setattr__(self, "_dimensions", dimensions)
        object.__setattr__(self, "_unnamed", tuple(sorted(name for name in dimensions if not DIMENSIONS[name].named)))

    def on_record(self) -> Snapshot:
        """The same for calls of which only a record is left: a guard on what it does not tell leaves no rule out."""
        return replace(self, known=RECORDED, _candidates=Memo(), leaves=Memo())

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        """Upstream documents by name."""
        return self.table.upstreams

    @property
    def routes(self) -> Mapping[str, Route]:
        """Route documents by name."""
        return {path.name: path.spec for path in self.table.paths}

    @property
    def tests(self) -> tuple[Document, ...]:
        """The Test documents of all layers."""
        return tuple(document for document in self.documents if document.kind == "Test")

    @property
    def rule_names(self) -> tuple[str, ...]:
        """Every rule, role grant and quota that a decision may name, for bounded labels."""
        rules = {rule.name for layer in self.layers for index in (layer.request, layer.response) for rule in index.rules}
        return tuple(sorted(rules | {quota.name for layer in self.layers for quota in layer.quotas.rules}))

    @property
    def told(self) -> bool:
        """Whether a refusal names its rule (`denials: {disclose: rule}`)."""
        return self.settings.denials.disclose == "rule"

    @property
    def judges_replies(self) -> bool:
        """Whether any layer has response rules."""
        return any(layer.response.rules for layer in self.layers)

    def resolve(self, call: Call, family: str) -> Call:
        """The call with its members: the closed set a route may choose from. `family` is the dialect of upstreams. Unknown names have none.

        Nor has a list of models: a rule about one of them is no rule about the list, which leaves that one out.
        """
        if call.operation == "models" and not call.target:
            return call
        members = self.members(family, call.target)
        return call if call.members is members or call.members == members else with_members(call, members)

    def members(self, family: str, asked: str) -> tuple[Member, ...]:
        """The members of a case-folded name, always as the same tuple while it is remembered."""
        key = (family, asked)
        found = self._members.get(key)
        return found if found is not None else self._members.keep(key, lambda: self.table.members(family, asked))

    def route(self, family: str, asked: str) -> Path | None:
        """The Route that a name takes, or None."""
        return self.table.path(family, asked)

    def names(self, family: str) -> tuple[str, ...]:
        """Names that can be listed, whoever asks."""
        return self.table.names(family)

    def output_bound(self, member: Member) -> int:
        """The largest output of a member in tokens; 0 where it is not known."""
        return self.table.output_bound(member)

    def candidates(self, call: Call, principal: Principal, phase: str = "request", *, listing: bool = False) -> Candidates:
        """The rules that may speak about a resolved call of this caller. `phase` is request or response.

        One whose condition is false by a guard is not among them. `listing`: the call stands for all calls of its operation and target.
        """
        pairs = tuple([(member.upstream, member.model) for member in call.members])
        more = tuple([DIMENSIONS[name].values(call, principal) for name in self._unnamed]) if self._unnamed else None
        key = (phase, listing, call.protocol, call.operation, call.target, pairs, principal, more)
        found = self._candidates.get(key)
        return found if found is not None else self._candidates.keep(key, lambda: self._gather(call, principal, phase, listing=listing))

    def _gather(self, call: Call, principal: Principal, phase: str, *, listing: bool) -> Candidates:
        return gather(self.layers, call, principal.subjects, phase, facts(self._dimensions, call, principal, listing=listing))

    def matched(self, call: Call, principal: Principal, phase: str = "request") -> Candidates:
        """The same with the rules that a guard leaves out: for explanations. Not remembered."""
        return gather(self.layers, call, principal.subjects, phase, NOTHING)
