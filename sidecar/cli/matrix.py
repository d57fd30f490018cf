"""The coverage matrix and the costs as text and JSON. Counterpart: `compiler/coverage/matrix.py`, which makes the rows."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sidecar.config.diagnostics import as_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.compiler.coverage.matrix import Cell, Row
    from sidecar.workbench.check import Findings

WORDS = {
    "runs": "",
    "end": "held to the end",
    "would": "recorded only",
    "never": "never true on",
    "idle": "changes nothing on",
    "refuses": "refused on",
    "part": "refused in part on",
}
"""States of a cell, as people say them."""


def coverage_text(rows: Sequence[Row]) -> str:
    """One block for each rule: where it runs, whole and streamed, and where not."""
    return "".join("\n".join(_block(row)) + "\n" for row in rows)


def _block(row: Row) -> Iterator[str]:
    audit = " (audit)" if row.mode == "audit" else ""
    yield f"{row.name}: {row.effect}{audit}, {row.where}"
    for direction in ("request", "reply"):
        for state, word in WORDS.items():
            same = [cell for cell in row.cells if (cell.place.direction, cell.state) == (direction, state)]
            for why, cells in groupby(same, key=lambda cell: cell.why if cell.state in {"idle", "refuses", "part"} else ""):
                yield f"    {direction:<8}" + (f"{word} " if word else "") + ", ".join(_shapes(cells)) + (f": {why}" if why else "")
    if left := dict.fromkeys(cell.place.operation for cell in row.cells if cell.state == "out" and cell.why):
        yield "    left out " + ", ".join(f"{operation} (`*` never includes it)" for operation in left)


def _shapes(cells: Iterable[Cell]) -> Iterator[str]:
    """`chat whole+stream`."""
    for name, same in groupby(cells, key=lambda cell: cell.place.name):
        yield f"{name} " + "+".join(cell.shape for cell in same)


def cost_text(rows: Sequence[Row]) -> str:
    """One line for each document: the sum over its rules, and the dearest of them."""
    lines = []
    for document, total, dearest in _costs(rows):
        lines.append(f"{total:>9} steps  {document}" + (f", the dearest is {dearest.name} with {dearest.cost}" if dearest.cost else ""))
    return "".join(line + "\n" for line in lines)


def _costs(rows: Sequence[Row]) -> Iterator[tuple[str, int, Row]]:
    for (layer, document), held in groupby(sorted(rows, key=lambda row: (row.layer, row.document)), key=lambda row: (row.layer, row.document)):
        found = list(held)
        yield f"{document} ({layer})" if layer else document, sum(row.cost for row in found), max(found, key=lambda row: row.cost)


def as_json(findings: Findings, *, coverage: bool, cost: bool) -> str:
    """The findings, and `coverage` and `cost` beside them."""
    whole: dict[str, Any] = {"diagnostics": [as_dict(item) for item in findings.diagnostics]}
    if coverage:
        whole["coverage"] = [_row(row) for row in findings.rows]
    if cost:
        whole["cost"] = [{"document": document, "steps": total, "dearest": row.name} for document, total, row in _costs(findings.rows)]
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    head = {name: getattr(row, name) for name in ("name", "kind", "effect", "mode", "where", "layer", "document", "cost")}
    return head | {"cells": [_cell(cell) for cell in row.cells]}


def _cell(cell: Cell) -> dict[str, str]:
    place = cell.place
    named = {"protocol": place.protocol, "operation": place.operation, "phase": place.phase, "direction": place.direction}
    return named | {"shape": cell.shape, "state": cell.state} | ({"why": cell.why} if cell.why else {})
