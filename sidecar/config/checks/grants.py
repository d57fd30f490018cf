"""Rules about Roles, Quota and Exception documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from sidecar.config import documents
from sidecar.config.checks.base import Found, at_key, escaped, name_problem
from sidecar.config.scalars import pattern_problem, seconds_of
from sidecar.config.validate import near

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.document import Document

DAY = 86400.0
LONGEST_EXCEPTION = 90 * DAY
EXPIRY_WARNING = 14 * DAY
_LIFT = re.compile(r"(?P<kind>[A-Za-z]+)/(?P<document>[^/*]+)/(?P<rule>[^/*]+)\Z")
_PER = re.compile(r"[1-9]\d*(s|m|h|d)\Z")


def roles(document: Document) -> Found:
    """Roles inherit from and bindings name roles of the same document, and no role inherits from itself."""
    known = document.spec.roles
    for name, role in known.items():
        pointer = f"/spec/roles/{escaped(name)}"
        if problem := name_problem(name):
            yield at_key(document, "name", problem[0], pointer, problem[1])
        for index, parent in enumerate(role.inherits):
            if parent not in known:
                yield document.complaint(
                    "error", "unknown-role", f"no role `{parent}` in this document", f"{pointer}/inherits/{index}", hint=near(parent, known)
                )
        if _inherits_itself(name, known):
            yield document.complaint("error", "cycle", f"role `{name}` inherits from itself", f"{pointer}/inherits")
    for index, binding in enumerate(document.spec.bindings):
        if binding.role not in known:
            yield document.complaint(
                "error", "unknown-role", f"no role `{binding.role}` in this document", f"/spec/bindings/{index}/role", hint=near(binding.role, known)
            )


def _inherits_itself(name: str, known: Mapping[str, documents.Role]) -> bool:
    seen: set[str] = set()
    ahead = list(known[name].inherits)
    while ahead:
        parent = ahead.pop()
        if parent == name:
            return True
        if parent in known and parent not in seen:
            seen.add(parent)
            ahead += known[parent].inherits
    return False


_OPERATIONS = tuple(word for word in documents.LlmOperation.__args__ if word != "*")  # type: ignore[attr-defined]  # the arguments of a Literal
_LATER_PROTOCOLS = ("mcp", "a2a")


def grants(document: Document) -> Found:
    """A grant is `protocol:operation:target`."""
    for name, role in document.spec.roles.items():
        for index, grant in enumerate(role.allow):
            if problem := grant_problem(grant):
                yield document.complaint("error", "grant", f"`{grant}`: {problem[0]}", f"/spec/roles/{escaped(name)}/allow/{index}", hint=problem[1])


def grant_problem(grant: str) -> tuple[str, str] | None:
    """What is wrong with a grant, and a hint."""
    parts = grant.split(":", 2)
    if len(parts) != 3:
        return "a grant has three parts", "`protocol:operation:target`, as in `llm:chat:gpt-*`"
    protocol, operation, target = parts
    if protocol in _LATER_PROTOCOLS:
        return f"protocol `{protocol}` is not built in this release", ""
    if protocol != "llm":
        return f"no protocol is called `{protocol}`", "`llm`"
    if "*" not in operation and operation not in _OPERATIONS:
        return f"no operation is called `{operation}`", near(operation, _OPERATIONS) or "one of " + ", ".join(f"`{word}`" for word in _OPERATIONS)
    return pattern_problem(target)


def limits(document: Document) -> Found:
    """Every limit has a window, but for concurrency, and zones are those of the tz database."""
    for index, limit in enumerate(document.spec.limits):
        pointer = f"/spec/limits/{index}"
        if limit.metric == "concurrency" and limit.per:
            yield document.complaint("error", "window", "`concurrency` is counted at one moment and has no window", f"{pointer}/per", hint="take the line out")
        if limit.metric != "concurrency" and not limit.per:
            yield document.complaint("error", "window", f"`{limit.metric}` needs a window", pointer, hint="`per: day`, `per: month`, or sliding: `per: 1h`")
        if limit.per and limit.per not in ("day", "month") and not (_PER.match(limit.per) and seconds_of(limit.per)):
            yield document.complaint("error", "window", f"`{limit.per}` is no window", f"{pointer}/per", hint="`day`, `month`, or sliding: `1m`, `1h`, `1d`")
        if limit.timezone != "UTC" and not _is_zone(limit.timezone):
            yield document.complaint(
                "error", "timezone", f"no time zone is called `{limit.timezone}`", f"{pointer}/timezone", hint=near(limit.timezone, available_timezones())
            )
    if not document.spec.limits:
        yield document.complaint("error", "window", "a Quota without limits", "/spec/limits")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a relative path; a directory such as `Europe`
        return False
    return True


def expiry(document: Document, now: float) -> Found:
    """An exception ends, soon."""
    left = document.spec.expires - now
    if left > LONGEST_EXCEPTION:
        yield document.complaint(
            "error", "expiry", f"ends in {left / DAY:.0f} days; 90 are the most", "/spec/expires", hint="an exception for good is a rule: write one"
        )
    elif left <= 0:
        yield document.complaint(
            "warning", "expiry", "is over: this exception lifts nothing any more", "/spec/expires", hint="take the document out, or renew it"
        )
    elif left <= EXPIRY_WARNING:
        yield document.complaint("warning", "expiry", f"ends in {left / DAY:.0f} days", "/spec/expires")


def exception_words(document: Document) -> Found:
    """A reason and an approver are said, and what is lifted is named in full."""
    for name, text in (("reason", document.spec.reason), ("approvedBy", document.spec.approved_by)):
        if not text.strip():
            yield document.complaint("error", "no-value", f"`{name}` is empty", f"/spec/{name}")
    for index, lifted in enumerate(document.spec.lifts):
        pointer = f"/spec/lifts/{index}"
        found = _LIFT.match(lifted)
        if found is None:
            yield document.complaint("error", "lifts", f"`{lifted}` names no rule", pointer, hint="`Policy/<document>/<rule>`, without `*`")
        elif found["kind"] != "Policy":
            yield document.complaint("error", "lifts", f"rules of `{found['kind']}` cannot be lifted", pointer, hint="`Policy/<document>/<rule>`")
    if not document.spec.lifts:
        yield document.complaint("error", "lifts", "an Exception that lifts nothing", "/spec/lifts")
