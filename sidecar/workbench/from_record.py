"""A Test document made of a recorded decision: the caller, the call and the time as they were, and what came out as the expectation.

For `sidecar test --from`. What was not kept is not in the test, and is told. Counterparts: `explain/again.py`, which makes a question of
a record, and `written.py`, which makes YAML of a Test.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from sidecar.config.documents import Expectation, Test, TestCall, TestFacts
from sidecar.workbench import written
from sidecar.workbench.compare import compare, outcome
from sidecar.workbench.explain.again import Again
from sidecar.workbench.recorded import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.telemetry.record import Record
    from sidecar.telemetry.sealing import Opener
    from sidecar.workbench.compare import Outcome
    from sidecar.workbench.recorded import Recorded

WHO, WHAT = "caller", "call"
NAMES_ALONE = frozenset({"set", "allow_unscanned"})
"""Obligations of which a record holds no values."""


class Made(NamedTuple):
    """The document as YAML. `undecided` names what was not kept and could change the answer; `changed`: another answer comes out by now."""

    text: str
    undecided: str
    changed: bool


def remade(snapshot: Snapshot, record: Record, *, opener: Opener | None = None) -> Made:
    """The test of this decision. Raises BadRecord for one that was refused before any policy."""
    recorded = Reader(opener).read(record)
    again = Again(snapshot, recorded)
    decision = again.decision()
    asked = again.asked(decision)
    what = _whole(asked.what, recorded)
    row = expected(recorded.answer, asked.quota)
    spec = Test(now=recorded.now, principals={WHO: asked.who}, calls={WHAT: what}, expect=(row,))
    name = re.sub("[^a-z0-9._-]", "-", f"from-{recorded.id.lower()}")
    changed = compare(recorded.answer, outcome(decision)).kind != "same"
    return Made(written.document(name, spec), again.undecided(), changed)


def _whole(what: TestCall, recorded: Recorded) -> TestCall:
    """With the body, where that was kept: then the codec reads it again."""
    call = recorded.call
    if not recorded.has_body or recorded.tool is not None:
        return what
    named = call.dialect.startswith("gemini")
    return TestCall(
        dialect=cast("Any", call.dialect),
        body=call.body,
        target=call.target if named else "",
        stream=call.stream and named,
        source=what.source,
        reply=what.reply,
    )


def expected(answer: Outcome, quota: Mapping[str, str]) -> Expectation:
    """The row: the effect, the rules that made it, what was owed, and what the store had said."""
    owed = {name: value for name, value in answer.obligations.items() if name not in NAMES_ALONE} if answer.effect == "allow" else {}
    row = Expectation(principal=(WHO,), call=(WHAT,), effect=cast("Literal['allow', 'deny']", answer.effect), by=answer.by, obligations=owed)
    return replace(row, facts=TestFacts(quota=cast("Mapping[str, Any]", quota))) if quota else row
