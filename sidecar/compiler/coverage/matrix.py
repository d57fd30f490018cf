"""Every rule laid over the surface: what each does at each place, whole and streamed, as a value. For `check --coverage` and the findings.

States, in words: `runs` · `would` (an audit document: recorded, never live) · `refuses` (what it demands can't be done there, so
such calls are refused; `part`: some are) · `idle` (matches and changes nothing) · `end` (a stream is judged at its end alone) · `never` (can't be true there) ·
`out` (the match leaves it out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.compiler.coverage import demands, partial
from sidecar.compiler.coverage.surface import PLACES, RESPONSE, STREAM, Place
from sidecar.compiler.index import ANY, EXCLUDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.coverage.whole import Counted, Held, Whole
    from sidecar.compiler.rules import Condition, Rule


class Cell(NamedTuple):
    """What a rule does at a place, in one shape."""

    place: Place
    shape: str
    state: str
    why: str = ""


class Row(NamedTuple):
    """One rule or quota. `cost` is the static estimate of its condition, in steps."""

    name: str
    kind: str
    effect: str
    mode: str
    where: str
    layer: str
    document: str
    cost: int
    cells: tuple[Cell, ...]


def matrix(whole: Whole) -> tuple[Row, ...]:
    """A row for every rule, role grant and quota, in their stable order."""
    rules = [(held.rule.order, _row(whole, held)) for held in whole.rules]
    quotas = [(counted.quota.order, _quota(counted)) for counted in whole.quotas]
    return tuple(row for _, row in sorted([*rules, *quotas], key=lambda pair: pair[0]))


def cost(condition: Condition | None) -> int:
    """Steps of a condition at worst, its variables included."""
    if condition is None:
        return 0
    return sum(program.cost for program in condition.programs) + sum(_variables(condition))


def _variables(condition: Condition) -> Iterator[int]:
    if condition.variables is None:
        return
    programs = condition.variables.programs
    ahead = [path for program in condition.programs for path in program.reads]
    seen: set[str] = set()
    while ahead:
        root, _, rest = ahead.pop().partition(".")
        names = [] if root != "variables" else [rest.partition(".")[0]] if rest else list(programs)
        for name in names:
            if name not in seen and name in programs:
                seen.add(name)
                yield programs[name].cost
                ahead += programs[name].reads


def _row(whole: Whole, held: Held) -> Row:
    rule = held.rule
    cells = tuple(cell for place in PLACES for shape in place.shapes for cell in [Cell(place, shape, *_state(whole, rule, place, shape))])
    mode = "audit" if rule.audit else "enforce"
    return Row(rule.name, rule.kind, rule.effect, mode, rule.where, rule.layer, f"{rule.kind}/{held.document.name}", cost(rule.condition), cells)


def _state(whole: Whole, rule: Rule, place: Place, shape: str) -> tuple[str, str]:
    if place.phase != rule.phase:
        return "out", ""
    if not rule.match.admits(place.operation):
        starred = ANY in rule.match.operations and place.operation in EXCLUDED
        return "out", f"`*` never includes `{place.operation}`" if starred else ""
    if partial.result(rule.condition, partial.bind(place)) is False:
        return "never", "its condition is false there"
    if idle := _idle(whole, rule, place):
        return "idle", idle
    undone, nothing = demands.missing(whole, rule, place)
    if undone:
        return ("idle" if not place.owed else "refuses" if nothing else "part"), undone
    if rule.audit:
        return "would", ""
    return ("end", "held to its end") if place.phase == RESPONSE and shape == STREAM and rule.late else ("runs", "")


def _idle(whole: Whole, rule: Rule, place: Place) -> str:
    if rule.effect == "allow" and place.operation == "tool_call" and whole.settings.default.tool_call == "allow":
        return "proposed tool calls are released unless denied"
    return "nothing is owed on what the sidecar answers itself" if rule.effect in {"require", "warn"} and not place.owed else ""


def _quota(counted: Counted) -> Row:
    document, quota = counted
    cells = tuple(
        Cell(place, shape, "runs" if place.counted and quota.match.admits(place.operation) else "out")
        for place in PLACES
        if place.phase != RESPONSE
        for shape in place.shapes
    )
    worth = cost(quota.condition) + sum(map(cost, quota.keys))
    return Row(quota.name, "Quota", "quota", document.spec.mode, quota.where, quota.layer, f"Quota/{quota.name}", worth, cells)
