"""The conformance tests of the CEL specification (simple.jsonl.gz: one test a line) against our core.

What does not pass is listed in `EXCEPTIONS` with its reason, and the list may not be longer than it has to be.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar import expr
from sidecar.expr import BOOL, BYTES, DOUBLE, DYN, INT, NULL, STRING, UINT, Declarations, ExprError, Fault, Type, Uint, list_of, map_of
from sidecar.expr.values import TypeValue, equals, kind

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[3] / "shared" / "data" / "cel-spec" / "simple.jsonl.gz"
SCALARS = {"bool": BOOL, "int64": INT, "uint64": UINT, "double": DOUBLE, "string": STRING, "bytes": BYTES, "null": NULL, "dyn": DYN}


def rows() -> list[dict[str, Any]]:
    """The tests that need no protobuf messages."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if not row["protobuf"] and "unsupported" not in row]


def _type(told: Any) -> Type:
    if isinstance(told, str):
        return SCALARS[told]
    if "list" in told:
        return list_of(_type(told["list"]))
    if "map" in told:
        return map_of(*map(_type, told["map"]))
    return Type({"optional_type": "optional"}[told["abstract"]], tuple(map(_type, told["params"])))


def _value(told: dict[str, Any]) -> Any:
    ((what, value),) = told.items()
    match what:
        case "list":
            return [_value(v) for v in value]
        case "map":
            return {_value(k): _value(v) for k, v in value}
    make = {"int": int, "uint": lambda v: Uint(int(v)), "double": float, "bytes": base64.b64decode, "type": TypeValue}
    return make.get(what, lambda v: v)(value)


def _names(row: dict[str, Any]) -> Iterator[tuple[str, Type]]:
    for one in row.get("declare", ()):
        if "type" in one:
            yield one["name"], _type(one["type"])


def outcome(row: dict[str, Any]) -> str:
    """`pass`, or what happened instead."""
    try:
        program = expr.compile(row["expr"], Declarations(dict(_names(row))), result=DYN)
    except ExprError as error:
        return "pass" if row.get("error") else f"blocked: {error}"
    if "type" in row and program.type != _type(row["type"]):
        return f"type: {program.type}"
    if row.get("check_only"):
        return "pass"
    got = program({name: _value(value) for name, value in row.get("bind", {}).items()})
    if row.get("error"):
        return "pass" if isinstance(got, Fault) else f"value: {got!r}"
    if isinstance(got, Fault):
        return f"fault: {got.message}"
    wanted = _value(row["value"]) if "value" in row else True
    return "pass" if _same(got, wanted) else f"value: {got!r}"


def _same(got: Any, wanted: Any) -> bool:
    if kind(got) != kind(wanted):
        return False
    return equals(got, wanted) or (isinstance(got, float) and math.isnan(got) and math.isnan(wanted))


# ---------------------------------------------------------------- what does not pass

LOAD = "blocked at load: an undeclared name, an unknown function or a type mismatch is never left to run time"
DOTTED = "variables are records with fields; dotted variable names and containers are not part of a condition's environment"
MESSAGES = "conditions read records; protobuf messages cannot be built"
EXACT = "`int` and `double` are compared exactly; the test wants the `int` rounded to a `double` first"

