"""Our core against Google's C++ engine and cel-python's interpreter, on grown expressions over grown data.

Every disagreement has a named cause or fails the test; what is true here and an error or false there is told apart. `-m slow` for the long run.
"""

import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import causes
import grown
import oracles

from sidecar.expr import DYN, ExprError, Fault
from sidecar.expr.closures import Builder
from sidecar.expr.parser import parse
from sidecar.expr.program import checked_tree
from sidecar.workbench.celpython import CelPython, Failed, deviation, unsupported

KEPT = [None] * (2_000_000 if sys.version_info < (3, 12) else 0)
"""cel-expr-python 0.1 gives a null back without counting it: on a Python where None can die it would, and the process with it."""
needs_cpp = pytest.mark.skipif(find_spec("cel_expr_python") is None, reason="cel-expr-python is not installed")
needs_celpy = pytest.mark.skipif(find_spec("celpy") is None, reason="cel-python is not installed")


def plain(outcome):
    """What `deviation` looks at, of an outcome of ours: a Fault, a truth or a number, or anything else."""
    if outcome[0] == "error":
        return Fault(outcome[1])
    what, *value = outcome[1]
    return float(value[0]) if what == "double" else value[0] if value else None


def agree(ours, theirs):
    return ours[0] == theirs[0] and (ours[0] == "error" or ours == theirs)


def true_alone(ours, theirs):
    return ours == ("value", ("bool", True)) and theirs in (("value", ("bool", False)), ("error", theirs[1]))


def against_cpp(seeds):
    """How often which cause was met, and what none explains."""
    cpp, met, open_ = oracles.Cpp(), Counter(), []
    for seed in seeds:
        source, context = grown.case(seed, extensions=True)
        ours = oracles.ours(source, context)
        if ours[0] == "refused":
            met["refused by our checker"] += 1
            continue
        theirs = cpp(source, context)
        if agree(ours, theirs):
            met["agreed on a value" if ours[0] == "value" else "agreed on an error"] += 1
            continue
        cause = next((name for name, holds in causes.CPP.items() if holds(causes.Difference(source, context, ours, theirs))), None)
        met[cause] += 1
        met["true here alone"] += true_alone(ours, theirs)
        if cause is None:
            open_.append((seed, source, ours, theirs))
    return met, open_


def against_celpy(seeds):
    celpy, cpp, met, open_ = CelPython(), oracles.Cpp() if find_spec("cel_expr_python") else None, Counter(), []
    for seed in seeds:
        source, context = grown.case(seed, extensions=False)
        ours, why = oracles.ours(source, context), unsupported(source, parse(source))
        if why or ours[0] == "refused":
            met["not comparable" if why else "refused by our checker"] += 1
            continue
        value = celpy.evaluate(source, context | {"d": oracles.span(context["d"])})
        theirs = ("error", str(value)) if isinstance(value, Failed) else ("value", oracles.tagged(value))
        if agree(ours, theirs):
            met["agreed on a value" if ours[0] == "value" else "agreed on an error"] += 1
            continue
        cause = deviation(parse(source), plain(ours), value)
        if not cause and cpp is not None and agree(ours, cpp(source, context)):
            cause = next((name for name, holds in causes.CELPY.items() if holds(causes.Difference(source, context, ours, theirs))), "")
        met[cause] += 1
        if not cause:
            open_.append((seed, source, ours, theirs))
    return met, open_


def told(met):
    return "\n".join(f"{count:8} {name}" for name, count in met.most_common())


class Trying(Builder):
    """Tries every node in an empty frame."""

    def may_fold(self, node):
        return True


def test_what_is_not_tried_at_load_has_no_constant_value():
    for seed in range(1_500):
        source, _ = grown.case(seed, extensions=True)
        try:
            root, checked = checked_tree(source, oracles.DECLARED, DYN)
        except ExprError:
            continue
        trying, built = Trying(checked), Builder(checked)
        trying.build(root)
        built.build(root)
        assert built.constant == trying.constant, source


@needs_cpp
def test_every_disagreement_with_the_engine_in_c_has_a_cause():
    met, unexplained = against_cpp(range(2_000))
    assert not unexplained, unexplained[:5]
    assert met["agreed on a value"] > 1_000, told(met)
    assert met["agreed on an error"] > 200, told(met)


@needs_celpy
def test_every_disagreement_with_cel_python_has_a_cause():
    met, unexplained = against_celpy(range(600))
    assert not unexplained, unexplained[:5]
    assert met["agreed on a value"] > 200, told(met)


@needs_cpp
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", [100_000, 150_000])
def test_a_hundred_thousand_expressions_agree_with_the_engine_in_c(first):
    met, unexplained = against_cpp(range(first, first + 50_000))
    print(told(met))
    assert not unexplained, unexplained[:5]


@needs_celpy
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_expressions_agree_with_cel_python():
    met, unexplained = against_celpy(range(200_000, 220_000))
    print(told(met))
    assert not unexplained, unexplained[:5]
