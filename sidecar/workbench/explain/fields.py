"""Changes of what the caller sends: a parameter or an argument with another value, or without it; a prompt of another size.

A call that is told with a dialect's body is changed in that body, where its codec would put the parameter.
"""

from __future__ import annotations

import ipaddress
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sidecar.errors import CallError, CannotCarry
from sidecar.segment import Edit
from sidecar.wire import pointer
from sidecar.workbench import fixtures
from sidecar.workbench.explain.change import ABSENT, Change, called, distance, instead, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.explain.asked import Asked
    from sidecar.workbench.explain.constants import Hint


def field(snapshot: Snapshot, asked: Asked, held: str, names: Sequence[str], hint: Hint | None = None) -> Change | None:
    """A parameter (`held` is params) or an argument (args); without a hint it is taken out. None where nothing would change."""
    if held == "args" and asked.what.args is None:
        return None
    was = at(params(snapshot, asked) if held == "params" else asked.what.args, names)
    to = ABSENT if hint is None else hinted(hint, was)
    if same(was, to):
        return None
    kind, word = ("parameter", "") if held == "params" else ("argument", "argument ")
    path = ".".join(names)

    def apply(other: Asked) -> Asked | None:
        if held == "params" and other.what.dialect:
            return _in_dialect(snapshot, other, names, to)
        return called(other, **{held: _put(getattr(other.what, held) or {}, names, to)})

    return Change(kind, f"{held}.{path}", was, to, instead(f"{word}{path}", was, to), apply, far=distance(was, to, hint.off if hint is not None else 0))


def removed(snapshot: Snapshot, asked: Asked) -> Iterator[Change]:
    """Each parameter and each argument taken out."""
    for held, now in (("params", params(snapshot, asked)), ("args", asked.what.args or {})):
        for name in sorted(now):
            made = field(snapshot, asked, held, [name])
            if made is not None:
                yield replace(made, near=1)


def size(asked: Asked, to: Any) -> Change | None:
    """A prompt of so many tokens; those of a body are counted and not told."""
    was = asked.what.tokens
    if asked.what.dialect or type(to) is not int or to < 0 or to == was:
        return None
    return Change("size", "tokens", was, to, f"a prompt of {to} tokens instead of {was}", lambda other: called(other, tokens=to), far=distance(was, to))


def hinted(hint: Hint, was: Any) -> Any:
    """What to put: a path inside the folder, an address inside the network, a list with or without the element, or the value itself."""
    if hint.how == "within" and isinstance(hint.value, str):
        name = posixpath.basename(was.rstrip("/")) if isinstance(was, str) else ""
        return f"{hint.value.rstrip('/')}/{name or 'file'}"
    if hint.how == "range" and isinstance(hint.value, str):
        network = ipaddress.ip_network(hint.value, strict=False)
        return str(network[1] if network.num_addresses > 1 else network[0])
    if hint.how == "has":
        held = list(was) if isinstance(was, list | tuple) else []
        return [*held, hint.value] if hint.value not in held else [item for item in held if item != hint.value]
    return hint.value


def at(held: Any, names: Sequence[str]) -> Any:
    """The value at a path, or ABSENT."""
    for name in names:
        if not isinstance(held, dict) or name not in held:
            return ABSENT
        held = held[name]
    return held


def params(snapshot: Snapshot, asked: Asked) -> Mapping[str, Any]:
    """The parameters as conditions read them."""
    return dict(fixtures.call(snapshot, asked.what, "explain")[0].params) if asked.what.dialect else asked.what.params


def _put(held: Mapping[str, Any], names: Sequence[str], to: Any) -> dict[str, Any]:
    first, *rest = names
    made = dict(held)
    if rest:
        below = made.get(first)
        made[first] = _put(below if isinstance(below, dict) else {}, rest, to)
    elif to is ABSENT:
        made.pop(first, None)
    else:
        made[first] = to
    return made


def _in_dialect(snapshot: Snapshot, asked: Asked, names: Sequence[str], to: Any) -> Asked | None:
    """A parameter where its dialect has it. None where it has none."""
    if len(names) != 1:
        return None
    try:
        call, codec = fixtures.call(snapshot, asked.what, "explain")
        edits = codec.set(call, names[0], 0 if to is ABSENT else to)
        if to is ABSENT:
            edits = tuple(Edit(edit.pointer, op="remove") for edit in edits)
        return called(asked, body=pointer.apply(dict(asked.what.body or {}), edits))
    except (CallError, CannotCarry):
        return None
