"""Reads the conformance tests of the CEL specification (simple.jsonl.gz: one test a line) and runs one against our core."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.expr import BOOL, BYTES, DOUBLE, DYN, INT, NULL, STRING, UINT, Declarations, ExprError, Fault, Type, Uint, compile, list_of, map_of
from sidecar.expr.values import TypeValue, equals, kind

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
        program = compile(row["expr"], Declarations(dict(_names(row))), result=DYN)
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
