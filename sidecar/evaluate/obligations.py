"""Adds up what matching rules demand: label sets intersect, the smallest cap wins, two unequal `set`s are a no.

Counterpart: `screen.py` carries the sum out. Knows nothing of conditions and codecs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sidecar.decision import NONE, Obligations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.call import Member
    from sidecar.compiler.rules import Rule


class Conflict(ValueError):
    """Two demands that can't both be met; `rule` names the later one."""

    def __init__(self, rule: Rule, what: str) -> None:
        super().__init__(what)
        self.rule = rule
        self.what = what


def total(rules: Sequence[Rule]) -> Obligations:
    """The sum over matching rules. Raises Conflict."""
    owing = [rule for rule in rules if rule.obligations is not NONE]
    if not owing:
        return NONE
    if len(owing) == 1:
        return owing[0].obligations
    return _sum(owing)


def _sum(rules: Sequence[Rule]) -> Obligations:
    route: dict[str, str] = {}
    cap: dict[str, float] = {}
    put: dict[str, object] = {}
    for rule in rules:
        duty = rule.obligations
        for label, wanted in duty.route:
            if route.setdefault(label, wanted) != wanted:
                raise Conflict(rule, f"two rules demand different values of the label `{label}`")
        for name, most in duty.cap:
            cap[name] = min(most, cap.get(name, most))
        for name, value in duty.set:
            if not same(put.setdefault(name, value), value):
                raise Conflict(rule, f"two rules set `{name}` to different values")
    return Obligations(
        route=tuple(sorted(route.items())),
        cap=tuple(sorted(cap.items())),
        set=tuple(sorted(put.items())),
        redact=_union(rule.obligations.redact for rule in rules),
        label=_union(rule.obligations.label for rule in rules),
        warn=_union(rule.obligations.warn for rule in rules),
    )


def same(one: object, other: object) -> bool:
    """Equal as JSON values, however deep: `true` is not 1."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({text for texts in lists for text in texts}))


def routed(members: Sequence[Member], survivors: int, labels: Sequence[tuple[str, str]]) -> int:
    """The bits of those survivors whose upstream carries all the labels."""
    kept = 0
    for bit, member in enumerate(members):
        if survivors >> bit & 1 and all(member.labels.get(label) == value for label, value in labels):
            kept |= 1 << bit
    return kept
