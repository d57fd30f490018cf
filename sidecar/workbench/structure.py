"""Two configurations compared as documents: which rules and documents came, went or changed, and where they stand.

Order and formatting say nothing, as in the snapshot's digest. Counterpart: `traffic.py`, which tells what changes in practice.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.compiler import digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.document import Document

SHARED = ("mode", "match", "when", "variables")
"""What a Policy says for all its rules."""


class Piece(NamedTuple):
    """A rule, or a document of another kind. `where` is `file:line`; `parts` are its fields, in a form that is equal for equal meaning."""

    where: str
    parts: dict[str, str]


class Difference(NamedTuple):
    """`kind`: added | removed | changed. `name` is `Policy base/cool`, `Quota team`; `fields` are those that changed."""

    kind: str
    name: str
    old: str
    new: str
    fields: tuple[str, ...] = ()


def differences(old: Snapshot, new: Snapshot) -> tuple[Difference, ...]:
    """All that is different, by name. Layers are compared by their place."""
    before, after = dict(_pieces(old)), dict(_pieces(new))
    return tuple(_differences(before, after))


def _differences(before: dict[tuple[int, str], Piece], after: dict[tuple[int, str], Piece]) -> Iterator[Difference]:
    for key in sorted({*before, *after}):
        one, other = before.get(key), after.get(key)
        name = key[1] if not key[0] else f"{key[1]} (layer {key[0] + 1})"
        if one is None and other is not None:
            yield Difference("added", name, "", other.where)
        elif other is None and one is not None:
            yield Difference("removed", name, one.where, "")
        elif one is not None and other is not None and one.parts != other.parts:
            changed = tuple(part for part in sorted({*one.parts, *other.parts}) if one.parts.get(part) != other.parts.get(part))
            yield Difference("changed", name, one.where, other.where, changed)


def _pieces(snapshot: Snapshot) -> Iterator[tuple[tuple[int, str], Piece]]:
    layers: dict[str, int] = {}
    for document in snapshot.documents:
        index = layers.setdefault(document.layer, len(layers))
        for name, piece in _of(document):
            yield (index, f"{document.kind} {name}"), piece


def _of(document: Document) -> Iterator[tuple[str, Piece]]:
    spec = document.spec
    if document.kind != "Policy":
        yield document.name, Piece(f"{document.file}:{document.line}", {"labels": _text(dict(document.labels)), **_parts(spec)})
        return
    shared = {name: _text(getattr(spec, name)) for name in SHARED}
    for index, rule in enumerate(spec.rules):
        place = document.at(f"/spec/rules/{index}")
        own = _parts(rule)
        yield f"{document.name}/{rule.name}", Piece(f"{place.file}:{place.line}", {**own, **{f"policy.{name}": told for name, told in shared.items()}})


def _parts(spec: Any) -> dict[str, str]:
    if not is_dataclass(spec):
        return {"spec": _text(spec)}
    return {field.name: _text(getattr(spec, field.name), ordered=field.name in digest.ORDERED) for field in fields(spec)}


def _text(value: Any, *, ordered: bool = False) -> str:
    return digest.canonical(value, ordered=ordered)


def text(found: Sequence[Difference]) -> list[str]:
    """As lines."""
    lines = []
    for each in found:
        place = each.new if each.old in {"", each.new} else each.old if not each.new else f"{each.old} -> {each.new}"
        lines.append(f"{each.kind:<8} {each.name}  {place}" + (f"  ({', '.join(each.fields)})" if each.fields else ""))
    return lines or ["the same documents"]
