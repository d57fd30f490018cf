"""Record lines to what was seen: who used what, how often, last when. Counterpart: `cover`, which finds the rules for it.

A million lines become as many entries as there are different uses, and no more than `MOST`. What a rule refused, or would
have refused, is no use: it is counted beside, and its names are kept so that no pattern is made to hold them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.config.scalars import pattern_problem, subject_problem
from sidecar.errors import BadRecord
from sidecar.telemetry import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.telemetry.record import Record

MOST = 100_000
"""Different uses that are kept. Callers choose names, so somebody may send any number of them."""
TOOLS = "tool_call"
UNREADABLE = "not readable as records"
EXEMPT = frozenset({"default"})
"""The rule that stands where no rule said anything (see `evaluate/combine.py`)."""


class Caller(NamedTuple):
    """A caller as last seen."""

    id: str
    team: str
    groups: tuple[str, ...]


class Use(NamedTuple):
    """One kind of call of one caller. `names` is what an allow must cover: each `upstream/model`, or the tool."""

    caller: str
    operation: str
    names: tuple[str, ...]
    asked: str
    models: tuple[str, ...] = ()
    """Of a tool call: the models that may have proposed it."""


@dataclass(slots=True)
class Tally:
    """How often, and when last (Unix seconds)."""

    calls: int = 0
    last: float = 0.0

    def add(self, now: float) -> None:
        self.calls += 1
        self.last = max(self.last, now)


@dataclass(slots=True)
class Seen:
    """All of it. `add` takes one line of a record file."""

    tools: bool = False
    """Proposed tool calls are uses too."""
    uses: dict[Use, Tally] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)
    memberships: dict[str, set[frozenset[str]]] = field(default_factory=dict)
    """By caller, the sets of teams and groups it was seen with: a group that it left is not what it acts by."""
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that a rule said no to, by rule."""
    denied: set[tuple[str, str]] = field(default_factory=set)
    """(operation, name) of those."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Lines that say nothing of what should be allowed, by the reason."""
    lines: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, line: bytes) -> None:
        """Take one line in. Never raises."""
        self.lines += 1
        try:
            self._take(record.read(line))
        except BadRecord:
            if not _is_other(line):
                self.skipped[UNREADABLE] += 1
        except (TypeError, ValueError, KeyError, AttributeError):  # a decision in JSON whose fields are not a decision's
            self.skipped[UNREADABLE] += 1

    def _take(self, row: Record) -> None:
        who, call = row.principal, row.call
        if who is None:
            self.skipped["by callers that are not known"] += 1
            return
        caller = Caller(str(who["id"]), str(who.get("team") or ""), tuple(sorted(map(str, who.get("groups") or ()))))
        use = _use(caller.id, call)
        self._meet(caller)
        if rules := list(_noes(row)):
            self.refused.update(rules)
            self.denied.update((use.operation, name) for name in use.names)
        elif row.effect != "allow":
            self.skipped["really refused, by a quota or where nothing was allowed"] += 1
        elif use.operation == TOOLS and not self.tools:
            self.skipped["tool calls (`--tools` adds them)"] += 1
        elif problem := _unnameable(use):
            self.skipped[problem] += 1
        else:
            self._keep(use, caller, float(row.now))

    def _meet(self, caller: Caller) -> None:
        """Also of callers that did nothing to be allowed: a group of which they are one did not all do the same."""
        if caller.id in self.memberships or len(self.memberships) < MOST:
            self.memberships.setdefault(caller.id, set()).add(frozenset(_titles(caller)))

    def _keep(self, use: Use, caller: Caller, now: float) -> None:
        tally = self.uses.get(use)
        if tally is None:
            if len(self.uses) >= MOST:
                self.skipped[f"past the first {MOST} different uses"] += 1
                return
            tally = self.uses[use] = Tally()
        tally.add(now)
        self.memberships.setdefault(use.caller, set()).add(frozenset(_titles(caller)))
        self.callers[caller.id] = caller
        self.first, self.last = min(self.first or now, now), max(self.last, now)

    def names(self) -> set[tuple[str, str]]:
        """Every (operation, name), allowed or not."""
        return self.denied | {(use.operation, name) for use in self.uses for name in use.names}


def of(lines: Iterable[bytes], *, tools: bool = False) -> Seen:
    """All lines, read once."""
    seen = Seen(tools)
    for line in lines:
        seen.add(line)
    return seen


def _is_other(line: bytes) -> bool:
    """Whether this is a line of another type, such as a checkpoint."""
    try:
        return record.parse(line).get("type") != "decision"
    except BadRecord:
        return False


def _titles(caller: Caller) -> tuple[str, ...]:
    return (*(f"group:{name}" for name in caller.groups), *((f"team:{caller.team}",) if caller.team else ()))


def _use(caller: str, call: Mapping[str, Any]) -> Use:
    operation, asked = str(call["operation"]), str(call.get("target") or "")
    members = tuple(sorted(map(str, call.get("members") or ())))
    if operation == TOOLS:
        tool = str(call.get("tool") or asked).casefold()
        return Use(caller, operation, (tool,), tool, tuple(sorted({name.partition("/")[2] for name in members})))
    if operation == "models":
        return Use(caller, operation, ("*",), asked)
    return Use(caller, operation, tuple(name.casefold() for name in members), asked)


def _noes(row: Record) -> Iterable[str]:
    """The rules that refused this call, or would have: of enforced documents, and of those in `mode: audit`. A quota says nothing of what is allowed."""
    spoken = (*row.would, *(reason for reason in row.reasons if reason["rule"] in row.by))
    for reason in spoken:
        if reason["effect"] == "deny" and reason["kind"] == "Policy" and not reason.get("lifted") and reason["rule"] not in EXEMPT:
            yield str(reason["rule"])


def _unnameable(use: Use) -> str:
    """Why no rule can name this use exactly; "" where one can."""
    if "*" in use.caller or subject_problem(use.caller):
        return "by callers whose id no rule can name exactly"
    if use.operation == "models":
        return ""
    if not use.names:
        return "that name no model"
    exact = all("*" not in name and len(name) < record.NAME_LIMIT and not pattern_problem(name) for name in use.names)
    return "" if exact else "whose target no rule can name exactly"
