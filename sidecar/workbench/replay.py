"""Decides recorded calls again under a snapshot, through the same ladder, and says where what was kept does not suffice.

Where a condition could read what was not kept, the ladder runs twice: once with every unknown result counted against the call, once for
it. What comes out both times comes out whatever the values were; all else is undecidable, with the paths that are missing.

What the rim said is on record too, and holds for the same question: a quota that was not asked then, or counts otherwise or more now, has
no answer. Counterparts: `recorded.py`, which reads the records, and `compare.py`, which tells what changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from sidecar import wire
from sidecar.call import Outgoing
from sidecar.compiler.candidates import HOUSEKEEPING
from sidecar.compiler.routes import with_members
from sidecar.decision import NONE
from sidecar.errors import CannotCarry
from sidecar.evaluate import combine, inputs, ladder, reply, tools
from sidecar.evaluate.lattice import LISTING, LIVE
from sidecar.evaluate.quotas import BOUNDS
from sidecar.need import Exhausted, Level, Owned, OwnerOf, Reserve, Reserved, Unavailable
from sidecar.workbench.compare import Outcome, outcome
from sidecar.workbench.fixtures import Plain, drive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sidecar.call import Call, Member
    from sidecar.compiler.rules import Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision
    from sidecar.evaluate.lattice import Counting
    from sidecar.need import Need, Reservation
    from sidecar.principal import Principal
    from sidecar.segment import Edit
    from sidecar.wire.base import Codec
    from sidecar.workbench.recorded import Recorded

T = TypeVar("T")
FLAT: Final = frozenset({"requests", "concurrency"})
CODECS: Final = {endpoint.codec.name: endpoint.codec for endpoint in reversed(wire.ENDPOINTS)}
STORED: Final = {endpoint.codec.name: endpoint.codec for endpoint in wire.ENDPOINTS if "GET" in endpoint.methods}
"""Codecs by dialect; of calls without a body those that have none."""
COUNTED: Final = frozenset({*BOUNDS, "n"})
"""Parameters whose value every record holds as a count."""
EMPTY_BODY: Final = Outgoing("POST", "", (), b"")
UNCARRIED: Final = "delegate"
"""The core that can't be held to some of the members."""


class Run(NamedTuple):
    """One descent. `causes` are questions to the rim or the codec that the record has no answer to."""

    decision: Decision
    outcome: Outcome
    causes: frozenset[str]


