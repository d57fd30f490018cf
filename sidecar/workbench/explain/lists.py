"""Which names a list of models shows this caller and for what, and what hides the others. Counterpart: `evaluate/listing.py`, which decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.call import Call
from sidecar.evaluate import listing
from sidecar.workbench.explain.scene import listed

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.explain.scene import Scene


def names(snapshot: Snapshot, scene: Scene) -> list[dict[str, Any]]:
    """Every name of this dialect, in the order of the list."""
    shown = set(listing.models(snapshot, scene.person, scene.codec.family, scene.now))
    return [_name(snapshot, scene, name, shown=name in shown) for name in snapshot.names(scene.codec.family)]


def _name(snapshot: Snapshot, scene: Scene, name: str, *, shown: bool) -> dict[str, Any]:
    family, person, now = scene.codec.family, scene.person, scene.now
    uses = [use for use in listing.USES if listing.perhaps(snapshot, person, name, family=family, operation=use, now=now)]
    told = {"name": name, "shown": shown, "for": uses}
    return told if uses else told | {"why": _hidden(snapshot, scene, name)}


def _hidden(snapshot: Snapshot, scene: Scene, name: str) -> str:
    """Why not even a chat may be allowed."""
    asked = Call(id="", protocol="llm", operation=listing.USES[0], dialect="", target=name.casefold())
    one = listed(snapshot, snapshot.resolve(asked, scene.codec.family), scene.person, scene.codec, scene.now)
    if one.verdict.denied and not one.early:
        return f"denied by {one.verdict.denied[0].rule}"
    return "no rule could allow it" if one.early or not one.verdict.survivors else "no upstream has the labels that are demanded"
