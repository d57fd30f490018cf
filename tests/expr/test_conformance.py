"""The conformance tests of the CEL specification (simple.jsonl.gz: one test a line) against our core.

All tests that need no protobuf messages count, one by one. What does not pass is listed in `EXCEPTIONS` with its reason, and the
list may not be longer than it has to be.
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
from sidecar.expr.overload import declared
from sidecar.expr.values import TypeValue, equals, kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.expr.overload import Overload

DATA = Path(__file__).parents[3] / "shared" / "data" / "cel-spec" / "simple.jsonl.gz"
SCALARS = {"bool": BOOL, "int64": INT, "uint64": UINT, "double": DOUBLE, "string": STRING, "bytes": BYTES, "null": NULL, "dyn": DYN}
TOTAL = 1756


def rows() -> list[dict[str, Any]]:
    """The tests that need no protobuf messages."""
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if not row["protobuf"]]


def _type(told: Any, letters: Iterator[str] | None = None) -> Type:
    """A type as the data writes it. Type parameters have lost their names there; `letters` are those names in order."""
    if told == "type_param" and letters is not None:
        return Type("param", name=next(letters))
    if isinstance(told, str):
        return SCALARS[told]
    if "list" in told:
        return list_of(_type(told["list"], letters))
    if "map" in told:
        return map_of(*(_type(part, letters) for part in told["map"]))
    return Type({"optional_type": "optional"}.get(told["abstract"], told["abstract"]), tuple(_type(part, letters) for part in told["params"]))


def _value(told: dict[str, Any]) -> Any:
    ((what, value),) = told.items()
    match what:
        case "list":
            return [_value(v) for v in value]
        case "map":
            return {_value(k): _value(v) for k, v in value}
    make = {"int": int, "uint": lambda v: Uint(int(v)), "double": float, "bytes": base64.b64decode, "type": TypeValue}
    return make.get(what, lambda v: v)(value)


def _names(row: dict[str, Any]) -> dict[str, Type]:
    return {one["name"]: _type(one["type"]) for one in row.get("declare", ()) if "type" in one}


def _functions(row: dict[str, Any]) -> dict[str, tuple[Overload, ...]]:
    """The functions that a test declares; the id of an overload (`tuple_T_U_V`) has the names of its type parameters."""
    found = {}
    for one in row.get("declare", ()):
        made = []
        for overload in one.get("overloads", ()):
            letters = [part for part in overload["id"].split("_") if len(part) == 1 and part.isupper()]
            names = iter(letters)
            params = [_type(param, names) for param in overload["params"]]
            made.append(declared(one["name"], *params, result=_type(overload["result"], iter(letters))))
        if made:
            found[one["name"]] = tuple(made)
    return found


def outcome(row: dict[str, Any]) -> str:
    """`pass`, or what happened instead."""
    declarations = Declarations(_names(row), container=row.get("container", ""), functions=_functions(row))
    try:
        program = expr.compile(row["expr"], declarations, result=DYN, checked=not row.get("disable_check"))
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

MESSAGES = "conditions read records; protobuf messages cannot be built, not even those that the suite counts as plain"
LITERAL = "a pattern is a literal, compiled at load on a linear-time engine; this one is computed"
DATA_LOST = "the data has lost a backslash: the wanted value is that of `\\\\?`"

EXCEPTIONS: dict[tuple[str, str, str], str] = {
    # (file, section, test): why
    ("block_ext", "basic", "call"): LITERAL,
    ("dynamic", "value_null", "literal"): MESSAGES,
    ("parse", "bytes_literals", "triple_single_quoted_unescaped_punctuation"): DATA_LOST,
    ("parse", "bytes_literals", "triple_double_quoted_unescaped_punctuation"): DATA_LOST,
    ("proto2", "literal_singular", "int32_eq_uint"): MESSAGES,
    ("proto2", "literal_singular", "not_int32_eq_uint"): MESSAGES,
    ("proto2", "literal_singular", "int32_eq_double"): MESSAGES,
    ("proto2", "literal_singular", "not_int32_eq_double"): MESSAGES,
    ("proto2", "literal_singular", "uint32_eq_int"): MESSAGES,
    ("proto2", "literal_singular", "not_uint32_eq_int"): MESSAGES,
    ("proto2", "literal_singular", "uint32_eq_double"): MESSAGES,
    ("proto2", "literal_singular", "not_uint32_eq_double"): MESSAGES,
    ("proto2", "literal_singular", "float_eq_int"): MESSAGES,
    ("proto2", "literal_singular", "not_float_eq_int"): MESSAGES,
    ("proto2", "literal_singular", "float_eq_uint"): MESSAGES,
    ("proto2", "literal_singular", "not_float_eq_uint"): MESSAGES,
}
FLOOR = 0.99


def _place(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["file"], row["section"], row["name"]


@pytest.fixture(scope="module")
def results() -> list[tuple[dict[str, Any], str]]:
    if not DATA.exists():
        pytest.skip("the conformance tests of the CEL specification are not beside the repository (../shared/data/cel-spec)")
    return [(row, outcome(row)) for row in rows()]


def test_every_test_passes_or_is_a_known_exception(results):
    surprises = [(*_place(row), row["expr"], got) for row, got in results if got != "pass" and _place(row) not in EXCEPTIONS]
    assert surprises == []


def test_no_exception_is_listed_that_passes(results):
    assert set(EXCEPTIONS) - {_place(row) for row, got in results if got != "pass"} == set()


def test_at_least_99_of_100_pass_with_nothing_left_out_of_the_count(results):
    passed, total = Counter(), Counter()
    for row, got in results:
        total[row["file"]] += 1
        passed[row["file"]] += got == "pass"
    for name in total:
        print(f"{name:20} {passed[name]:4} of {total[name]:4}")
    print(f"{'all':20} {passed.total():4} of {total.total():4}, {passed.total() / total.total():.2%}")
    assert total.total() == TOTAL
    assert passed.total() / total.total() >= FLOOR


def test_an_exception_is_never_answered_wrongly_but_refused_at_load(results):
    refused = [got for row, got in results if EXCEPTIONS.get(_place(row)) in (MESSAGES, LITERAL)]
    assert refused
    assert all(got == "pass" or got.startswith("blocked: ") for got in refused)