class Decider:
    """Decides recorded calls under one snapshot. Sans-IO."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot.on_record()
        rules = [rule for layer in snapshot.layers for index in (layer.request, layer.response) for rule in index.rules]
        self._rules: dict[tuple[str, str], list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault((rule.layer, rule.name), []).append(rule)
        self._quotas = {limit.counter: quota.identity for layer in snapshot.layers for quota in layer.quotas.rules for limit in quota.limits}

    def decide(self, recorded: Recorded) -> Outcome:
        """The answer now. What was refused before any policy stays as it was; `undecided` says what was not kept."""
        if recorded.settled or recorded.principal is None:
            return recorded.answer
        if recorded.cut:
            return Outcome(recorded.answer.effect, undecided="call.target")
        gaps = self._gaps(recorded, recorded.principal)
        run = self._run(recorded, recorded.principal, LIVE)
        if not gaps and not run.causes:
            return run.outcome
        other = self._run(recorded, recorded.principal, LISTING)
        if agree(run.outcome, other.outcome) and not self._doubtful(recorded, run, gaps):
            return run.outcome
        return Outcome(run.outcome.effect, undecided=self._missing(run, other, gaps))

    def hears(self, recorded: Recorded) -> str:
        """What of the reply to this call its response rules would read: `end`, `head`, or "" where they have nothing to say about it."""
        if recorded.principal is None or recorded.phase != "request" or not self.snapshot.judges_replies:
            return ""
        candidates = self.snapshot.candidates(self._resolved(recorded), recorded.principal, "response")
        rules = [rule for part in candidates.layers for rule in (*part.denies, *part.demands)]
        return "end" if any(rule.late for rule in rules) else "head" if rules else ""

    def _gaps(self, recorded: Recorded, principal: Principal) -> tuple[str, ...]:
        """The paths that the decision could read and that were not kept."""
        call = self._resolved(recorded)
        if recorded.tool is not None:
            call = tools.as_call(self.snapshot, call, recorded.tool)
        phase = "response" if recorded.reply is not None else "request"
        knows = recorded.kept.knows
        return tuple([path for path in inputs.wanted(self.snapshot, call, principal, phase) if not knows(path)])

    def _resolved(self, recorded: Recorded) -> Call:
        """The call with its members; those of ids that a provider minted are where these live."""
        call = self.snapshot.resolve(recorded.call, recorded.family)
        if not call.refs:
            return call
        homes = {name.partition("/")[0] for name in recorded.members}
        return with_members(call, tuple(member for member in call.members if member.upstream in homes))

    def _run(self, recorded: Recorded, principal: Principal, counting: Counting) -> Run:
        rim = Rim(recorded, self._quotas, counting)
        snapshot, now, id = self.snapshot, recorded.now, recorded.id
        if recorded.tool is not None:
            decision = reply.judge_tool(snapshot, self._resolved(recorded), principal, recorded.tool, now=now, decision_id=id, counting=counting)
        elif recorded.reply is not None:
            whole = recorded.phase == "response"
            call = self._resolved(recorded)
            decision = reply.judge_reply(snapshot, call, principal, recorded.reply, now=now, decision_id=id, complete=whole, counting=counting)
        else:
            spared = recorded.facts.get("quota") == "spared"
            codec = cast("Codec", Stand(recorded, counting, rim.causes))
            steps = ladder.decide(snapshot, recorded.call, (), codec=codec, now=now, decision_id=id, principal=principal, reserve=not spared, counting=counting)
            decision = self._carried(recorded, drive(steps, rim), rim.causes)
        return Run(decision, outcome(decision), frozenset(rim.causes))

    def _carried(self, recorded: Recorded, decision: Decision, causes: set[str]) -> Decision:
        """What the way does after the ladder; and whether a new redaction has its place can't be told without the body."""
        if decision.permit is None:
            return decision
        if not recorded.has_body and set(decision.obligations.redact) - set(recorded.answer.obligations.get("redact", ())):
            causes.add("call.body")
        if self.snapshot.settings.core == UNCARRIED and decision.permit.members is not decision.call.members:
            return combine.uncarried(decision)
        return decision

    def _doubtful(self, recorded: Recorded, run: Run, gaps: Sequence[str]) -> bool:
        """Whether both ways may agree and one between them not.

        More allows may owe more, and two debts may not be payable together; of several tools the first refused one tells its rules;
        housekeeping is allowed by what other calls are allowed, where parts of the call are never known.
        """
        if "call.body" in run.causes:
            return True
        if recorded.call.operation in HOUSEKEEPING and not run.outcome.by and any(path.startswith("principal.") for path in gaps):
            return True
        unknown = [reason for reason in run.decision.reasons if reason.result == "unknown"]
        if len(recorded.call.tools) > 1 and unknown:
            return True
        return any(rule.obligations is not NONE for reason in unknown if reason.effect == "allow" for rule in self._rules.get((reason.layer, reason.rule), ()))

    def _missing(self, run: Run, other: Run, gaps: Sequence[str]) -> str:
        """What was not kept: the paths of those conditions that could not be told, or all where that can't be said."""
        read = {reason for each in (run, other) for reason in (*each.decision.reasons, *each.decision.would) if reason.result == "unknown"}
        rules = [rule for reason in read for rule in self._rules.get((reason.layer, reason.rule), ())]
        paths = {path for rule in rules if rule.condition is not None for path in inputs.leaves(rule.condition.reads)} & set(gaps)
        causes = {*run.causes, *other.causes}
        return ", ".join(sorted({*paths, *causes} or gaps))


def agree(one: Outcome, other: Outcome) -> bool:
    """Whether two answers are the same in all that is compared."""
    if one.effect != other.effect or set(one.by) != set(other.by):
        return False
    return one.effect != "allow" or one.obligations == other.obligations


# ---------------------------------------------------------------- the rim, from the record


