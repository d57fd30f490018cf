"""The snapshot: all that was compiled, frozen and hashed. One call pins one snapshot from its first to its last byte.

It answers two questions, both remembered: which members may serve this name (`resolve`), and which rules may speak
about this call (`candidates`). Its memories are bounded and change no answer. Counterpart: `evaluate/`, which reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.compiler.candidates import Candidates, Layer, gather
from sidecar.compiler.memo import Memo
from sidecar.compiler.routes import Path, Table, with_members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.call import Call, Member
    from sidecar.compiler.rules import QuotaRule
    from sidecar.config.document import Document
    from sidecar.config.documents import Identity, Route, Settings, Upstream
    from sidecar.need import Reservation
    from sidecar.principal import Principal

CandidateKey = tuple[str, str, str, str, tuple[tuple[str, str], ...], frozenset[str]]


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
    leaves: Memo[Candidates, tuple[str, ...]] = field(default_factory=Memo, repr=False)
    """For `evaluate/inputs.py`."""

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

    def candidates(self, call: Call, subjects: frozenset[str], phase: str = "request") -> Candidates:
        """The rules that may speak about a resolved call of a caller with these subjects. `phase` is request or response."""
        pairs = tuple([(member.upstream, member.model) for member in call.members])
        key = (phase, call.protocol, call.operation, call.target, pairs, subjects)
        found = self._candidates.get(key)
        return found if found is not None else self._candidates.keep(key, lambda: gather(self.layers, call, subjects, phase))
