"""One line per decision for people: time, target, effect, rule, milliseconds, tokens, dollars. Never content."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from sidecar.config.documents import Settings
    from sidecar.decision import Decision
    from sidecar.server.inbound import Read
    from sidecar.server.settle import Settlement

GREEN, RED, YELLOW, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


class Console:
    """Writes lines. `color` only on a terminal; `note` stands on every one of them."""

    def __init__(self, out: TextIO, *, color: bool, note: str = "") -> None:
        self._out = out
        self._color = color
        self._note = note

    def finished(self, read: Read | None, decision: Decision, status: int, settlement: Settlement | None) -> None:
        """One call is over. `read` is None for a proposed tool call, which is part of another."""
        milliseconds = f"{(time.perf_counter_ns() - read.started) / 1e6:8.1f} ms" if read is not None else " " * 11
        self._out.write(
            f"{_clock(decision.now)} {self._effect(decision, status)} {milliseconds} {_what(decision)}  {_why(decision)}{_cost(settlement)}{self._note}\n"
        )
        self._out.flush()

    def _effect(self, decision: Decision, status: int) -> str:
        word = "would-deny" if decision.audited else decision.effect
        text = f"{word:<10} {status}"
        if not self._color:
            return text
        shade = YELLOW if decision.audited else GREEN if decision.effect == "allow" else RED
        return f"{shade}{text}{PLAIN}"


def noted(settings: Settings) -> str:
    """What nobody may forget is on: a sidecar that only audits, or that allows where no rule speaks (DOCUMENTS.md, Settings)."""
    audits = "  [mode: audit]" if settings.mode == "audit" else ""
    return audits + ("  [default: allow]" if settings.default.effect == "allow" else "")


def _clock(now: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(now))


def _what(decision: Decision) -> str:
    call = decision.call
    who = decision.principal.id if decision.principal is not None else "-"
    return f"{who} {call.operation} {call.target or '-'}{' (stream)' if call.stream else ''}"


def _why(decision: Decision) -> str:
    if decision.refusal is not None:
        return decision.refusal.rule or decision.refusal.code
    return ", ".join(decision.by) or "default"


def _cost(settlement: Settlement | None) -> str:
    if settlement is None or settlement.usage is None:
        return ""
    usage = settlement.usage
    about = "~" if usage.estimated else ""
    dollars = "" if settlement.cost is None else f"  ${settlement.cost:.6f}"
    return f"  {about}{usage.input_tokens}+{usage.output_tokens} tokens{dollars}"
