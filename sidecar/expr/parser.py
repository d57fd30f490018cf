"""Tokens to a syntax tree: precedence climbing, macros recognised where they stand. Its counterpart is the `lexer` below it.

Nesting is bounded at `DEPTH` and the tree's height at `HEIGHT`, so hostile source ends in a clean error and no pass over the
tree recurses deeper than Python allows. Chains of `&&` and `||` are flat and may be as long as the source.
"""

from __future__ import annotations

from typing import Final, Literal

from sidecar.expr import tree
from sidecar.expr.lexer import Token, tokens
from sidecar.expr.problems import ExprError, at
from sidecar.expr.values import INT_MAX, INT_MIN

DEPTH: Final = 32
HEIGHT: Final = 64
LENGTH: Final = 16_384
"""Characters of source."""

RESERVED: Final = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "package",
        "return",
        "var",
        "void",
        "while",
    )
)
_WORDS: Final = {"true": True, "false": False, "null": None}
_LEVELS: Final = {op: level for level, ops in enumerate(("== != < <= > >= in", "+ -", "* / %")) for op in ops.split()}
"""How tightly a binary operator binds."""
_POSTFIXES: Final = frozenset(".[{")
_FOLDS: Final = {
    # macro: (variables, has a test, has a body)
    ("all", 2): (1, True, False),
    ("exists", 2): (1, True, False),
    ("exists_one", 2): (1, True, False),
    ("existsOne", 2): (1, True, False),
    ("filter", 2): (1, True, False),
    ("map", 2): (1, False, True),
    ("map", 3): (1, True, True),
    ("all", 3): (2, True, False),
    ("exists", 3): (2, True, False),
    ("exists_one", 3): (2, True, False),
    ("existsOne", 3): (2, True, False),
    ("transformList", 3): (2, False, True),
    ("transformList", 4): (2, True, True),
    ("transformMap", 3): (2, False, True),
    ("transformMap", 4): (2, True, True),
    ("transformMapEntry", 3): (2, False, True),
    ("transformMapEntry", 4): (2, True, True),
    ("sortBy", 2): (1, False, True),
}
_SLOTS: Final = {"index": 1, "iterVar": 2, "accuVar": 2}
"""Names that optimisers of other compilers write in place of variables, and how many numbers tell them apart."""


def parse(source: str) -> tree.Node:
    """The tree of an expression. Raises ExprError with one problem: after the first syntax error nothing can be trusted."""
    if len(source) > LENGTH:
        raise ExprError([at(source, 0, 1, f"the expression is longer than {LENGTH} characters")])
    return _Parser(source).whole()


