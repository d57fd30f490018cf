"""Patterns of `matches` that match more than they seem to. RE2 has no slow ones: nested quantifiers cost nothing here and are not told.

`$` is the very end of the text in RE2, so that a line break at the end is no way past it either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.compiler.lints.subject import Expression, called, children, dotted, literal
from sidecar.expr import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.lints.subject import Subject
    from sidecar.config.diagnostics import Diagnostic

MODELS: Final = frozenset({"call.model", "call.target", "call.requested_model"})
CALLERS: Final = frozenset({"principal.id", "principal.team", "principal.kind", "source.namespace", "source.pod", "principal.groups", "principal.roles"})
TOOLS: Final = frozenset({"call.tool.name", "call.tool.server"})
NAMES: Final = MODELS | CALLERS | TOOLS
"""What is compared as a name. Of the lists, the elements."""
_ENDS: Final = r"(?:com|org|net|io|dev|ai|co|eu|de|uk|fr|app|cloud|local|internal|lan|corp|example|test|gov|edu)"
_DOMAIN: Final = re.compile(rf"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.{_ENDS}(?![A-Za-z0-9-])")
_DOT: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


class Use(NamedTuple):
    """One `matches`. `name` is the path it looks at; `negated` an odd number of `!` above it."""

    expression: Expression
    call: tree.Call
    pattern: str
    name: str
    negated: bool

    @property
    def literal(self) -> tree.Node:
        """Where the pattern stands."""
        return self.call.args[-1]


def uses(subject: Subject) -> Iterator[Use]:
    """Every `matches` with a literal."""
    return (use for one in subject.expressions for use in uses_of(one))


def uses_of(one: Expression) -> Iterator[Use]:
    """Those of one expression."""
    return _uses(one, one.root, {}, negated=False)


def _uses(one: Expression, node: tree.Node, elements: dict[str, str], *, negated: bool) -> Iterator[Use]:
    if isinstance(node, tree.Call) and node.function == "matches" and (pattern := literal(node.args[-1] if node.args else None)) is not None:
        looked = node.target if node.target is not None else node.args[0]
        path = dotted(looked)
        yield Use(one, node, pattern, elements.get(path, path) or called(looked), negated)
    if isinstance(node, tree.Fold):
        elements = {**elements, **dict.fromkeys(node.names[-1:], dotted(node.over))}
    inside = negated ^ (isinstance(node, tree.Call) and node.function == "!_")
    for child in children(node):
        yield from _uses(one, child, elements, negated=inside)


# ---------------------------------------------------------------- lints


def unanchored(subject: Subject) -> Iterator[Diagnostic]:
    """`call.model.matches("gpt-4")` is true of `not-gpt-4-at-all`. In a deny of tools that may well be meant."""
    for use in uses(subject):
        grants = (use.expression.effect == "allow") is not use.negated
        if use.name not in NAMES or anchored(use.pattern) or (use.name in TOOLS and not grants):
            continue
        bare = use.pattern.removeprefix("^").removeprefix(".*")
        hint = f"`^{bare}` for a beginning, `^{bare}$` for the whole"
        if not re.search(r"[\\^$.|?*+()\[\]{}]", bare):
            hint += f"; `.contains('{bare}')` where anywhere is meant"
        yield use.expression.warning("unanchored", f"this pattern is found anywhere in `{use.name}`", use.literal, hint=hint)


def anchored(pattern: str) -> bool:
    """Whether one end at least is held."""
    bare = re.sub(r"^\(\?[a-zA-Z]+\)", "", pattern)
    start = bare.startswith(("^", "\\A")) and not bare.startswith(("^.*", "\\A.*"))
    end = (bare.endswith("$") and not bare.endswith(("\\$", ".*$"))) or bare.endswith("\\z")
    return start or end


def dots(subject: Subject) -> Iterator[Diagnostic]:
    """`example.com` in a pattern is `example-com` too."""
    for use in uses(subject):
        plain = re.sub(r"\\.|\[[^\]]*\]", "\0\0", use.pattern)
        found = (_DOT if use.name == "url.host" else _DOMAIN).search(plain)
        if found is not None:
            word = found[0].replace(".", "[.]")
            yield use.expression.warning("pattern-dot", f"`.` in `{found[0]}` stands for any character", use.literal, hint=f"`{word}`")


def alternations(subject: Subject) -> Iterator[Diagnostic]:
    """`^a|b$` is `^a` or `b$`."""
    for use in uses(subject):
        ways = branches(use.pattern)
        if len(ways) < 2:
            continue
        starts, ends = [way.startswith("^") for way in ways], [way.endswith("$") and not way.endswith("\\$") for way in ways]
        if (any(starts) and not all(starts)) or (any(ends) and not all(ends)):
            inner = "|".join(way.removeprefix("^").removesuffix("$") for way in ways)
            whole = f"{'^' if any(starts) else ''}({inner}){'$' if any(ends) else ''}"
            yield use.expression.warning("pattern-choice", "`^` and `$` hold one side of `|` alone", use.literal, hint=f"`{whole}`")


def branches(pattern: str) -> list[str]:
    """The alternatives at the top of a pattern."""
    found, depth, inside, start, place = [], 0, False, 0, 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif inside:
            inside = character != "]"
        elif character == "[":
            inside = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and not depth:
            found.append(pattern[start:place])
            start = place + 1
        place += 1
    return [*found, pattern[start:]]
