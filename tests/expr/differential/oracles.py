"""Our core and the two engines it is compared with, under one interface: source and context to an outcome.

An outcome is ("value", plain), ("error", why) or ("refused", why) for what does not compile. Plain values are tagged by kind, so that 1, 1.0 and true differ.
"""

import math
from datetime import timedelta

from sidecar import expr
from sidecar.expr import DURATION, DYN, TIMESTAMP, Declarations, Duration, ExprError, Fault, Timestamp
from sidecar.expr.values import EPOCH, kind, to_timestamp

NAMES = ("i", "j", "f", "g", "s", "w", "b", "e", "n", "l", "m", "x", "y")
DECLARED = Declarations(dict.fromkeys(NAMES, DYN) | {"t": TIMESTAMP, "d": DURATION})


def tagged(value):
    what = kind(value)
    if what == "list":
        return ("list", tuple(map(tagged, value)))
    if what == "map":
        return ("map", frozenset((tagged(key), tagged(held)) for key, held in value.items()))
    if what == "double":
        return ("double", "nan" if math.isnan(value) else repr(float(value)))
    if what in ("timestamp", "duration"):
        return (what, int(to_timestamp(value)) // 1000 if what == "timestamp" else int(value) // 1000)  # the others keep microseconds
    if what == "optional":
        return ("optional",)
    return (what, str(value) if what == "type" else value)


def span(value):
    return Duration((value // timedelta(microseconds=1)) * 1000)


def ours(source, context):
    try:
        program = expr.compile(source, DECLARED, result=DYN)
    except ExprError as error:
        return ("refused", str(error))
    value = program(context | {"d": span(context["d"])})
    return ("error", value.message) if isinstance(value, Fault) else ("value", tagged(value))


class Cpp:
    """Google's C++ engine, unchecked. An error comes back as a value of type ERROR whose own value is a text, and so true."""

    def __init__(self):
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

        self.cel = cel
        kinds = dict.fromkeys(NAMES, cel.Type.DYN) | {"t": cel.Type.TIMESTAMP, "d": cel.Type.DURATION}
        extensions = [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath(), ext_bindings.ExtBindings()]
        self.env = cel.NewEnv(variables=kinds, extensions=extensions)

    def __call__(self, source, context):
        try:
            program = self.env.compile(source, disable_check=True)
        except RuntimeError as error:
            return ("refused", str(error))
        try:
            value = program.eval(data=context)
            return ("error", value.value()) if value.type() == self.cel.Type.ERROR else ("value", self.tagged(value))
        except (RuntimeError, OverflowError, ValueError) as error:
            return ("error", str(error))

    def tagged(self, value):
        name = value.type().name().partition("<")[0]
        match name:
            case "LIST":
                return ("list", tuple(map(self.tagged, value.value())))
            case "MAP":
                return ("map", frozenset((tagged(key), self.tagged(held)) for key, held in value.value().items()))
            case "UINT":
                return ("uint", value.value())
            case "TIMESTAMP":
                return tagged(Timestamp((value.value() - EPOCH) // timedelta(microseconds=1) * 1000))
            case "DURATION":
                return tagged(span(value.value()))
            case "TYPE":
                return ("type", str(value.value()).lower())
        return tagged(value.value())
