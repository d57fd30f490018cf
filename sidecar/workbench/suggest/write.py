"""Roles that were found to documents: one of kind `Roles`, with what was counted as comments, and one of kind `Test` beside it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING, NamedTuple

from sidecar.config.diagnostics import printable
from sidecar.workbench.fmt import format_documents
from sidecar.workbench.fmt.spell import quoted
from sidecar.workbench.suggest.cover import KEEPING, Role
from sidecar.workbench.suggest.names import Speller
from sidecar.workbench.suggest.seen import TOOLS, Tally, Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.workbench.suggest.known import Known
    from sidecar.workbench.suggest.seen import Seen

DOCUMENT = "suggested"
"""The name of both documents."""
SHOWN = 40
"""Calls of one role that its test has."""


class Named(NamedTuple):
    """A role with its name, its grants, and what was counted of it."""

    name: str
    role: Role
    grants: tuple[str, ...]
    tally: Tally


def named(roles: Iterable[Role], seen: Seen, known: Known) -> tuple[Named, ...]:
    """Each role with a name of its own."""
    by_caller: dict[str, list[tuple[Use, Tally]]] = {}
    for use, tally in seen.uses.items():
        by_caller.setdefault(use.caller, []).append((use, tally))
    taken: set[str] = set()
    speller = Speller(seen, known)
    return tuple(Named(_name(role, taken), role, tuple(speller.grants(role.cells)), _tally(role, by_caller)) for role in roles)


def _tally(role: Role, by_caller: dict[str, list[tuple[Use, Tally]]]) -> Tally:
    found = Tally()
    for use, tally in (each for caller in role.callers for each in by_caller[caller]):
        if _covers(role, use):
            found.calls += tally.calls
            found.last = max(found.last, tally.last)
    return found


def _covers(role: Role, use: Use) -> bool:
    return all((use.operation, name) in role.cells for name in use.names)


def _name(role: Role, taken: set[str]) -> str:
    """After the first subject: `eng`, `ci-bot-and-2-more`."""
    more = len(role.subjects) - 1
    return _unique(_plain(role.subjects[0].partition(":")[2] or role.subjects[0]) + (f"-and-{more}-more" if more else ""), taken)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower())[:80].strip("-._") or "other"


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found)
    return found


# ---------------------------------------------------------------- the roles


def policy(kept: Sequence[Named], left_out: Sequence[Named], seen: Seen) -> str:
    """The Roles document."""
    lines = [
        f"# Suggested from {seen.lines:,} lines of records, {_day(seen.first)} to {_day(seen.last)}: who used what, and nothing else.",
        "# Read it before it is enforced: what was done is not always what should be.",
        "apiVersion: sidecar.dev/v1",
        "kind: Roles",
        f"metadata: {{name: {DOCUMENT}}}",
        "spec:",
        "  roles:",
    ]
    for each in kept:
        lines += [f"    # {_counted(each)}", f"    {quoted(each.name)}: {{allow: {_list(each.grants)}}}"]
    lines.append("  bindings:")
    lines += [f"    - {{role: {quoted(each.name)}, subjects: {_list(each.role.subjects)}}}" for each in kept]
    return _formatted([*lines, *_remarks(left_out, seen)])


def _remarks(left_out: Sequence[Named], seen: Seen) -> Iterator[str]:
    """What these roles do not cover, and why."""
    for each in left_out:
        yield f"# left out, {_counted(each)}: {_shown(each.role.subjects)} may {_shown(each.grants)}"
    for rule, calls in sorted(seen.refused.items()):
        yield f"# not covered: {many(calls, 'call')} that `{printable(rule)}` refuses"
    for reason, lines in sorted(seen.skipped.items()):
        yield f"# not covered: {many(lines, 'line')} {reason}"


def _counted(each: Named) -> str:
    return f"{many(each.tally.calls, 'call')}, {many(len(each.role.callers), 'caller')}, last seen {_day(each.tally.last)}"


def many(number: int, noun: str) -> str:
    """`1 call`, `1,204 calls`."""
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


def _shown(texts: Sequence[str]) -> str:
    return ", ".join(f"`{printable(text)}`" for text in texts)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


# ---------------------------------------------------------------- the tests


class _Tests:
    """Collects fixtures and rows: what each role's first caller did is allowed, a stranger gets none of it, nobody gets an unseen model."""

    def __init__(self, seen: Seen, known: Known) -> None:
        self.seen, self.known = seen, known
        self.principals: dict[str, str] = {}
        self.calls: dict[tuple[str, str], str] = {}
        self.fixtures: list[str] = []
        self.rows: list[str] = []
        self.taken: set[str] = set()

    def role(self, each: Named) -> None:
        who = each.role.callers[0]
        uses = sorted(use for use in self.seen.uses if use.caller == who and use.operation not in KEEPING and _covers(each.role, use))[:SHOWN]
        if not uses:
            return
        name = self.principal(who)
        calls = _list(tuple(dict.fromkeys(self.call(use) for use in uses)))
        self.rows.append(f"    - {{principal: [{quoted(name)}], call: {calls}, effect: allow, by: [{quoted(f'{DOCUMENT}/{each.name}')}]}}")

    def principal(self, id: str) -> str:
        if id not in self.principals:
            self.principals[id] = _unique(_plain(id.partition(":")[2] or id), set(self.principals.values()))
        return self.principals[id]

    def call(self, use: Use) -> str:
        key = (use.operation, use.asked)
        if key not in self.calls:
            self.calls[key] = name = _unique(_plain(f"{use.operation}-{use.asked}"), self.taken)
            fields = f"operation: {use.operation}, target: {quoted(use.asked)}"
            if use.operation == TOOLS:
                fields += f", model: {quoted(use.models[0])}, args: {{}}" if use.models else ", args: {}"
            self.fixtures.append(f"    {quoted(name)}: {{{fields}}}")
        return self.calls[key]

    def strangers(self) -> None:
        """Somebody who was never seen, and a model that the first caller was never seen with."""
        calls = tuple(name for (operation, _), name in self.calls.items() if operation != TOOLS)
        if not calls:
            return
        stranger = next(id for id in chain(["key:stranger"], map("key:stranger-{}".format, count())) if id not in self.seen.memberships)
        first = next(iter(self.principals))
        self.rows.append(f"    - {{principal: [{quoted(self.principal(stranger))}], call: {_list(calls)}, effect: deny}}")
        self.fixtures.append(f"    unseen-model: {{operation: chat, target: {quoted(self.unseen(first))}}}")
        self.rows.append(f"    - {{principal: [{quoted(self.principals[first])}], call: [unseen-model], effect: deny}}")

    def unseen(self, caller: str) -> str:
        used = {name for use in self.seen.uses if use.caller == caller and use.operation == "chat" for name in use.names}
        return next((model for model, pairs in sorted(self.known.reach.items()) if pairs and not pairs & used), "no-such-model")

    def text(self) -> str:
        people = [f"    {quoted(name)}: {{{_person(id, self.seen)}}}" for id, name in self.principals.items()]
        head = ["# What was seen is allowed, and nothing beside it. Run by `sidecar test`.", "apiVersion: sidecar.dev/v1", "kind: Test"]
        body = ["  principals:", *people, "  calls:", *self.fixtures, "  expect:", *self.rows]
        return _formatted([*head, f"metadata: {{name: {DOCUMENT}}}", "spec:", *body])


def tests(kept: Sequence[Named], seen: Seen, known: Known) -> str:
    """The Test document; "" where there is nothing that it could tell."""
    made = _Tests(seen, known)
    made.taken.add("unseen-model")
    for each in kept:
        made.role(each)
    made.strangers()
    return made.text() if made.rows else ""


def _person(id: str, seen: Seen) -> str:
    who = seen.callers.get(id)
    team = f", team: {quoted(who.team)}" if who is not None and who.team else ""
    groups = f", groups: {_list(who.groups)}" if who is not None and who.groups else ""
    return f"id: {quoted(id)}{team}{groups}"


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(quoted, texts))}]"


def _formatted(lines: Sequence[str]) -> str:
    made = format_documents(DOCUMENT, "".join(f"{line}\n" for line in lines).encode())
    if made.text is None:
        raise ValueError(f"suggested documents that are no documents: {made.diagnostics[0].message}")
    return made.text
