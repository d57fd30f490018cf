"""Changes of who asks and from where: a group more or fewer, a team, a claim, another caller. What an administrator would have to do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sidecar.workbench import fixtures
from sidecar.workbench.explain.asked import from_source, source_of
from sidecar.workbench.explain.change import Change, distance, instead, renamed, same, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.patterns import Pattern
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.explain.asked import Asked
    from sidecar.workbench.explain.relevance import Near


def subjects(asked: Asked, near: Near) -> Iterator[Change]:
    """Groups, teams and callers that matches name; groups that the caller is in, taken away."""
    made = [(weight, _subject(asked, pattern)) for weight, match in near.matchers for pattern in match.subjects]
    made += [(1, group(asked, name, leave=True)) for name in asked.who.groups]
    yield from (replace(change, near=weight) for weight, change in made if change is not None)


def _subject(asked: Asked, pattern: Pattern) -> Change | None:
    """What one pattern of subjects admits; of a glob one that it admits."""
    name = pattern.text.replace("**", "*").replace("*", "any")
    kind, _, rest = name.partition(":")
    made = group(asked, rest) if kind == "group" else team(asked, rest) if kind == "team" else caller(asked, name)
    return made if made is None or pattern.exact else replace(made, text=f"{made.text} (or any that is `{pattern.text}`)")


def group(asked: Asked, name: str, *, leave: bool = False) -> Change | None:
    """In one more group, or one fewer."""
    if not name or (name in asked.who.groups) is not leave:
        return None

    def apply(other: Asked) -> Asked:
        kept = tuple(each for each in other.who.groups if each != name)
        return spoken(other, groups=kept if leave else (*kept, name))

    return Change("group", f"group:{name}", leave, not leave, f"{'not in' if leave else 'in'} group `{name}`", apply, far=float(leave))


def team(asked: Asked, name: str) -> Change | None:
    """Of another team, or of none."""
    was = asked.who.team
    text = renamed("of team", was, name) if name else "of no team"
    return None if was == name else Change("team", "team", was, name, text, lambda other: spoken(other, team=name))


def caller(asked: Asked, name: str) -> Change | None:
    """Somebody else."""
    was = asked.who.id
    return None if not name or was == name else Change("caller", "id", was, name, renamed("as", was, name), lambda other: spoken(other, id=name))


def claim(snapshot: Snapshot, asked: Asked, name: str, to: Any) -> Change | None:
    """Another value of a declared claim."""
    declared = snapshot.identity.claims if snapshot.identity is not None else {}
    if name not in declared:
        return None
    was = asked.who.claims.get(name, fixtures.natural(declared[name]))
    if type(was) is not type(to) or same(was, to):
        return None

    def apply(other: Asked) -> Asked:
        return spoken(other, claims={**other.who.claims, name: to})

    return Change("claim", f"claims.{name}", was, to, instead(f"claim {name}", was, to), apply, far=distance(was, to))


def source(asked: Asked, name: str, to: Any) -> Change | None:
    """From somewhere else."""
    was = source_of(asked.what).get(name, False if name == "loopback" else "")
    if name not in {"ip", "loopback", "namespace", "pod"} or type(was) is not type(to) or same(was, to):
        return None

    def apply(other: Asked) -> Asked:
        return replace(other, what=from_source(other.what, {**source_of(other.what), name: to}))

    return Change("source", f"source.{name}", was, to, instead(f"source {name}", was, to), apply)
