"""A recorded decision as a question: decided again from what was kept, told beside what came out then.

What was not kept is unknown and counts against the call, so a yes is a yes; where it could have come out otherwise, `undecided` names the
paths. Counterparts: `workbench/recorded.py`, which reads records, and `replay.py`, which decides many of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sidecar.config.documents import TestCall, TestPrincipal, TestReply, TestTool
from sidecar.errors import BadRecord
from sidecar.evaluate import inputs, ladder, reply
from sidecar.evaluate.lattice import LIVE
from sidecar.workbench.explain.asked import Asked, from_source, source_of
from sidecar.workbench.explain.scene import of_reply, of_request, of_tool, scenes
from sidecar.workbench.explain.smallest import smallest
from sidecar.workbench.fixtures import drive
from sidecar.workbench.replay import Decider, Rim, Stand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.principal import Principal
    from sidecar.telemetry.record import Record
    from sidecar.wire.base import Codec
    from sidecar.workbench.explain.scene import Scene
    from sidecar.workbench.recorded import Kept, Recorded


class Again:
    """One recorded decision under a snapshot. Raises BadRecord for one that was refused before any policy: nothing of it can be explained."""

    def __init__(self, snapshot: Snapshot, recorded: Recorded) -> None:
        if recorded.settled or recorded.principal is None:
            raise BadRecord("this call was refused before any policy was asked: nobody is known to have made it, or what it names is not theirs")
        self._snapshot = snapshot
        self._recorded = recorded
        self._person: Principal = recorded.principal
        names = {limit.counter: quota.identity for layer in snapshot.layers for quota in layer.quotas.rules for limit in quota.limits}
        self._rim = Rim(recorded, names, LIVE)
        self._codec = cast("Codec", Stand(recorded, LIVE, self._rim.causes))
        self._call = snapshot.resolve(recorded.call, recorded.family)

    def decision(self) -> Decision:
        """What comes out now, with all that was not kept counted against the call."""
        held, snapshot, person = self._recorded, self._snapshot, self._person
        if held.tool is not None:
            return reply.judge_tool(snapshot, self._call, person, held.tool, now=held.now, decision_id=held.id)
        if held.reply is not None:
            return reply.judge_reply(snapshot, self._call, person, held.reply, now=held.now, decision_id=held.id, complete=held.phase == "response")
        spared = held.facts.get("quota") == "spared"
        steps = ladder.decide(snapshot, held.call, (), codec=self._codec, now=held.now, decision_id=held.id, principal=person, reserve=not spared)
        return drive(steps, self._rim)

    def undecided(self) -> str:
        """What was not kept and could have changed the answer, or ""."""
        return Decider(self._snapshot).decide(self._recorded).undecided

    def scenes(self) -> Iterator[Scene]:
        """Every question that the decision put to the lattice."""
        held, snapshot, call, person = self._recorded, self._snapshot, self._call, self._person
        if held.tool is not None:
            yield of_tool(snapshot, call, self._codec, person, tool=held.tool, now=held.now)
        elif held.reply is not None:
            yield of_reply(snapshot, call, self._codec, person, told=held.reply, now=held.now, complete=held.phase == "response")
        else:
            yield from of_request(snapshot, call, self._codec, person, now=held.now)

    def quotas(self) -> Mapping[str, str]:
        """What the store said then, by quota."""
        facts = self._recorded.facts
        return {name.partition("#")[0]: f"{facts['quota']} then" for name in facts.get("quotas", ())}

    def then(self, record: Record) -> dict[str, Any]:
        """What the record says came out, and whether it was under these documents."""
        return {
            "effect": record.effect,
            "by": list(record.by),
            "audited": record.audited,
            "refusal": dict(record.refusal) if record.refusal is not None else None,
            "reasons": [dict(reason) for reason in record.reasons],
            "would": [dict(reason) for reason in record.would],
            "snapshot": record.snapshot,
            "same": record.snapshot == self._snapshot.digest,
        }

    # ------------------------------------------------------------ the smallest change

    def smallest(self, decision: Decision, bound: int) -> dict[str, Any]:
        """The search, where the record holds all that this decision could read; else why it was not made."""
        missing = self._missing(list(self.scenes()))
        asked = self.asked(decision) if not missing and not self._recorded.has_body else None
        if asked is None or not self._alike(asked, decision):
            return {
                "size": 0,
                "ways": [],
                "more": 0,
                "changes": 0,
                "decisions": 0,
                "bound": bound,
                "complete": False,
                "left": 0,
                "missing": missing or ["call.body"],
            }
        return smallest(self._snapshot, asked, bound=bound, sound=lambda other: self._sound(asked, other))

    def _missing(self, found: list[Scene], put: frozenset[str] = frozenset()) -> list[str]:
        """The paths that these questions could read and that are neither kept nor put by a change."""
        knows = self._recorded.kept.knows
        wanted = {path for scene in found for path in inputs.wanted(self._snapshot, scene.call, scene.person, scene.phase)}
        return sorted(path for path in wanted if path not in put and not knows(path))

    def _sound(self, asked: Asked, other: Asked) -> bool:
        """Whether the changed question's decision reads nothing but what was kept and what was changed."""
        held = (
            ("call.params", asked.what.params, other.what.params),
            ("call.args", asked.what.args or {}, other.what.args or {}),
            ("principal.claims", asked.who.claims, other.who.claims),
            ("source", source_of(asked.what), source_of(other.what)),
        )
        put = frozenset(f"{path}.{name}" for path, before, after in held for name in _put(before, after))
        return not self._missing(list(scenes(self._snapshot, other)), put)

    def _alike(self, asked: Asked, decision: Decision) -> bool:
        """Whether the question made of the record has the record's answer: else something of it was lost on the way."""
        other = asked.decide(self._snapshot)
        return (other.effect, other.by) == (decision.effect, decision.by)

    def asked(self, decision: Decision) -> Asked:
        """The record in the words of a Test document."""
        held, call, person = self._recorded, self._recorded.call, self._person
        values = held.kept.values
        proposal = held.tool is not None
        what = TestCall(
            operation=cast("Any", "tool_call" if proposal else call.operation),
            target=held.tool.target if held.tool is not None else call.target,
            model=call.target if proposal else "",
            args=_args(held.kept) if proposal else None,
            tool=TestTool(kind=held.tool.kind) if held.tool is not None and isinstance(held.tool.kind, str) else None,
            params=values.get("call.params") or _under(values, "call.params"),
            stream=call.stream,
            tokens=call.tokens,
            reply=TestReply(**held.reply._asdict()) if held.reply is not None else None,
        )
        who = TestPrincipal(id=person.id, team=person.team, groups=person.groups, claims=_under(values, "principal.claims"), actors=person.actors)
        rule = decision.refusal.rule if decision.refusal is not None else ""
        answer = held.facts.get("quota")
        quota = {rule: cast("str", answer)} if rule and answer in {"exhausted", "unavailable"} else {}
        return Asked(who, from_source(what, {"ip": call.source.ip, **_under(values, "source")}), held.now, quota)


def _args(kept: Kept) -> Mapping[str, Any] | None:
    """The arguments, or those that were kept; None where nothing is known of them."""
    if "call.args" in kept.values:
        return cast("Mapping[str, Any]", kept.values["call.args"])
    known = any(path.startswith("call.args.") for path in (*kept.values, *kept.absent))
    return _under(kept.values, "call.args") if known else None


def _put(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The names that have another value, whole: of a mapping not all may have been kept."""
    return (name for name, value in after.items() if not isinstance(value, dict) and before.get(name) != value)


def _under(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """What was kept below a path, as the mapping it was."""
    made: dict[str, Any] = {}
    for held, value in values.items():
        if held.startswith(path + "."):
            *above, name = held.removeprefix(path + ".").split(".")
            node = made
            for each in above:
                node = node.setdefault(each, {})
            node[name] = value
    return made
