"""How a single value is written: plain where nobody can mistake it, in double quotes where quotes are needed.

Quotes say something to the loader (`"5"` is text, `5` a number), so plain text that may be anything but text is never
quoted, and quoted text becomes plain only where every reader of YAML takes it for text. Names that hold `*` or `:`
(patterns, subjects, addresses) are quoted within brackets, as the manual writes them, and digests keep their quotes. Knows
nothing of indentation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sidecar.config import traps

if TYPE_CHECKING:
    from sidecar.workbench.fmt.tree import Scalar

_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null", ""})
_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*( [A-Za-z0-9_./+-]+)*\Z")
_NAME = re.compile(r"[A-Za-z]\S*\Z")
_HEX = re.compile(r"(?=.*\d)[0-9a-f]{8,}\Z")
_FLOW = re.compile(r"[,\[\]{}]")
_FIRST = re.compile(r"[A-Za-z_/(]")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def spelt(scalar: Scalar, *, flow: bool) -> str:
    """The value on one line. `flow`: within brackets."""
    lead = f"&{scalar.anchor} " if scalar.anchor else ""
    if scalar.style == "*":
        return f"*{scalar.text}"
    if not scalar.style:
        return (lead + _plain(scalar.text, flow=flow)).rstrip(" ")
    return lead + (scalar.text if _may_be_plain(scalar, flow=flow) else quoted(scalar.text))


def key(scalar: Scalar) -> str:
    """A key before its colon."""
    if scalar.style == "*":
        return f"*{scalar.text} "
    lead = f"&{scalar.anchor} " if scalar.anchor else ""
    if not scalar.style:
        return lead + (scalar.text or '""')
    plain = _WORD.match(scalar.text) and not ambiguous(scalar.text) and " " not in scalar.text
    return lead + (scalar.text if plain else quoted(scalar.text))


def quoted(text: str) -> str:
    """In double quotes; in single ones where that saves backslashes."""
    if not all(map(_printable, text)):
        return '"' + "".join(_ESCAPES.get(each) or (each if _printable(each) else _escaped(each)) for each in text) + '"'
    return traps.in_quotes(text)


def ambiguous(text: str) -> bool:
    """Whether the plain text is, or may be read as, something else than text."""
    return text.lower() in _WORDS or not _FIRST.match(text) or bool(traps.ambiguous(text))


def _plain(text: str, *, flow: bool) -> str:
    """Plain stays plain, but for a name with `*` or `:` within brackets (numbers, times and words have neither and a letter)."""
    if flow and (_FLOW.search(text) or (_NAME.match(text) and ("*" in text or ":" in text))):
        return quoted(text)
    return text


def _may_be_plain(scalar: Scalar, *, flow: bool) -> bool:
    text = scalar.text
    return not ambiguous(text) and not _HEX.match(text) and (bool(_WORD.match(text)) or (not flow and _sentence(text)))


def _sentence(text: str) -> bool:
    """A text of several words, or a condition, that YAML reads as it stands. A lone name with `*` or `:` keeps its quotes."""
    if " " not in text or not all(map(_printable, text)):
        return False
    hazards = (": ", " #", "  ", "\t", '"', "'", "\\", "{", "}")
    return text == text.strip() and not text.endswith(":") and not any(hazard in text for hazard in hazards)


def _printable(character: str) -> bool:
    return character.isprintable()


def _escaped(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


# ---------------------------------------------------------------- blocks of text


def block(scalar: Scalar) -> tuple[str, list[str]]:
    """The header of a block of text, and its lines without indentation as they were written."""
    header, _, body = scalar.raw.partition("\n")
    lines = body.split("\n")
    told = any(each.isdigit() for each in header.partition("#")[0])
    indent = _indent(lines, scalar.text, told=told)
    lines = [line[indent:] for line in lines]
    chomp = _chomp(scalar.text)
    if chomp == "+":
        lines = lines[:-1]  # what follows the last line end
    while chomp != "+" and lines and not lines[-1]:
        lines.pop()
    first = next((line for line in lines if line), "")
    return scalar.style + ("2" if first.startswith(" ") else "") + chomp, lines


def _indent(lines: list[str], text: str, *, told: bool) -> int:
    """Spaces before the text. Where the header tells them, the first line may begin with spaces of its own: the value has them."""
    first = next((line for line in lines if line.strip(" ")), "")
    written = next((line for line in text.split("\n") if line.strip(" ")), "") if told else ""
    return _spaces(first) - _spaces(written)


def _spaces(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _chomp(text: str) -> str:
    """What the header says of the ends of lines at the end."""
    if text.endswith("\n\n") or text == "\n":
        return "+"
    return "" if text.endswith("\n") else "-"


def broken(text: str, width: int) -> tuple[str, list[str]] | None:
    """A long text, or one of several lines, as a block; None where a block cannot hold it."""
    lines = text.removesuffix("\n").split("\n")
    if not all(line == line.strip() and line.isprintable() for line in lines) or not lines[0]:
        return None
    if len(lines) > 1:
        return ("|" + _chomp(text), lines) if lines[-1] else None
    return None if "  " in text or " " not in text or text.endswith("\n") else (">-", _wrapped(text.split(" "), width))


def _wrapped(words: list[str], width: int) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
