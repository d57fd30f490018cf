"""What the stages of the ladder hand to each other: one mutable state per decision, gone when it is made.

A stage reads what earlier ones wrote and writes its own part; `combine.py` turns the end of it into a `Decision`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.decision import NONE, Obligations, Reason, Refusal
from sidecar.need import Steps

if TYPE_CHECKING:
    from sidecar.call import Call
    from sidecar.compiler.candidates import Candidates
    from sidecar.compiler.rules import Rule
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.evaluate.bindings import View, Views
    from sidecar.evaluate.lattice import Counting
    from sidecar.need import Level
    from sidecar.principal import Presented, Principal
    from sidecar.segment import Edit
    from sidecar.wire.base import Codec


class State:
    """One decision under way. `survivors` are the bits of `call.members` that may still serve."""

    __slots__ = (
        "audited", "call", "candidates", "codec", "counting", "edits", "facts", "id", "laps", "levels", "now", "obligations", "others", "owing", "presented",
        "principal", "reasons", "reservation", "reserving", "snapshot", "survivors", "views", "would",
    )  # fmt: skip

    snapshot: Snapshot
    call: Call
    codec: Codec
    presented: tuple[Presented, ...]
    now: float
    id: str
    principal: Principal | None
    candidates: Candidates | None
    views: View | Views | None
    survivors: int
    obligations: Obligations
    owing: list[Rule]
    """Matching rules that may demand something."""
    reasons: list[Reason]
    """The determining rules."""
    others: list[Reason]
    """Other candidates whose conditions were read."""
    would: list[Reason]
    edits: tuple[Edit, ...]
    facts: dict[str, object]
    reservation: str
    levels: tuple[Level, ...]
    reserving: bool
    counting: Counting
    audited: bool
    laps: list[tuple[str, int]]
    """(stage, clock at its end), after the start."""

    def __init__(
        self,
        snapshot: Snapshot,
        call: Call,
        presented: tuple[Presented, ...],
        *,
        codec: Codec,
        now: float,
        id: str,
        principal: Principal | None,
        reserving: bool,
        counting: Counting,
    ) -> None:
        self.snapshot = snapshot
        self.call = call
        self.presented = presented
        self.codec = codec
        self.now = now
        self.id = id
        self.principal = principal
        self.reserving = reserving
        self.counting = counting
        self.candidates = None
        self.views = None
        self.survivors = 0
        self.obligations = NONE
        self.reasons = []
        self.others = []
        self.would = []
        self.edits = ()
        self.facts = {}
        self.reservation = ""
        self.levels = ()
        self.audited = False
        self.owing = []
        self.laps = []

    def known(self) -> tuple[Principal, Candidates]:
        """Who asks, and which rules may speak. A stage that stands before `identify` and `authorize` is a bug that raises."""
        if self.principal is None or self.candidates is None:
            raise RuntimeError("a stage stands too early in the ladder")
        return self.principal, self.candidates

    def determine(self, *reasons: Reason) -> None:
        """These decide now; what did before was read, and stays among the others."""
        self.others += self.reasons
        self.reasons = list(reasons)

    def seen(self) -> View | Views:
        """What conditions see. A stage that stands before `apply_policies` is a bug that raises."""
        if self.views is None:
            raise RuntimeError("a stage stands too early in the ladder")
        return self.views


Stage = Callable[[State], Steps[Refusal | None]]
"""A rung: it yields needs, writes its part into the state, and returns a refusal or None."""
