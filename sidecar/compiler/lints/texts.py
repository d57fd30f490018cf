"""Text operations on what is no plain text: paths, URLs, host names, names that are lower case, letters that look like others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.compiler.lints.patterns import uses_of
from sidecar.compiler.lints.subject import Expression, called, children, dotted, literal, walk
from sidecar.config import letters
from sidecar.expr import tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.compiler.lints.subject import Subject
    from sidecar.config.diagnostics import Diagnostic

FOLDED: Final = frozenset({"call.target", "call.requested_model"})
"""Names that are lower case when conditions see them."""
CLEAN: Final = frozenset({"path.clean", "url.host", "size", "url.private", "path.within"})
"""Functions whose result is safe to look at as text, or no text."""
LINKS: Final = frozenset({"url", "uri", "href", "link", "endpoint", "host", "hostname", "domain", "address", "website", "base_url", "baseurl"})
"""Names of arguments that hold URLs."""
TESTS: Final = frozenset({"startsWith", "endsWith", "contains", "matches"})
_PATH: Final = re.compile(r"\^?(?:~|\.{1,2})?/[\w.-]|[A-Za-z]:\\|\^?\.\.$")
_DOMAIN: Final = re.compile(r"\.?[A-Za-z0-9-]+(?:\\?\.[A-Za-z0-9-]+)*\\?\.[A-Za-z]{2,}/?")
_LINK: Final = re.compile(r"\^?[a-z]{2,10}\??://.")


class Test(NamedTuple):
    """`looked.function("words")`."""

    expression: Expression
    call: tree.Call
    looked: tree.Node
    words: str


def tests(subject: Subject) -> Iterator[Test]:
    """Every text operation with a literal."""
    for one in subject.expressions:
        for node in walk(one.root):
            if isinstance(node, tree.Call) and node.function in TESTS and node.target is not None and len(node.args) == 1:
                words = literal(node.args[0])
                if words is not None:
                    yield Test(one, node, node.target, words)


def of_arguments(one: Expression, node: tree.Node, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a text comes from the arguments of a tool as they are; a variable is what it is made of."""
    if called(node) in CLEAN:
        return False
    path = dotted(node)
    if path == "call.args" or path.startswith("call.args."):
        return True
    root, _, name = path.partition(".")
    if root == "variables" and name in one.variables and name not in seen:
        return of_arguments(one, one.variables[name], seen | {name})
    return any(of_arguments(one, child, seen) for child in children(node))


# ---------------------------------------------------------------- lints


def paths(subject: Subject) -> Iterator[Diagnostic]:
    """`startsWith("/srv")` is true of `/srv/../etc` and of `/srv-old`."""
    for test in tests(subject):
        risky = test.call.function in {"startsWith", "matches"} and _PATH.match(test.words) and "://" not in test.words
        risky = risky or (test.call.function == "contains" and test.words.strip("/\\") == "..")
        if risky and of_arguments(test.expression, test.looked):
            looked = test.expression.text(test.looked)
            climbs = test.words.strip("/\\") == ".."
            hint = f"`path.clean({looked})` resolves it" if climbs else f"`path.within({looked}, '{test.words.removeprefix('^')}')`"
            yield test.expression.warning("raw-path", "this looks at a path as text: `..`, `//` and longer names pass by it", test.call, hint=hint)


def urls(subject: Subject) -> Iterator[Diagnostic]:
    """`contains("example.com")` is true of `https://evil.example/?example.com`."""
    for test in tests(subject):
        named = bool(LINKS & {part.lower() for part in _parts(test.expression, test.looked)})
        if (_LINK.match(test.words) or (named and _DOMAIN.fullmatch(test.words.strip("^$")))) and of_arguments(test.expression, test.looked):
            host = re.sub(r"^.*://", "", test.words.strip("^$").replace("\\", "")).strip("/.").partition("/")[0]
            hint = f"`url.host({test.expression.text(test.looked)}) == '{host}'`"
            yield test.expression.warning("raw-url", "this looks for a host in a URL as text: user info, path and query can hold it too", test.call, hint=hint)


def _parts(one: Expression, node: tree.Node) -> set[str]:
    """Names of the fields that a text is read from."""
    found = {part for each in walk(node) for part in dotted(each).split(".")}
    for name in list(found):
        found |= {part for each in walk(one.variables[name]) for part in dotted(each).split(".")} if name in one.variables else set()
    return found


def hosts(subject: Subject) -> Iterator[Diagnostic]:
    """`url.host(x).endsWith("example.com")` is true of `evilexample.com`."""
    for test in tests(subject):
        if not _host(test.expression, test.looked) or test.call.function == "matches" or not _DOMAIN.fullmatch(test.words):
            continue
        if test.call.function != "endsWith" or not test.words.startswith("."):
            bare, looked = test.words.strip("."), test.expression.text(test.looked)
            hint = f"`{looked} == '{bare}' || {looked}.endsWith('.{bare}')`"
            yield test.expression.warning("host-text", f"other hosts have `{test.words}` in their name too", test.call, hint=hint)


def _host(one: Expression, node: tree.Node) -> bool:
    root, _, name = dotted(node).partition(".")
    return called(node) == "url.host" or (root == "variables" and name in one.variables and called(one.variables[name]) == "url.host")


def cases(subject: Subject) -> Iterator[Diagnostic]:
    """`call.target == "GPT-4o"` is never true: what is asked is folded before anything is matched."""
    for one in subject.expressions:
        for path, constant, words in capitals(one):
            yield one.warning("case", f"`{path}` is lower case: `{words}` is never in it", constant, hint="write it in lower case")


def capitals(one: Expression) -> Iterator[tuple[str, tree.Node, str]]:
    """What is compared with a lower-case name and is not: the name, the literal, its text."""
    for node in walk(one.root):
        for path, constant in _compared(node):
            words = literal(constant)
            if path in FOLDED and words is not None and words != words.casefold():
                yield path, constant, words
    for use in uses_of(one):
        plain = re.sub(r"\\.|\[[^\]]*\]|\(\?[a-zA-Z<>]*", "", use.pattern)
        if use.name in FOLDED and "(?i" not in use.pattern and re.search("[A-Z]", plain):
            yield use.name, use.literal, use.pattern


def _compared(node: tree.Node) -> Iterator[tuple[str, tree.Node]]:
    """Paths with the literals they are compared with."""
    match node:
        case tree.Call(function="_==_" | "_!=_", target=None, args=(left, right)):
            yield from ((dotted(left), right), (dotted(right), left))
        case tree.Call(function="@in", target=None, args=(value, tree.Listing(items=items))):
            yield from ((dotted(value), item) for item in items)
        case tree.Call(function="startsWith" | "endsWith" | "contains", target=tree.Node() as value, args=(words,)):
            yield dotted(value), words


def alike(subject: Subject) -> Iterator[Diagnostic]:
    """A text in a condition with letters that are not what they look like."""
    for one in subject.expressions:
        for node in walk(one.root):
            words = literal(node)
            found = letters.strange(words) if words is not None and not words.isascii() and " " not in words else None
            if found is not None:
                yield one.warning("letters", f"this text {found.message}", node, hint=found.hint)