class Rim:
    """Answers needs as they were answered then. What was not asked then is a no or a yes by the counting, and a cause."""

    def __init__(self, recorded: Recorded, quotas: Mapping[str, str], counting: Counting) -> None:
        self._recorded = recorded
        self._quotas = quotas
        self._gloomy = counting is LIVE
        self.causes: set[str] = set()

    def answer(self, need: Need) -> object:
        """The answer to one need."""
        if isinstance(need, Reserve):
            return self._reserve(need)
        if not isinstance(need, OwnerOf) or self._recorded.principal is None:
            raise TypeError(type(need).__name__)  # the caller is known: `Verify` is not asked
        return self._owner(self._recorded.principal)

    def _owner(self, principal: Principal) -> Owned:
        members = self._recorded.members
        if not members or self._recorded.facts.get("owner") != "own":
            self.causes.add("owner")
        return Owned(principal.id, members[0].partition("/")[0] if members else "")

    def _reserve(self, need: Reserve) -> Reserved | Exhausted | Unavailable:
        facts = self._recorded.facts
        if facts.get("quota") == "unavailable":
            return Unavailable("quota store")
        told = [(item, self._told(item, facts)) for item in need.items]
        out = next((item for item, answer in told if answer == "exhausted"), None)
        if out is not None:
            return _exhausted(out)
        open_ = [item for item, answer in told if not answer]
        self.causes |= {f"quota {item.rule}" for item in open_}
        return _exhausted(open_[0]) if open_ and self._gloomy else Reserved("", ())

    def _told(self, item: Reservation, facts: Mapping[str, Any]) -> str:
        """`granted`, `exhausted`, or "" where this was not asked. The same holds for less where it was granted, for more where it was not."""
        if self._quotas[item.counter.partition("|")[0]] not in facts.get("quotas", ()):
            return ""
        answer: str = facts.get("quota", "")
        if item.metric in FLAT:
            return answer
        then = facts.get("bill", {}).get(item.metric)
        if then is None:
            return ""
        return answer if (item.amount <= then if answer == "granted" else item.amount >= then) else ""


def _exhausted(item: Reservation) -> Exhausted:
    return Exhausted(Level(item.counter, item.metric, item.limit, 0.0, 1.0, 60.0, item.rule), 1.0)


class Stand:
    """Stands for the codec of a recorded call. With its body the real one does the work; without it, what was carried then is carried again."""

    def __init__(self, recorded: Recorded, counting: Counting, causes: set[str]) -> None:
        call = recorded.call
        self._codec = (CODECS if call.body is not None else STORED).get(call.dialect) or CODECS.get(call.dialect) or cast("Codec", Plain(recorded.family))
        self._recorded = recorded
        self._gloomy = counting is LIVE
        self._causes = causes
        self.name = self._codec.name
        self.family = recorded.family
        self.operation = call.operation

    def write_call(self, call: Call, member: Member, edits: Sequence[Edit]) -> Outgoing:
        """The bytes, where there is a body to make them of; they go nowhere."""
        return self._codec.write_call(call, member, edits) if self._recorded.has_body else EMPTY_BODY

    def cap(self, call: Call, name: str, maximum: float) -> Iterable[Edit]:
        """Whether it can be held down: depends on the dialect, and on its being a number."""
        made = self._codec.cap(call, name, maximum)
        if self._recorded.has_body or name in COUNTED or self._carried("cap", name):
            return made
        path = f"call.params.{name}"
        if not self._recorded.kept.knows(path):
            self._causes.add(path)
            return self._perhaps(name)
        value = call.params.get(name)
        return made if value is None or (isinstance(value, int | float) and not isinstance(value, bool)) else self._cannot(name)

    def set(self, call: Call, name: str, value: object) -> Iterable[Edit]:
        """Whether it can be set: depends on the dialect."""
        return self._codec.set(call, name, value)

    def _carried(self, what: str, name: str) -> bool:
        answer = self._recorded.answer
        return answer.effect == "allow" and name in answer.obligations.get(what, ())

    def _perhaps(self, name: str) -> tuple[Edit, ...]:
        return self._cannot(name) if self._gloomy else ()

    def _cannot(self, name: str) -> tuple[Edit, ...]:
        raise CannotCarry(f"`{name}` is no number here")
