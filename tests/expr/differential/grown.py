"""Grows expressions and the data they read, from a seed: mostly well typed, sometimes not, with the values where engines differ.

Every variable is `dyn` to our checker, so that what is compared is how engines run; a constant of a wrong kind would be refused at load.
"""

import random
from datetime import UTC, datetime, timedelta

INTS = ["0", "1", "2", "-1", "7", "100", "9223372036854775807", "-9223372036854775808", "4611686018427387904"]
DOUBLES = ["0.0", "1.0", "2.5", "-0.5", "1e300", "-1e-300", "9223372036854775808.0", "0.1"]
TEXTS = ["''", "'a'", "'ab'", "'gpt-4o'", "'Ünï'", "'a,b,c'", "'12'", "'2.5'", "'true'", "'x y'", "'😀'"]
TIMES = ["t", "timestamp('2026-03-02T10:00:00Z')", "timestamp('1969-12-31T23:59:59.5Z')", "timestamp('2024-02-29T23:30:00+02:00')"]
SPANS = ["d", "duration('1h30m')", "duration('-5s')", "duration('0s')", "duration('1.5s')"]
ZONES = ["'UTC'", "'Europe/Berlin'", "'-08:00'", "'America/New_York'"]
PATTERNS = ["'^a'", "'b$'", "'^gpt-4'", "'[a-c]+'", "'^(a|ab)$'", r"'\\d+'", "'a.b'", "'^[a-z0-9-]+$'", "''"]
LITERALS = {
    "int": INTS, "double": DOUBLES, "string": TEXTS, "bool": ["true", "false"], "null": ["null"], "list": ["[]", "['a', 'b']", "[1, 2.0, 'a']"], "map": ["{}", "{'a': 1}"],
    "timestamp": TIMES, "duration": SPANS,
}  # fmt: skip
OF_TYPE = [(bool, "bool"), (int, "int"), (float, "double"), (str, "string"), (list, "list"), (dict, "map"), (type(None), "null")]
KINDS = ["bool", "int", "double", "string", "list", "map", "null"]
BINDINGS = {
    "i": "int",
    "j": "int",
    "f": "double",
    "g": "double",
    "s": "string",
    "w": "string",
    "b": "bool",
    "e": "bool",
    "n": "null",
    "l": "list",
    "m": "map",
    "x": "any",
    "y": "any",
}


