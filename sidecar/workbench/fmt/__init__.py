"""`sidecar fmt`: documents in one style. Bytes in, text out; `cli/fmt.py` has the files.

The style
---------
- Two spaces per level, lists indented below their key, LF, a line end at the end, no trailing spaces, no byte order mark.
- The envelope in its order (`apiVersion`, `kind`, `metadata`, `spec`), every other field as its author put it: the order
  of rules and fields says something to people, if not to the sidecar. Documents are separated by `---`, none before the first.
- One value that stands for a list is written as the list.
- What was in brackets stays in brackets (`{a: 1, b: [x]}`) where it fits into 160 columns and holds no comment, and
  becomes lines of its own where not. What was on lines of its own stays so.
- Text is plain where no reader of YAML can take it for anything else, in double quotes otherwise, in single ones where
  that saves backslashes. Plain stays plain, but within brackets names with `*` or `:` are quoted: `["gpt-*", "group:eng"]`.
- A condition is one line; where it was written over several and does not fit, a folded block. Blocks of text (`|`, `>`) keep their lines.
- One blank line where there was one or more; none at the start or the end of a document or a level.
- Comments stay, all of them and in their order, indented as what they speak of; a first line for editors (`# yaml-language-server: …`)
  stays the first, and stands again in every further document: language servers read it in each for itself.

Why a printer of our own: ruamel.yaml loses comments within brackets and between a key and its value. `proof` compares what
went in and what came out before anything is written. The parts: `tree` reads, `lists` knows the kinds, `spell` single
values, `printer` lines.
"""

from __future__ import annotations

from typing import NamedTuple

import yaml

from sidecar.config import source
from sidecar.config.diagnostics import Diagnostic, Position
from sidecar.workbench.fmt import lists, printer, proof, tree

__all__ = ["Formatted", "format_documents"]

HARMLESS = frozenset({"secret"})
"""Errors of reading that do not keep a file from being laid out: `check` tells them."""

ROUNDS = 4
"""More than were ever seen to be needed (two, and one that sees that nothing changes)."""


class Formatted(NamedTuple):
    """`text` is None where the file cannot be formatted: `diagnostics` say why. `ours` is the number of documents that are the sidecar's."""

    text: str | None
    diagnostics: tuple[Diagnostic, ...] = ()
    ours: int = 0


def format_documents(name: str, data: bytes) -> Formatted:
    """Lay out one file. `name` is for diagnostics. Never raises on what is in it."""
    read = source.read(name, data)
    ours = sum(_is_ours(root) for root in read.roots) or (read.lost and b"sidecar.dev/" in data)
    problems = tuple(item for item in read.diagnostics if item.severity == "error" and item.code not in HARMLESS)
    if problems:
        return Formatted(None, problems, ours)
    text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    try:
        made = _printed(text)
        lost = proof.difference(tree.parse(text), tree.parse(made)) if made != text else ""
    except yaml.YAMLError:
        lost = "its form"
    if lost:
        message = f"this file was not formatted: {lost} would not be the same afterwards"
        return Formatted(None, (Diagnostic("error", "format", message, Position(name), "this is a bug; the file is as it was"),), ours)
    return Formatted(made, (), ours)


def _printed(text: str) -> str:
    """Until nothing changes: a comment that finds its place in the first round may free the envelope to be ordered in the second."""
    for _ in range(ROUNDS):
        parsed, before = tree.parse(text), text
        for root in parsed.roots:
            lists.arrange(root.node, parsed.comments)
        text = printer.printed(parsed)
        if text == before:
            break
    return text


def _is_ours(root: source.Node) -> bool:
    if not isinstance(root, source.MapNode):
        return False
    _, version = root.entries.get("apiVersion", (None, None))
    return isinstance(version, source.ScalarNode) and version.text.startswith("sidecar.dev/")
