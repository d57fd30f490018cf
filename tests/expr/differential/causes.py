"""Why engines differ, where they do: each cause by name, with the predicate that recognises it. What no cause explains fails the test.

Ours is right in all of these by the specification, or the specification leaves it open; what was wrong in ours is not here, it was mended.
"""

import re
from typing import NamedTuple

from sidecar.expr import tree
from sidecar.expr.parser import parse


class Difference(NamedTuple):
    """One disagreement with an oracle. Outcomes are those of `oracles`."""

    source: str
    context: dict
    ours: tuple
    theirs: tuple

    def calls(self, *names):
        return any(isinstance(node, tree.Call) and node.function in names for node in tree.walk(parse(self.source)))

    def values(self):
        return self.ours[0] == self.theirs[0] == "value"


def _unordered(outcome):
    """The outcome with the order of lists forgotten."""
    return tuple(sorted(map(str, map(_unordered, outcome)))) if isinstance(outcome, tuple | frozenset) else outcome


def _walks_a_map(d):
    return re.search(r"\.(map|filter)\(", d.source) is not None and d.values() and _unordered(d.ours) == _unordered(d.theirs)


def _joins_a_map(d):
    return re.search(r"\.(map|filter)\(.*\.join\(", d.source) is not None and d.values()


def _keeps_an_element(d):
    """`[1, 2].all(q, false) ? 0 : cel.bind(v, 5, v)` is 2 there: the element that `all` did not come to."""
    return re.search(r"\.(all|exists)\(.*(cel\.bind|\.optMap)\(", d.source) is not None


def _rounds(d):
    """A truth about an int that no double can be, or which is the greater."""
    large = re.search(r"\d{16}", f"{d.source} {d.context}")
    compared = d.values() and d.ours[1][0] == "bool" and d.calls("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in")
    return large is not None and (compared or d.calls("greatest", "least"))


CPP = {
    "cel-cpp takes `!!x` for x, whatever it is": lambda d: "!!" in d.source.replace("(", ""),
    "the order in which a map is walked is open": _walks_a_map,
    "the order in which a map is walked is open, and it was joined": _joins_a_map,
    "how `string()` writes fractions and exponents is open": lambda d: (
        d.calls("string") and (d.values() or d.calls("double", "int", "bool", "timestamp", "duration"))
    ),
    "cel-cpp has `int(bool)`": lambda d: d.calls("int") and d.ours == ("error", "`int` is not defined for `bool`"),
    "cel-cpp takes numbers with spaces around them, in hexadecimal, and '' for one": lambda d: (
        d.ours[0] == "error" and "is no number" in d.ours[1] + d.ours[1].replace("integer", "number")
    ),
    "''.split('') is [] in cel-go and [''] in cel-cpp": lambda d: d.calls("split") and "split('')" in d.source,
    "this build of cel-cpp has no lists extension": lambda d: d.calls("reverse") and "(list).reverse()" in str(d.theirs[1]),
    "cel-cpp runs what `cel.bind` binds only where it is used; the library leaves it open": lambda d: "cel.bind(" in d.source and d.ours[0] == "error",
    "cel-cpp binds a name to an element that a macro before it left over": _keeps_an_element,
    "cel-cpp compares an int with a double by rounding the int": _rounds,
}
CELPY = {
    "`string` writes in Python's way": lambda d: d.values() and d.calls("string"),
    "`int` of a time before 1970 is rounded up": lambda d: d.values() and d.calls("int") and d.calls("timestamp"),
    "true equals 1, as in Python": lambda d: d.values() and d.ours[1][0] == "bool" and d.calls("_==_", "_!=_", "@in"),
}
"""Beyond `celpython.DEVIATIONS`, and only where C++ says what we say."""