class Grower:
    """One expression over one context. `extensions`: also what lies beyond the standard of the specification."""

    def __init__(self, seed: int, *, extensions: bool) -> None:
        self.random = random.Random(seed)
        self.extensions = extensions
        self.bound: list[str] = []
        self.paths: dict[str, list[str]] = {}

    # ------------------------------------------------------------ data

    def context(self):
        """Bindings for all names."""
        found = {name: self.value(kind, 3) for name, kind in BINDINGS.items()}
        found["m"] |= {key: self.value("any", 2) for key in "abc" if self.random.random() < 0.6}
        for name, held in found.items():
            self.learn(name, held)
        found["t"] = datetime(2026, 3, 1, 22, 30, tzinfo=UTC) + timedelta(seconds=self.random.randint(-(10**8), 10**8))
        found["d"] = timedelta(seconds=self.random.randint(-5000, 5000), milliseconds=self.random.choice([0, 250]))
        return found

    def learn(self, path, held):
        """Note which kind is read at a path."""
        kind = next(kind for types, kind in OF_TYPE if isinstance(held, types))
        self.paths.setdefault(kind, []).append(path)
        for key, inner in held.items() if kind == "map" else ():
            self.learn(f"{path}.{key}" if self.random.random() < 0.7 else f"{path}['{key}']", inner)
        for index, inner in enumerate(held) if kind == "list" else ():
            self.learn(f"{path}[{index}]", inner)

    def value(self, kind, depth):
        pick = self.random.choice
        match kind:
            case "bool":
                return pick([True, False])
            case "int":
                return pick([0, 1, 2, -1, 7, 100, 2**63 - 1, -(2**63), 2**53 + 1])
            case "double":
                return pick([0.0, 1.0, 2.5, -0.5, 1e300, -1e-300, 100.0, 9007199254740992.0])
            case "string":
                return pick(["", "a", "ab", "b", "gpt-4o", "Ünï", "a,b,c", "12", "2.5", "true", "x y", "😀"])
            case "null":
                return None
            case "list":
                inner = pick(["int", "string", "any", "double", "map"]) if depth else "int"
                return [self.value(inner, depth - 1) for _ in range(self.random.randint(0, 3))]
            case "map":
                return {key: self.value("any", depth - 1) for key in ("a", "b", "c", "z") if self.random.random() < 0.5} if depth else {}
        return self.value(pick(KINDS if depth else KINDS[:4]), depth - 1 if depth else 0)

    # ------------------------------------------------------------ expressions

    def grow(self, kind, depth):
        """An expression of a kind, or (rarely) of another."""
        if kind != "any" and depth and self.random.random() < 0.02:
            kind = "any"
        if kind == "any":
            return self.atom("any") if self.random.random() < 0.4 or not depth else self.grow(self.random.choice(KINDS[:6]), depth)
        if not depth or self.random.random() < 0.15:
            return self.atom(kind)
        ways = getattr(self, f"of_{kind}", None)
        return self.random.choice(ways(depth - 1))() if ways else self.atom(kind)

    def atom(self, kind):
        pick, chance = self.random.choice, self.random.random()
        if kind in LITERALS and (chance < 0.35 or not self.paths.get(kind)):
            return pick(LITERALS[kind])
        if self.bound and chance > 0.6:
            return pick([*self.bound, f"{self.bound[-1]}.a"])
        if chance > 0.95 or not self.paths.get(kind):
            return pick([f"m.{pick('abcz')}", f"m.{pick('ab')}.{pick('abz')}", f"l[{pick('012')}]", f"x.{pick('ab')}", pick("xy")])
        return pick(self.paths[kind])

    def wild(self, kind, depth):
        """Of this kind as a rule, else of any, and then never a constant."""
        return self.grow(kind, depth) if self.random.random() < 0.94 else f"dyn({self.grow('any', depth)})"

    def of_bool(self, depth):
        pick, grow, wild = self.random.choice, self.grow, self.wild
        number = pick(["int", "double", "any"])
        kind = pick(["int", "double", "string", "any", "any", "bool", "list", "map", "timestamp", "duration"])
        signs = ["<", "<=", ">", ">=", "==", "!="]
        ways = [
            *[lambda: f"({wild(kind, depth)} {pick(signs if kind not in ('list', 'map', 'bool') else signs[4:])} {wild(kind, depth)})"] * 2,
            *[lambda: f"(dyn({grow(number, depth)}) {pick(signs)} dyn({grow(pick(['int', 'double']), depth)}))"] * 2,
            *[lambda: f"({wild('bool', depth)} {pick(['&&', '||'])} {wild('bool', depth)})"] * 3,
            lambda: f"({' && '.join(wild('bool', depth) for _ in range(3))})",
            lambda: f"!{wild('bool', depth)}",
            lambda: f"({wild('bool', depth)} ? {grow('bool', depth)} : {grow('bool', depth)})",
            lambda: f"(dyn({grow('any', depth)}) in {wild('list', depth)})",
            lambda: f"(dyn({grow(pick(['string', 'int', 'any']), depth)}) in {wild('map', depth)})",
            lambda: f"has({pick(['m', 'x', 'm.a', 'm.b'])}.{pick('abcz')})",
            lambda: f"has({pick(['m', 'm.a'])}.{pick('ab')}.{pick('ab')})",
            lambda: f"{wild('string', depth)}.{pick(['startsWith', 'endsWith', 'contains'])}({wild('string', depth)})",
            lambda: f"{wild('string', depth)}.matches({pick(PATTERNS)})",
            lambda: f"(type(dyn({grow('any', depth)})) == {pick(['int', 'double', 'string', 'bool', 'list', 'map', 'null_type'])})",
            lambda: self.macro(pick(["all", "exists", "exists_one"]), "bool", depth),
            lambda: self.macro(pick(["all", "exists"]), "bool", depth),
            lambda: f"bool({pick(['s', 'w', 'b', repr('true')])})",
        ]  # fmt: skip
        if self.extensions:
            ways += [lambda: f"m.?{pick('abz')}.hasValue()", lambda: f"(m.?a.?{pick('ab')}.orValue({grow('int', 0)}) == {wild('any', depth)})"]
        return ways

    def macro(self, name, body, depth):
        over = self.wild(self.random.choice(["list", "list", "map"]), depth)
        variable = self.random.choice("vq")
        self.bound.append(variable)
        inner = self.grow(body, depth)
        self.bound.pop()
        return f"{over}.{name}({variable}, {inner})"

    def binding(self, kind, depth):
        held = self.wild("any", depth)
        self.bound.append("v")
        body = self.grow(kind, depth)
        self.bound.pop()
        return f"cel.bind(v, {held}, {body})"

    def of_number(self, kind, depth):
        grow, wild, pick = self.grow, self.wild, self.random.choice
        other = "double" if kind == "int" else "int"
        beyond = [
            lambda: f"math.{pick(['greatest', 'least'])}({wild(kind, depth)}, {wild(pick([kind, other]), depth)})",
            lambda: f"math.{pick(['abs', 'sign'] if kind == 'int' else ['abs', 'sign', 'ceil', 'floor', 'round', 'trunc'])}({wild(kind, depth)})",
            lambda: self.binding(kind, depth),
        ]
        return [
            *(beyond if self.extensions else []),
            lambda: f"({wild(kind, depth)} {pick(['+', '-', '*', '/'])} {wild(kind, depth)})",
            lambda: f"({wild(kind, depth)} {pick(['+', '-', '*', '/'])} {wild(kind, depth)})",
            lambda: f"(-({wild(kind, depth)}))",
            lambda: f"{kind}({wild(pick([other, 'string']), depth)})",
            lambda: f"({wild('bool', depth)} ? {grow(kind, depth)} : {grow(kind, depth)})",
        ]

    def of_double(self, depth):
        return self.of_number("double", depth)

    def of_int(self, depth):
        wild, pick = self.wild, self.random.choice
        part = pick(
            ["getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"]
        )
        ways = [
            *self.of_number("int", depth),
            lambda: f"size({wild(pick(['string', 'list', 'map']), depth)})",
            lambda: f"{wild(pick(['string', 'list', 'map']), depth)}.size()",
            lambda: f"({wild('int', depth)} % {wild('int', depth)})",
            lambda: f"{wild('timestamp', depth)}.{part}({pick(['', '', pick(ZONES)])})",
            lambda: f"{wild('duration', depth)}.{pick(['getHours', 'getMinutes', 'getSeconds'])}()",
            lambda: f"int({wild('timestamp', depth)})",
        ]
        if self.extensions:
            ways += [
                lambda: f"{wild('string', depth)}.{pick(['indexOf', 'lastIndexOf'])}({wild('string', depth)})",
                lambda: f"math.{pick(['bitAnd', 'bitOr', 'bitXor'])}({wild('int', depth)}, {wild('int', depth)})",
            ]
        return ways

    def of_string(self, depth):
        grow, wild, pick = self.grow, self.wild, self.random.choice
        ways = [
            lambda: f"({wild('string', depth)} + {wild('string', depth)})",
            lambda: f"string({wild(pick(['int', 'bool', 'string', 'double', 'timestamp', 'duration']), depth)})",
            lambda: f"({wild('bool', depth)} ? {grow('string', depth)} : {grow('string', depth)})",
        ]
        if self.extensions:
            ways += [
                lambda: f"{wild('string', depth)}.{pick(['lowerAscii', 'upperAscii', 'trim', 'reverse'])}()",
                lambda: f"{wild('string', depth)}.substring({pick('0123')})",
                lambda: f"{wild('string', depth)}.replace({pick(TEXTS[:4])}, {pick(TEXTS)})",
                lambda: f"{wild('string', depth)}.charAt({pick('0123')})",
                lambda: f"m.?{pick('abz')}.orValue({grow('string', 0)})",
                lambda: f"{wild('string', depth)}.split({pick(TEXTS[1:6])}).join({pick(TEXTS)})",
                lambda: f"{wild('list', depth)}.join({pick(TEXTS)})",
                lambda: f"m.?{pick('abz')}.optMap(v, string(v)).orValue({grow('string', 0)})",
            ]
        return ways

    def of_list(self, depth):
        wild, grow = self.wild, self.grow
        ways = [
            lambda: "[" + ", ".join(f"dyn({grow('any', depth)})" for _ in range(self.random.randint(0, 3))) + "]",
            lambda: f"({wild('list', depth)} + {wild('list', depth)})",
            lambda: self.macro("filter", "bool", depth),
            lambda: self.macro("map", "any", depth),
        ]
        if self.extensions:
            ways.append(lambda: f"{wild('string', depth)}.split({self.random.choice(TEXTS[:6])})")
        return ways

    def of_map(self, depth):
        return [
            lambda: f"{{'a': {self.grow('any', depth)}, 'b': dyn({self.grow('any', depth)})}}",
            lambda: self.atom("map"),
            lambda: f"{{{self.random.choice('12')}: {self.grow('any', depth)}}}",
        ]

    def of_timestamp(self, depth):
        sign = self.random.choice("+-")
        return [lambda: f"({self.wild('timestamp', depth)} {sign} {self.wild('duration', depth)})", lambda: f"timestamp({self.grow('int', 0)})"]

    def of_duration(self, depth):
        return [
            lambda: f"({self.wild('timestamp', depth)} - {self.wild('timestamp', depth)})",
            lambda: f"({self.wild('duration', depth)} + {self.wild('duration', depth)})",
        ]


def case(seed, *, extensions):
    """(source, context): a condition as a rule, sometimes any value."""
    grower = Grower(seed, extensions=extensions)
    context = grower.context()
    kind = grower.random.choice(["bool", "bool", "bool", *KINDS[:6], "timestamp", "duration"])
    return grower.grow(kind, grower.random.choice([1, 2, 2, 3, 4])), context
