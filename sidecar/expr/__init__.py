"""Conditions: a core of the Common Expression Language of our own (DESIGN.md «Conditions: CEL»).

    program = compile("call.tokens < 4000", request_declarations(claims={}, variables={}))
    program({"call": {"tokens": 12}})      # True, False, Fault(message) or UNKNOWN; never raises

The way of an expression: `lexer` → `parser` → `tree` → `check` (types; everything wrong is an error before anything runs)
→ `closures` (with `access`, `binds`, `compare`, `constancy`, `folds`, `literals`, `meter`) → `program`. Beside it: `types` and
`values`, the two sides of a value; `functions`, the table of what can be called; `environment`, what the product's conditions
see; `trace` and `shown`, what each part of an expression gave, for people; `pins`, what an index can use.

It does not know documents, calls or time: bindings come in, a value goes out.
"""

from sidecar.expr.closures import VARYING
from sidecar.expr.declarations import Declarations
from sidecar.expr.pins import Pin
from sidecar.expr.problems import ExprError, Problem
from sidecar.expr.program import Program, compile  # noqa: A004 the verb of DESIGN.md
from sidecar.expr.types import (
    BOOL,
    BYTES,
    CIDR,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    IP,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Field,
    Record,
    Type,
    list_of,
    map_of,
    optional_of,
)
from sidecar.expr.values import UNKNOWN, Duration, Fault, Timestamp, Uint

__all__ = [
    "BOOL",
    "BYTES",
    "CIDR",
    "DOUBLE",
    "DURATION",
    "DYN",
    "INT",
    "IP",
    "NULL",
    "STRING",
    "TIMESTAMP",
    "UINT",
    "UNKNOWN",
    "VARYING",
    "Declarations",
    "Duration",
    "ExprError",
    "Fault",
    "Field",
    "Pin",
    "Problem",
    "Program",
    "Record",
    "Timestamp",
    "Type",
    "Uint",
    "compile",
    "list_of",
    "map_of",
    "optional_of",
]
