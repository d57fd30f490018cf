"""Recorded traffic against a configuration, or against two: line by line, counted by what changed and by which rule.

Bounded memory: lines come in one at a time, groups are few. It reads no file; a line's place is only told. Counterparts:
`replay.py`, which decides, and `compare.py`, which compares; `cli/replay.py` and `cli/diff.py` print the report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.errors import BadRecord
from sidecar.telemetry import record
from sidecar.workbench.compare import Change, Tally, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sidecar.compiler.index import Matcher
    from sidecar.compiler.rules import Condition
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.telemetry.record import Record
    from sidecar.workbench.compare import Outcome
    from sidecar.workbench.recorded import Reader, Recorded
    from sidecar.workbench.replay import Decider

WAITING = 65_536
"""Calls whose replies may still come in; of more, the oldest have none."""
FIRST = 10
"""Broken lines that are told; all are counted."""
Places = dict[str, tuple[str, ...]]
"""`file:line` by rule."""


@dataclass(slots=True)
class Traffic:
    """Takes lines, then reports. `old` None compares with what was recorded. `since` and `until` are Unix seconds, until excluded."""

    new: Decider
    reader: Reader
    old: Decider | None = None
    since: float = float("-inf")
    until: float = float("inf")
    tally: Tally = field(default_factory=Tally)
    decisions: int = 0
    settled: int = 0
    elsewhere: int = 0
    forgotten: int = 0
    broken: int = 0
    first_broken: list[str] = field(default_factory=list)
    _places: dict[Change, tuple[Places, Places]] = field(default_factory=dict)
    _standing: tuple[Places, Places] = field(init=False)
    _waiting: dict[str, str] = field(default_factory=dict)
    """Calls whose replies response rules would judge, by id, with what these read of it (`Decider.hears`)."""
    _alike: bool = field(init=False)
    """Both configurations say the same of replies."""

    def __post_init__(self) -> None:
        self._alike = self.old is not None and replies(self.old.snapshot) == replies(self.new.snapshot)
        self._standing = (places(self.old.snapshot) if self.old is not None else {}, places(self.new.snapshot))

    def take(self, lines: Iterable[bytes], name: str) -> None:
        """All lines of one file. Empty lines and checkpoints are no decisions; what can't be read is counted and told."""
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = record.parse(line)
                if value.get("type") != "checkpoint":
                    self.decide(record.of(value))
            except BadRecord as error:
                self._note(f"{name}:{number}: {error.message}")

    def _note(self, text: str) -> None:
        self.broken += 1
        if len(self.first_broken) < FIRST:
            self.first_broken.append(text)

    def decide(self, line: Record) -> None:
        """One decision. Raises BadRecord."""
        recorded = self.reader.read(line)
        if not self.since <= recorded.now < self.until:
            return
        new = self.new.decide(recorded)
        if self.old is None:
            change = compare(recorded.answer, new if recorded.settled else as_recorded(new))
            self.elsewhere += line.snapshot != self.new.snapshot.digest
        else:
            change = compare(self.old.decide(recorded), new)
        self.decisions += 1
        self.settled += recorded.settled
        self._listen(line, recorded, new)
        if change.kind != "same" and change not in self._places:
            self._places[change] = (_recorded(line, change) if self.old is None else _standing(self._standing[0], change), _standing(self._standing[1], change))
        self.tally.add(change, line.id)

    def _listen(self, line: Record, recorded: Recorded, new: Outcome) -> None:
        """A reply that no rule judged then is not on record: whether a rule denies it now can't be told, and must not pass for the same."""
        if recorded.reply is not None:
            if recorded.phase == "response" or self._waiting.get(line.about) == "head":
                self._waiting.pop(line.about, None)
            return
        answered = line.effect == "allow" and new.effect == "allow" and not recorded.settled
        if not answered or self._alike or (self.old is None and line.snapshot == self.new.snapshot.digest):
            return
        heard = {decider.hears(recorded) for decider in (self.old, self.new) if decider is not None} - {""}
        if heard:
            if len(self._waiting) >= WAITING:
                del self._waiting[next(iter(self._waiting))]
                self.forgotten += 1
            self._waiting[line.id] = "end" if "end" in heard else "head"

    @property
    def unheard(self) -> int:
        """Calls with response rules whose replies are not on record."""
        return self.forgotten + len(self._waiting)

    def report(self) -> dict[str, Any]:
        """Plain JSON values: counts by kind; groups with examples and where their rules stand in the old and in the new."""
        told = self.tally.report()
        for group, (before, after) in ((group, self._places[Change(group["kind"], tuple(group["rules"]))]) for group in told["groups"]):
            group |= {"old": {rule: list(where) for rule, where in before.items()}, "new": {rule: list(where) for rule, where in after.items()}}
        return {
            "decisions": self.decisions,
            **told,
            "settled": self.settled,
            "elsewhere": self.elsewhere,
            "unheard": self.unheard,
            "unopened": self.reader.unopened,
            "broken": self.broken,
            "first_broken": self.first_broken,
        }


