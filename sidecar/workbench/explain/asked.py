"""What is explained: a caller, a call, what the store would say, a time. Read from JSON, and decided as `sidecar test` would.

The JSON has the shape of a Test document's fixtures: `{"principal": {…}, "call": {…}, "quota": {…}, "now": 1767225600}`.
Counterpart: `changes.py`, which makes other questions from one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sidecar.config.documents import TestCall, TestFacts, TestPrincipal, TestReply, TestSource, TestTool
from sidecar.workbench import cases

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.decision import Decision

T = TypeVar("T", TestCall, TestFacts, TestPrincipal, TestReply, TestSource, TestTool)
PARTS = {"reply": TestReply, "source": TestSource, "tool": TestTool, "facts": TestFacts}
"""Fields of a call that have fields of their own."""
TOP = frozenset({"principal", "call", "quota", "now"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. `quota` is what the store says for a Quota document: granted unless told."""

    who: TestPrincipal
    what: TestCall
    now: float
    quota: Mapping[str, str] = field(default_factory=dict)

    @property
    def answers(self) -> Mapping[str, str]:
        """What is told of the store, by quota."""
        return {**self.what.facts.quota, **self.quota}

    def decide(self, snapshot: Snapshot) -> Decision:
        """The decision that stands. Raises CallError."""
        return cases.decide(snapshot, self.who, self.what, self.quota, self.now)


def source_of(what: TestCall) -> Mapping[str, Any]:
    """Where the call comes from."""
    return asdict(what.source)


def from_source(what: TestCall, source: Mapping[str, Any]) -> TestCall:
    """The call from somewhere else."""
    return replace(what, source=TestSource(**source))


def read(data: Mapping[str, Any], now: float) -> Asked:
    """The question that the JSON asks. `now` (Unix seconds) holds unless it names a time. Raises ValueError."""
    if not isinstance(data, Mapping):
        raise ValueError("this is no JSON object")  # noqa: TRY004  it is the data that is wrong, not a program
    if strange := sorted(set(data) - TOP):
        raise ValueError(f"`{strange[0]}` is none of {', '.join(sorted(TOP))}")
    who = _made(TestPrincipal, {"id": "anonymous", **_mapping(data, "principal")})
    what = _mapping(data, "call")
    what |= {name: _made(shape, _mapping(what, name)) for name, shape in PARTS.items() if what.get(name) is not None}
    when = data.get("now", now)
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise ValueError("`now` is a time in Unix seconds")  # noqa: TRY004  as above
    return Asked(who, _made(TestCall, what), float(when), _mapping(data, "quota"))


def _mapping(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be an object")  # noqa: TRY004  as above
    return dict(value)


def _made(shape: type[T], values: dict[str, Any]) -> T:
    known = {field.name for field in fields(shape)}
    if strange := sorted(set(values) - known):
        raise ValueError(f"`{strange[0]}` is none of {', '.join(sorted(known))}")
    listed = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return shape(**listed)  # type: ignore[arg-type]  # shapes are the readers' to check
    except TypeError as error:
        raise ValueError("a field that is needed is missing") from error
