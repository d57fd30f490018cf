"""All of a configuration as coverage and lints see it: documents, compiled rules and where each stands, routes, settings.

`lost` names the kinds of which a document did not load (`*`: nobody knows which): what is missing may be there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sidecar.compiler.candidates import member_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.call import Member
    from sidecar.compiler.index import Matcher
    from sidecar.compiler.routes import Table
    from sidecar.compiler.rules import Condition, Exemption, QuotaRule, Rule
    from sidecar.config.document import Document, LayerSource
    from sidecar.config.documents import Identity, Settings


class Held(NamedTuple):
    """A compiled rule, its document, and its place there as a JSON pointer."""

    document: Document
    pointer: str
    rule: Rule


class Counted(NamedTuple):
    """A compiled quota and its document."""

    document: Document
    quota: QuotaRule


class Lifting(NamedTuple):
    """A compiled exception and its document."""

    document: Document
    exemption: Exemption


@dataclass(frozen=True)
class Whole:
    """All of it. `rules` are those that can match at all: what is never true was dropped, and told."""

    layers: tuple[LayerSource, ...]
    settings: Settings
    identity: Identity | None
    table: Table
    rules: tuple[Held, ...] = ()
    quotas: tuple[Counted, ...] = ()
    exemptions: tuple[Lifting, ...] = ()
    lost: frozenset[str] = field(default_factory=frozenset)

    def of(self, kind: str) -> Iterator[Document]:
        """All documents of a kind."""
        return (document for layer in self.layers for document in layer.documents if document.kind == kind)

    @cached_property
    def asked(self) -> Mapping[str, tuple[Member, ...]]:
        """Every name that can be asked exactly, case-folded, with the members that may serve it, over all dialects."""
        families = dict.fromkeys(each.spec.dialect for each in self.table.served.values())
        found: dict[str, tuple[Member, ...]] = {}
        for family in families:
            for name in self.table.names(family):
                members = self.table.members(family, name.casefold())
                if members:
                    found[name.casefold()] = (*found.get(name.casefold(), ()), *members)
        return found

    @cached_property
    def names(self) -> Mapping[str, tuple[str, ...]]:
        """The same with all names that calls of it are matched under: the closed set."""
        return {asked: tuple(dict.fromkeys((asked, *(name for member in members for name in member_names(member))))) for asked, members in self.asked.items()}

    @cached_property
    def open(self) -> bool:
        """Whether an upstream serves names that no document spells out."""
        return any(each.globs for each in self.table.served.values())

    def dialects(self, match: Matcher) -> frozenset[str]:
        """The dialects of upstreams that surely serve something that is matched."""
        return frozenset(
            each.spec.dialect for each in self.table.served.values() if not match.targets or any(map(match.covers, _served(each.name, each.exact)))
        )


def _served(upstream: str, known: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    return ((name, f"{upstream.casefold()}/{name}") for name in known)


def touched(condition: Condition | None, path: str) -> bool:
    """Whether a condition reads `path`, or a part of it: not something that merely holds it."""
    return condition is not None and any(read == path or read.startswith(path + ".") for read in condition.reads)