EXCEPTIONS: dict[tuple[str, str, str], str] = {
    # (file, section, test or * for all of the section): why
    ("basic", "variables", "unbound_is_runtime_error"): LOAD,
    ("basic", "functions", "unbound_is_runtime_error"): LOAD,
    ("block_ext", "basic", "*"): "`cel.block` is written by optimisers of other compilers, not by people",
    ("comparisons", "eq_literal", "not_eq_list_length"): LOAD,
    ("comparisons", "lt_literal", "not_lt_dyn_int_big_lossy_double"): EXACT,
    ("comparisons", "gt_literal", "not_gt_dyn_big_double_int"): EXACT,
    ("comparisons", "lte_literal", "lte_dyn_big_double_int"): EXACT,
    ("comparisons", "gte_literal", "gte_dyn_int_big_lossy_double"): EXACT,
    ("dynamic", "value_null", "literal"): MESSAGES,
    ("fields", "qualified_identifier_resolution", "qualified_ident"): DOTTED,
    ("fields", "qualified_identifier_resolution", "map_field_select"): DOTTED,
    ("fields", "qualified_identifier_resolution", "qualified_identifier_resolution_unchecked"): DOTTED,
    ("fields", "qualified_identifier_resolution", "ident_with_longest_prefix_check"): DOTTED,
    ("logic", "conditional", "mixed_type"): LOAD,
    ("logic", "AND", "short_circuit_type_left"): LOAD,
    ("logic", "AND", "short_circuit_type_right"): LOAD,
    ("logic", "OR", "short_circuit_type_left"): LOAD,
    ("logic", "OR", "short_circuit_type_right"): LOAD,
    ("namespace", "qualified", "*"): DOTTED,
    ("namespace", "namespace", "*"): DOTTED,
    ("namespace", "namespace_shadowing", "basic"): DOTTED,
    ("namespace", "namespace_shadowing", "comprehension_shadowing_namespaced_selector_disambiguation"): DOTTED,
    ("network_ext", "ip_type", "*"): "`ip` and `cidr` values are not built yet; `net.inRange` and `url.private` are",
    ("network_ext", "ipv4", "*"): "as ip_type",
    ("network_ext", "ipv6", "*"): "as ip_type",
    ("network_ext", "cidr", "*"): "as ip_type",
    ("parse", "bytes_literals", "triple_single_quoted_unescaped_punctuation"): "the test has lost a backslash: the wanted value is that of `\\\\?`",
    ("parse", "bytes_literals", "triple_double_quoted_unescaped_punctuation"): "as the single quoted one",
    ("parse", "receiver_function_names", "*"): LOAD,
    ("proto2", "literal_singular", "*"): MESSAGES,
    ("string_ext", "format", "map support (all key types)"): "a Python dict holds `1` and `true` to be one key, so a map with both is an error",
    ("type_deductions", "functions", "function_result_type"): "the test declares a function of its own",
    ("type_deductions", "type_parameters", "*"): "the tests declare functions of their own",
    ("type_deductions", "legacy_nullable_types", "*"): "a list of an optional and null is `list(dyn)`",
}
FLOOR = 0.99
"""Of the tests of the core, exceptions included in the count only where they are of the core."""
OUTSIDE = frozenset({"block_ext", "network_ext", "proto2", "namespace"})


def _reason(row: dict[str, Any]) -> str | None:
    place = (row["file"], row["section"])
    return EXCEPTIONS.get((*place, row["name"])) or EXCEPTIONS.get((*place, "*"))


@pytest.fixture(scope="module")
def results() -> list[tuple[dict[str, Any], str]]:
    if not DATA.exists():
        pytest.skip("the conformance tests of the CEL specification are not beside the repository (../shared/data/cel-spec)")
    return [(row, outcome(row)) for row in rows()]


def test_every_test_passes_or_is_a_known_exception(results):
    surprises = [(row["file"], row["section"], row["name"], row["expr"], got) for row, got in results if got != "pass" and not _reason(row)]
    assert surprises == []


def test_no_exception_is_listed_that_is_none(results):
    failing = {place for row, got in results if got != "pass" for place in ((row["file"], row["section"], row["name"]), (row["file"], row["section"], "*"))}
    assert set(EXCEPTIONS) - failing == set()


def test_what_the_checker_blocks_is_blocked_and_never_answered_differently(results):
    blocked = [(row["expr"], got) for row, got in results if _reason(row) == LOAD and got != "pass"]
    assert blocked
    assert all(got.startswith("blocked: ") for _, got in blocked)


def test_the_share_of_the_core_that_passes_is_above_the_floor(results):
    passed, total = Counter(), Counter()
    for row, got in results:
        total[row["file"]] += 1
        passed[row["file"]] += got == "pass"
    for name in total:
        print(f"{name:20} {passed[name]:4} of {total[name]:4}")
    applies = [(row, got) for row, got in results if row["file"] not in OUTSIDE and _reason(row) not in (LOAD, DOTTED, MESSAGES)]
    share = sum(got == "pass" for _, got in applies) / len(applies)
    print(f"{'what applies':20} {share:.2%} of {len(applies)}; all {sum(passed.values())} of {sum(total.values())}")
    assert share >= FLOOR