class _Parser:
    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.position = 0
        self.peek = self.tokens[0]
        self.depth = 0

    # ------------------------------------------------------------ tokens

    def take(self) -> Token:
        token = self.peek
        if token.kind != "end":
            self.position += 1
            self.peek = self.tokens[self.position]
        return token

    def accept(self, kind: str) -> bool:
        if self.peek.kind != kind:
            return False
        self.position += 1
        self.peek = self.tokens[self.position]
        return True

    def expect(self, kind: str) -> Token:
        if self.peek.kind != kind:
            raise self.unexpected(f"`{kind}`")
        return self.take()

    def unexpected(self, wanted: str) -> ExprError:
        token = self.peek
        if token.kind == "end":
            return self.error(token.start, token.end, f"the expression ends where {wanted} is expected")
        text = self.source[token.start : token.end]
        hint = {"&": "write `&&`", "|": "write `||`", "=": "write `==` to compare"}.get(text, "")
        return self.error(token.start, token.end, f"unexpected `{text[:40]}`, expected {wanted}", hint)

    def error(self, start: int, end: int, message: str, hint: str = "") -> ExprError:
        return ExprError([at(self.source, start, end, message, hint)])

    def above(self, start: int, *children: tree.Node | None) -> int:
        """The height of a node over these children."""
        height = 1
        for child in children:
            if child is not None and child.height >= height:
                height = child.height + 1
        if height > HEIGHT:
            raise self.error(start, start + 1, f"the expression is more than {HEIGHT} steps deep", "split it into `variables`")
        return height

    @property
    def last(self) -> int:
        return self.tokens[self.position - 1].end

    # ------------------------------------------------------------ levels, loosest first

    def whole(self) -> tree.Node:
        node = self.expression()
        if self.peek.kind != "end":
            raise self.unexpected("an operator or the end")
        return node

    def expression(self) -> tree.Node:
        if self.depth > DEPTH:
            raise self.error(self.peek.start, self.peek.end, f"the expression is nested more than {DEPTH} deep")
        self.depth += 1
        test = self.disjunction()
        if self.accept("?"):
            yes = self.disjunction()
            self.expect(":")
            no = self.expression()
            test = tree.Choice(test.start, no.end, self.above(test.start, test, yes, no), test, yes, no)
        self.depth -= 1
        return test

    def disjunction(self) -> tree.Node:
        terms = [self.conjunction()]
        while self.accept("||"):
            terms.append(self.conjunction())
        return self.chain("||", terms) if len(terms) > 1 else terms[0]

    def conjunction(self) -> tree.Node:
        terms = [self.binary(0)]
        while self.accept("&&"):
            terms.append(self.binary(0))
        return self.chain("&&", terms) if len(terms) > 1 else terms[0]

    def chain(self, op: Literal["&&", "||"], terms: list[tree.Node]) -> tree.Node:
        return tree.Logic(terms[0].start, self.last, self.above(terms[0].start, *terms), op, tuple(terms))

    def binary(self, least: int) -> tree.Node:
        left = self.unary()
        while (level := _LEVELS.get(op := self.operator(), -1)) >= least:
            self.take()
            right = self.binary(level + 1)
            name = "@in" if op == "in" else f"_{op}_"
            left = tree.Call(left.start, right.end, self.above(left.start, left, right), name, None, (left, right))
        return left

    def operator(self) -> str:
        token = self.peek
        return "in" if token.kind == "ident" and token.value == "in" else token.kind

    def unary(self) -> tree.Node:
        if self.peek.kind not in ("!", "-"):
            return self.postfix(self.primary())
        op, signs = self.peek.kind, [self.take()]
        while self.peek.kind == op:
            signs.append(self.take())
        if op == "-" and self.peek.kind == "number":
            node = self.postfix(self.negative(signs.pop()))
        elif self.peek.kind in ("!", "-"):
            raise self.unexpected("an operand")
        else:
            node = self.postfix(self.primary())
        for sign in reversed(signs):
            node = tree.Call(sign.start, node.end, self.above(sign.start, node), f"{op}_", None, (node,))
        return node

    def negative(self, sign: Token) -> tree.Node:
        token = self.take()
        if type(token.value) not in (int, float):
            raise self.error(sign.start, token.end, "a `uint` cannot be negative")
        return tree.Constant(sign.start, token.end, 1, -token.value)

    # ------------------------------------------------------------ primaries

    def primary(self) -> tree.Node:
        token = self.take()
        match token.kind:
            case "number":
                if type(token.value) is int and token.value > INT_MAX:
                    raise self.error(
                        token.start, token.end, f"`{token.value}` is out of range for `int`", f"the least is `{INT_MIN}`, the greatest `{INT_MAX}`"
                    )
                return tree.Constant(token.start, token.end, 1, token.value)
            case "text":
                return tree.Constant(token.start, token.end, 1, token.value)
            case "ident":
                return self.name(token, rooted=False)
            case ".":
                return self.name(self.expect("ident"), rooted=True)
            case "(":
                inner = self.expression()
                self.expect(")")
                return inner
            case "[":
                return self.listing(token.start)
            case "{":
                return self.mapped(token.start)
        self.peek = token
        raise self.unexpected("a value")

    def name(self, token: Token, *, rooted: bool) -> tree.Node:
        word = token.value
        if word in _WORDS and not rooted:
            return tree.Constant(token.start, token.end, 1, _WORDS[word])
        if word in RESERVED:
            raise self.error(token.start, token.end, f"`{word}` is a reserved word")
        if self.accept("("):
            return self.call(token.start, word, None, self.arguments(")"))
        return tree.Ident(token.start, token.end, 1, word, rooted)

    def arguments(self, close: str) -> tuple[tree.Node, ...]:
        found: list[tree.Node] = []
        while self.peek.kind != close:
            found.append(self.expression())
            if not self.accept(","):
                break
        self.expect(close)
        return tuple(found)

    def listing(self, start: int) -> tree.Node:
        items: list[tree.Node] = []
        optionals: set[int] = set()
        while self.peek.kind != "]":
            if self.accept("?"):
                optionals.add(len(items))
            items.append(self.expression())
            if not self.accept(","):
                break
        self.expect("]")
        return tree.Listing(start, self.last, self.above(start, *items), tuple(items), frozenset(optionals))

    def mapped(self, start: int) -> tree.Node:
        entries: list[tuple[tree.Node, tree.Node]] = []
        optionals: set[int] = set()
        while self.peek.kind != "}":
            if self.accept("?"):
                optionals.add(len(entries))
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression()))
            if not self.accept(","):
                break
        self.expect("}")
        height = self.above(start, *(n for entry in entries for n in entry))
        return tree.Mapped(start, self.last, height, tuple(entries), frozenset(optionals))

    # ------------------------------------------------------------ postfixes

    def postfix(self, node: tree.Node) -> tree.Node:
        while self.peek.kind in _POSTFIXES:
            if self.accept("."):
                node = self.member(node)
            elif self.accept("["):
                optional = self.accept("?")
                index = self.expression()
                self.expect("]")
                node = tree.Index(node.start, self.last, self.above(node.start, node, index), node, index, optional)
            elif isinstance(node, tree.Ident | tree.Select):
                raise self.error(node.start, self.peek.end, "messages cannot be built in a condition", "a map is written `{'key': value}`")
            else:
                break
        return node

    def member(self, node: tree.Node) -> tree.Node:
        optional = self.accept("?")
        token = self.peek
        if token.kind not in ("ident", "quoted") or token.value in ("in", *_WORDS):
            raise self.unexpected("the name of a field")
        self.take()
        if token.kind == "ident" and not optional and self.accept("("):
            return self.call(node.start, token.value, node, self.arguments(")"))
        return tree.Select(node.start, self.last, self.above(node.start, node), node, token.value, "optional" if optional else "plain")

    # ------------------------------------------------------------ calls and macros

    def call(self, start: int, function: str, target: tree.Node | None, args: tuple[tree.Node, ...]) -> tree.Node:
        if target is None:
            if function == "has":
                return self.has(start, args)
        elif isinstance(target, tree.Ident) and target.name == "cel" and (made := self.of_cel(start, function, args)):
            return made
        elif function in ("optMap", "optFlatMap") and len(args) == 2:
            return self.bind(start, "optMap" if function == "optMap" else "optFlatMap", (args[0], target, args[1]))
        elif (function, len(args)) in _FOLDS and not _qualified(target):
            return self.fold(start, function, target, args)
        return tree.Call(start, self.last, self.above(start, target, *args), function, target, args)

    def of_cel(self, start: int, function: str, args: tuple[tree.Node, ...]) -> tree.Node | None:
        """`cel.bind` and `cel.block`, and the variables of a block: `cel.index(0)` and the like."""
        if function == "bind":
            return self.bind(start, "bind", args)
        if function == "block":
            return self.block(start, args)
        numbers = [a.value for a in args if isinstance(a, tree.Constant) and type(a.value) is int and a.value >= 0]
        if len(numbers) != len(args) or len(args) != _SLOTS.get(function):
            return None
        return tree.Ident(start, self.last, 1, f"cel.{function}({', '.join(map(str, numbers))})")

    def block(self, start: int, args: tuple[tree.Node, ...]) -> tree.Node:
        """`cel.block([a, b], body)` binds `cel.index(0)` to a, `cel.index(1)` to b, each seen by the ones after it."""
        if len(args) != 2 or not isinstance(args[0], tree.Listing) or args[0].optionals:
            raise self.error(start, self.last, "`cel.block` takes a list of values and an expression")
        node = args[1]
        for number, value in reversed(tuple(enumerate(args[0].items))):
            node = tree.Bind(start, self.last, self.above(start, value, node), "bind", f"cel.index({number})", value, node)
        return node

    def has(self, start: int, args: tuple[tree.Node, ...]) -> tree.Node:
        if len(args) != 1 or not isinstance(args[0], tree.Select) or args[0].mode != "plain":
            raise self.error(start, self.last, "`has` takes one field", "write `has(call.tool)`")
        select = args[0]
        return tree.Select(start, self.last, select.height, select.operand, select.field, "test")

    def bind(self, start: int, macro: Literal["bind", "optMap", "optFlatMap"], args: tuple[tree.Node, ...]) -> tree.Node:
        if len(args) != 3:
            raise self.error(start, self.last, "`cel.bind` takes a name, a value and an expression")
        name = self.variable(args[0], macro)
        return tree.Bind(start, self.last, self.above(start, args[1], args[2]), macro, name, args[1], args[2])

    def fold(self, start: int, macro: str, over: tree.Node, args: tuple[tree.Node, ...]) -> tree.Node:
        count, has_test, has_body = _FOLDS[macro, len(args)]
        names = tuple(self.variable(a, macro) for a in args[:count])
        if len(set(names)) < count:
            raise self.error(args[1].start, args[1].end, f"the variables of `{macro}` have the same name")
        test = args[count] if has_test else None
        body = args[-1] if has_body else None
        macro = "exists_one" if macro == "existsOne" else macro
        return tree.Fold(start, self.last, self.above(start, over, test, body), macro, over, names, test, body)

    def variable(self, node: tree.Node, macro: str) -> str:
        if isinstance(node, tree.Ident) and not node.rooted:
            return node.name
        raise self.error(node.start, node.end, f"the variable of `{macro}` must be a plain name")


def _qualified(target: tree.Node) -> bool:
    """`math.all(…)` would be a function of a namespace; none of ours is called like a macro."""
    return isinstance(target, tree.Ident) and target.name in ("cel", "optional")
