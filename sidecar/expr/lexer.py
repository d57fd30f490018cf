"""Source text to tokens, by the lexis of the CEL specification. Linear: each token has one pattern, chosen by how it begins."""

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


_SPACE = re.compile(r"(?:[ \t\r\n\f]+|//[^\n]*)*")
_IDENT = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_QUOTED = re.compile(r"`([a-zA-Z0-9_.\-/ ]+)`")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+[uU]?|(?:\d*\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)|\d+[uU]?")
_OPERATOR = re.compile(r"&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}]")
_TEXT_START = re.compile(r"([bB][rR]?|[rR][bB]?)?(\"\"\"|'''|\"|')")
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
    position = _skip(source, 0)
    while position < len(source):
        token = _next(source, position)
        found.append(token)
        position = _skip(source, token.end)
    found.append(Token("end", None, len(source), len(source)))
    return found


def _skip(source: str, position: int) -> int:
    match = _SPACE.match(source, position)
    return match.end() if match else position


def _next(source: str, position: int) -> Token:
    if match := _TEXT_START.match(source, position):
        return _text(source, match)
    if match := _IDENT.match(source, position):
        return Token("ident", match.group(), position, match.end())
    if match := _NUMBER.match(source, position):
        return _number(source, match)
    if match := _OPERATOR.match(source, position):
        return Token(match.group(), None, position, match.end())
    if match := _QUOTED.match(source, position):
        return Token("quoted", match.group(1), position, match.end())
    raise ExprError([at(source, position, position + 1, f"unexpected character `{source[position]}`")])


def _number(source: str, match: re.Match[str]) -> Token:
    text, start, end = match.group(), match.start(), match.end()
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
    prefix, quote = (opening.group(1) or "").lower(), opening.group(2)
    rest = _TEXT_REST[quote, "r" in prefix].match(source, opening.end())
    if rest is None:
        raise ExprError([at(source, opening.start(), opening.end(), "this text is not closed", f"end it with {quote}")])
    body = rest.group()[: -len(quote)].replace("\r\n", "\n").replace("\r", "\n")
    value: str | bytes = body
    if "b" in prefix:
        value = body.encode() if "r" in prefix else _unescape_bytes(source, opening.end(), body)
    elif "r" not in prefix:
        value = _unescape(source, opening.end(), body)
    return Token("text", value, opening.start(), rest.end())


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
