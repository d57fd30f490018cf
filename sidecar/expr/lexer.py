"""Source text to tokens, by the lexis of the CEL specification. Linear: one pattern finds the next token, and how it begins tells its kind."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sidecar.expr.problems import ExprError, at
from sidecar.expr.values import INT_MIN, UINT_MAX, Uint


class Token(NamedTuple):
    """`kind` is `ident`, `quoted` (a field in backticks), `number`, `text`, `end`, or the operator itself."""

    kind: str
    value: Any
    start: int
    end: int


_IDENT = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_NUMBER = r"0[xX][0-9a-fA-F]+[uU]?|(?:\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)|\d+[uU]?"
_OPERATOR = r"&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}]"
_OPENING = r"([bB][rR]?|[rR][bB]?)?(\"\"\"|\'\'\'|\"|')"
_SPACE = " \t\r\n\f"
_NEXT = re.compile(
    rf"""[{_SPACE}]*(?:
      ("(?!"")[^"\\\r\n]*"|'(?!'')[^'\\\r\n]*')  # 1: a plain text, whole
    | ({_OPENING})                                  # 2: the beginning of any other
    | ({_IDENT.pattern})                           # 5
    | (//[^\n]*)                                   # 6: a comment
    | ({_OPERATOR}(?!(?<=\.)\d))                   # 7: `.5` is a number
    | ({_NUMBER})                                  # 8
    | `([a-zA-Z0-9_.\-/ ]+)`                       # 9: a quoted field
    )""",
    re.VERBOSE,
)
_PLAIN, _TEXT, _NAME, _COMMENT, _SIGN, _DIGITS, _FIELD = 1, 2, 5, 6, 7, 8, 9
_TEXT_REST = {
    # (quote, raw): the rest of the literal up to its closing quote
    ('"', False): re.compile(r'(?:[^"\\\r\n]|\\[^\r\n])*"'),
    ("'", False): re.compile(r"(?:[^'\\\r\n]|\\[^\r\n])*'"),
    ('"""', False): re.compile(r'(?:[^\\]|\\.)*?"""', re.DOTALL),
    ("'''", False): re.compile(r"(?:[^\\]|\\.)*?'''", re.DOTALL),
    ('"', True): re.compile(r'[^"\r\n]*"'),
    ("'", True): re.compile(r"[^'\r\n]*'"),
    ('"""', True): re.compile(r'.*?"""', re.DOTALL),
    ("'''", True): re.compile(r".*?'''", re.DOTALL),
}
_ESCAPE = re.compile(r"\\(?:([abfnrtv\"'`\\?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|.|$)", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SURROGATES = range(0xD800, 0xE000)


def tokens(source: str) -> list[Token]:
    """All tokens of the source, ending with one of kind `end`. Raises ExprError at the first that is none."""
    found: list[Token] = []
    position = 0
    while match := _NEXT.match(source, position):
        group = match.lastindex or 0
        start, position = match.span(group)
        if group == _NAME:
            found.append(Token("ident", match[_NAME], start, position))
        elif group == _SIGN:
            found.append(Token(match[_SIGN], None, start, position))
        elif group == _PLAIN:
            found.append(Token("text", source[start + 1 : position - 1], start, position))
        elif group != _COMMENT:
            found.append(_other(source, match, group))
            position = found[-1].end
    if rest := source[position:].lstrip(_SPACE):
        position = len(source) - len(rest)
        raise ExprError([at(source, position, position + 1, f"unexpected character `{rest[0]}`")])
    found.append(Token("end", None, len(source), len(source)))
    return found


def _other(source: str, match: re.Match[str], group: int) -> Token:
    if group == _DIGITS:
        return _number(source, match)
    if group == _FIELD:
        return Token("quoted", match[_FIELD], match.start(_FIELD) - 1, match.end(_FIELD) + 1)
    return _text(source, match)


def _number(source: str, match: re.Match[str]) -> Token:
    text, start, end = match[_DIGITS], match.start(_DIGITS), match.end()
    after = _IDENT.match(source, end)
    if after:
        raise ExprError([at(source, start, after.end(), f"`{source[start : after.end()]}` is no number")])
    unsigned, digits = text[-1] in "uU", text.rstrip("uU")
    if digits[:2] in ("0x", "0X"):
        value: Any = int(digits, 16)
    elif digits.isdigit():
        # 2**64 has 20 digits; `int` refuses more than 4300 and this must not
        value = int(digits) if len(digits.lstrip("0")) <= 20 else UINT_MAX + 1
    else:
        return Token("number", float(digits), start, end)
    if value > (UINT_MAX if unsigned else -INT_MIN):
        raise ExprError([at(source, start, end, f"`{text[:40]}` is out of range for `{'uint' if unsigned else 'int'}`")])
    return Token("number", Uint(value) if unsigned else value, start, end)


def _text(source: str, opening: re.Match[str]) -> Token:
    prefix, quote = (opening[_TEXT + 1] or "").lower(), opening[_TEXT + 2]
    rest = _TEXT_REST[quote, "r" in prefix].match(source, opening.end())
    if rest is None:
        raise ExprError([at(source, opening.start(_TEXT), opening.end(), "this text is not closed", f"end it with {quote}")])
    body = rest.group()[: -len(quote)].replace("\r\n", "\n").replace("\r", "\n")
    value: str | bytes = body
    if "b" in prefix:
        value = body.encode() if "r" in prefix else _unescape_bytes(source, opening.end(), body)
    elif "r" not in prefix:
        value = _unescape(source, opening.end(), body)
    return Token("text", value, opening.start(_TEXT), rest.end())


def _unescape(source: str, offset: int, body: str) -> str:
    def one(match: re.Match[str]) -> str:
        simple, *codes, octal = match.groups()
        if simple:
            return _SIMPLE.get(simple, simple)
        code = int(octal, 8) if octal else int(next((c for c in codes if c), "110000"), 16)
        if code > 0x10FFFF or code in _SURROGATES:
            raise _bad_escape(source, offset, match)
        return chr(code)

    return _ESCAPE.sub(one, body) if "\\" in body else body


def _unescape_bytes(source: str, offset: int, body: str) -> bytes:
    parts, position = [], 0
    for match in _ESCAPE.finditer(body):
        parts.append(body[position : match.start()].encode())
        simple, hexadecimal, *unicode, octal = match.groups()
        if not (simple or hexadecimal or octal) or any(unicode):
            raise _bad_escape(source, offset, match)
        parts.append(_SIMPLE.get(simple, simple).encode() if simple else bytes([int(octal, 8) if octal else int(hexadecimal, 16)]))
        position = match.end()
    return b"".join((*parts, body[position:].encode()))


def _bad_escape(source: str, offset: int, match: re.Match[str]) -> ExprError:
    start, end = offset + match.start(), offset + match.end()
    return ExprError([at(source, start, end, f"`{match.group()}` is no escape", r"write `\\` for a backslash, or r'…' for raw text")])