def as_recorded(answer: Outcome) -> Outcome:
    """The same as a record would tell it: of what is set, the names alone; the stand-in for no rule is none."""
    owed = answer.obligations
    if "set" in owed:
        owed = {**owed, "set": list(owed["set"])}
    return answer._replace(obligations=owed)


def replies(snapshot: Snapshot) -> frozenset[object]:
    """What a configuration says of replies, in a form that can be compared: response rules, and what lifts them."""
    found: set[object] = set()
    for number, layer in enumerate(snapshot.layers):
        for rule in layer.response.rules:
            found.add((number, rule.name, rule.effect, rule.audit, rule.buffer, _said(rule.match, rule.condition)))
        if layer.response.rules:
            found |= {(number, each.name, each.lifts, each.expires, _said(each.match, each.condition)) for each in layer.exemptions.rules}
    return frozenset(found)


def _said(match: Matcher, condition: Condition | None) -> tuple[object, ...]:
    texts = [tuple(pattern.text for pattern in patterns) for patterns in (match.targets, match.subjects)]
    read = [program.source for program in condition.programs] if condition is not None else []
    named = condition.variables.programs.items() if condition is not None and condition.variables is not None else ()
    return (match.operations, *texts, *read, *((name, program.source) for name, program in named))


def places(snapshot: Snapshot) -> Places:
    """Where every rule and quota stands."""
    found: list[tuple[str, str]] = []
    for layer in snapshot.layers:
        found += [(rule.name, rule.where) for rule in (*layer.request.rules, *layer.response.rules)]
        found += [(quota.name, quota.where) for quota in layer.quotas.rules]
    return _grouped(found)


def _grouped(pairs: Iterable[tuple[str, str]]) -> Places:
    found: dict[str, dict[str, None]] = {}
    for name, where in pairs:
        found.setdefault(name, {})[where] = None
    return {name: tuple(where) for name, where in found.items()}


def _standing(standing: Places, change: Change) -> Places:
    return {rule: standing[rule] for rule in change.rules if rule in standing}


def _recorded(line: Record, change: Change) -> Places:
    """Where the rules stood when it was recorded."""
    return _grouped((reason["rule"], str(reason.get("where", ""))) for reason in (*line.reasons, *line.would) if reason.get("rule") in change.rules)


def code(report: Mapping[str, Any]) -> str:
    """`changed`, `undecidable` or `same`; a line that can't be read could have been anything."""
    counts = report["counts"]
    if any(counts[kind] for kind in ("newly_denied", "newly_allowed", "rules", "obligations")):
        return "changed"
    return "undecidable" if counts["undecidable"] or report["unheard"] or report["broken"] else "same"


# ---------------------------------------------------------------- text

WORDS = {
    "newly_denied": "newly denied",
    "newly_allowed": "newly allowed",
    "rules": "by other rules",
    "obligations": "with other obligations",
    "undecidable": "undecidable",
    "same": "the same",
}


def text(report: Mapping[str, Any]) -> list[str]:
    """The report as lines."""
    counts = report["counts"]
    lines = [f"{report['decisions']} decisions: " + ", ".join(f"{counts[kind]} {WORDS[kind]}" for kind in WORDS)]
    for group in report["groups"]:
        lines.append(f"{WORDS[group['kind']]} {group['count']}: {'; '.join(group['rules'])}")
        lines += _where(group)
        lines.append(f"    {' '.join(group['examples'])}")
    return [*lines, *_notes(report)]


def _where(group: Mapping[str, Any]) -> list[str]:
    lines = []
    for rule in group["rules"]:
        before, after = (" ".join(group[side].get(rule, ())) for side in ("old", "new"))
        if before or after:
            lines.append(f"    {rule}: " + (after if before == after else f"{before or 'nowhere'} -> {after or 'nowhere'}"))
    return lines


def _notes(report: Mapping[str, Any]) -> list[str]:
    told = (
        ("settled", "were refused before any policy, and stay so"),
        ("elsewhere", "were recorded under another configuration than this"),
        ("unheard", "have replies that are not on record: response rules were not tried on them"),
        ("unopened", "are sealed, and there is no key that opens them"),
        ("broken", "lines can't be read"),
    )
    return [f"{report[name]} {words}" for name, words in told if report[name]]
