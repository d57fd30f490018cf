"""One decision as a tree for people and machines, and the smallest change that would be allowed. For `sidecar explain` and the admin API.

`read` takes the question, `explain` decides and tells it; `smallest` searches; `again` takes the question from a record. The decision is the evaluator's own (`cases.decide`);
what is added beside it is read from the same snapshot: `scene` asks the lattice again, `rules` tells its candidates, `traced` the
values of conditions, `effects` what follows. Asks no store: quotas are answered by the question, or assumed to be granted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.compiler.candidates import HOUSEKEEPING, names_of
from sidecar.compiler.memo import Memo
from sidecar.errors import CallError
from sidecar.evaluate import why
from sidecar.workbench.explain import effects, lists
from sidecar.workbench.explain.again import Again
from sidecar.workbench.explain.asked import Asked, read
from sidecar.workbench.explain.rules import Teller
from sidecar.workbench.explain.scene import Scene, scenes
from sidecar.workbench.explain.smallest import BOUND, allowed, smallest
from sidecar.workbench.explain.traced import Tracer
from sidecar.workbench.recorded import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.need import Reserve
    from sidecar.telemetry.record import Record
    from sidecar.telemetry.sealing import Opener

__all__ = ["BOUND", "Asked", "Explanation", "explain", "explained", "explained_record", "read", "smallest"]


class Explanation(NamedTuple):
    """The tree as plain JSON values, and what a store could be asked for its levels (`effects.levels`)."""

    tree: dict[str, Any]
    need: Reserve | None


def explain(snapshot: Snapshot, data: Mapping[str, Any], now: float, *, bound: int = BOUND) -> dict[str, Any]:
    """The tree for a question in JSON. `now` (Unix seconds) holds unless the JSON names a time. Raises ValueError."""
    return explained(snapshot, read(data, now), bound=bound).tree


def explained(snapshot: Snapshot, asked: Asked, *, bound: int = BOUND) -> Explanation:
    """Decide, tell, and search for what would be allowed with `bound` decisions at most. Raises ValueError for what is no call."""
    snapshot = apart(snapshot)
    try:
        decision = asked.decide(snapshot)
        told = tree_of(snapshot, list(scenes(snapshot, asked)), decision, answers=asked.answers)
    except CallError as error:
        raise ValueError(error.message) from error
    if not allowed(decision):
        told.tree["smallest"] = smallest(snapshot, asked, bound=bound)
    return told


def explained_record(snapshot: Snapshot, record: Record, *, opener: Opener | None = None, bound: int = BOUND) -> Explanation:
    """A recorded decision, decided again under this snapshot, beside what came out then. Raises BadRecord."""
    snapshot = apart(snapshot)
    again = Again(snapshot, Reader(opener).read(record))
    decision = again.decision()
    told = tree_of(snapshot, list(again.scenes()), decision, answers=again.quotas(), unknown="not kept")
    told.tree["recorded"] = again.then(record)
    told.tree["undecided"] = again.undecided()
    if not allowed(decision):
        told.tree["smallest"] = again.smallest(decision, bound)
    return told


def apart(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with memories of its own: thousands of questions that nobody asked must not push out what live calls use."""
    return replace(snapshot, _members=Memo(), _candidates=Memo(), people=Memo(), counters=Memo(), leaves=Memo())


def tree_of(snapshot: Snapshot, found: list[Scene], decision: Decision, *, answers: Mapping[str, str], unknown: str = "unknown") -> Explanation:
    """All that is told of a decision, but for what would be allowed. `answers`: what the store said of quotas."""
    tracer = Tracer(snapshot, unknown)
    first, last = found[0], _last(found, decision)
    total = effects.owed(first.verdict.owing).total if first.phase == "request" else decision.obligations
    quotas = effects.counted(snapshot, first, total, decision, answers=answers, tracer=tracer)
    tree = why.tree(snapshot, decision)
    tree["call"] |= _call(first)
    tree["subjects"] = sorted(first.person.subjects)
    tree["now"], tree["timed"] = first.now, any(map(_timed, found))
    tree["default"] = {"effect": snapshot.settings.default.effect, "toolCall": snapshot.settings.default.tool_call}
    tree["mode"] = snapshot.settings.mode
    tree["parts"] = [_part(snapshot, scene, tracer) for scene in found[: found.index(last) + 1]]
    tree["quotas"] = quotas.told
    tree["members"] = effects.members(first, decision, decision.obligations.route or total.route)
    tree["edits"] = effects.edited(decision.edits)
    if not decision.by and not allowed(decision) and (last.call.members or last.call.operation in HOUSEKEEPING):
        tree["nearest"] = Teller(snapshot, last, tracer).nearest()
    if first.call.operation == "models":
        tree["listing"] = lists.names(snapshot, first)
    return Explanation(tree, quotas.need)


def _last(found: list[Scene], decision: Decision) -> Scene:
    """The scene in which the decision fell: a request that is denied has no reply."""
    if decision.refusal is None:
        return found[-1]
    speaking = next((scene for scene in found if _speaks(scene, decision)), None)
    return speaking or next((scene for scene in found if scene.early or not (scene.verdict.survivors or scene.verdict.denied)), found[0])


def _speaks(scene: Scene, decision: Decision) -> bool:
    """Whether one of the determining rules denied in this scene."""
    return any(reason.rule in decision.by for reason in scene.verdict.denied)


def _timed(scene: Scene) -> bool:
    """Whether the time has a say: a condition reads it, or an exception may have ended."""
    return "now" in scene.candidates.roots or any(part.exemptions for part in scene.candidates.layers)


def _call(scene: Scene) -> dict[str, Any]:
    """The call as it was asked and matched, also where it is one of its tools or its reply that was denied."""
    call = scene.call
    told: dict[str, Any] = {
        "operation": call.operation,
        "target": call.target,
        "members": [member.name for member in call.members],
        "protocol": call.protocol,
        "dialect": call.dialect,
        "stream": call.stream,
        "tokens": call.tokens,
        "names": list(names_of(call)),
    }
    if call.tool is not None:
        told["tool"] = call.tool.target
    return told | ({"housekeeping": True} if call.operation in HOUSEKEEPING else {})


def _part(snapshot: Snapshot, scene: Scene, tracer: Tracer) -> dict[str, Any]:
    """One question to the lattice, and what every layer said."""
    told: dict[str, Any] = {"of": scene.title, "phase": scene.phase}
    if scene.early:
        told["early"] = scene.early
    told["layers"] = Teller(snapshot, scene, tracer).layers()
    if scene.verdict.owing and not scene.early:
        told["demands"] = effects.demanded(scene.verdict.owing)
    return told
