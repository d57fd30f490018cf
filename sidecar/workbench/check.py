"""All that `check` says of a configuration: what keeps it from loading, and where it loads, the lints and the rules that no test hits.

For `sidecar check`, and for whoever reviews documents before they are taken (an admission webhook, the admin API). Pure: names, bytes,
environment and time are handed in. Counterpart: `prepare.py`, which stops at what blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.compiler import compile_loaded
from sidecar.compiler.coverage.matrix import Row, matrix
from sidecar.compiler.lints import lint
from sidecar.config.diagnostics import Diagnostic, in_reading_order
from sidecar.config.load import load
from sidecar.workbench import cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sidecar.compiler.coverage.whole import Held, Whole
    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.document import Document
    from sidecar.config.load import LayerFiles

SHOWN = 3
"""Names of rules in one note."""


class Findings(NamedTuple):
    """What was found, in reading order. `rows` is the coverage of all that compiled, where it was asked for; `documents` how many loaded."""

    diagnostics: tuple[Diagnostic, ...]
    documents: int
    rows: tuple[Row, ...] = ()


def check(layers: Sequence[LayerFiles], environ: Mapping[str, str], now: float, *, rows: bool = False) -> Findings:
    """Load, compile, lint. `now` is Unix seconds. Never raises on what authors wrote."""
    loaded = load(layers, environ, now)
    files = [f"{name}/{file}" if name else file for name, held in layers for file, _ in held]
    documents = sum(len(layer.documents) for layer in loaded.layers)
    compilation = compile_loaded(loaded, now=now)
    found = [*loaded.diagnostics, *compilation.diagnostics]
    if compilation.snapshot is None:
        return Findings(in_reading_order(found, files), documents)
    found += lint(compilation.whole)
    found += untested(compilation.snapshot, compilation.whole)
    return Findings(in_reading_order(found, files), documents, matrix(compilation.whole) if rows else ())


# ---------------------------------------------------------------- rules without a test


def untested(snapshot: Snapshot, whole: Whole) -> Iterator[Diagnostic]:
    """Rules that no Test document makes true: one note for each document, so that nobody who has no tests yet drowns in them.

    The tests are run, because only that tells whether a condition was ever true; whether they pass is for `sidecar test` to say. A note
    and no warning: how much must be tested is for `sidecar test --coverage --min` to hold.
    """
    tests = [document for document in snapshot.documents if document.kind == "Test"]
    if not tests:
        return
    hit = {(reason, layer) for document in tests for reason, layer in _hits(snapshot, document)}
    missed: dict[int, list[Held]] = {}
    for held in whole.rules:
        if (held.rule.name, held.rule.layer) not in hit:
            missed.setdefault(id(held.document), []).append(held)
    for rules in missed.values():
        names = list(dict.fromkeys(f"`{held.rule.name}`" for held in rules))
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} others" if len(names) > SHOWN else "")
        yield rules[0].document.complaint("note", "untested", f"no test makes {shown} true", rules[0].pointer, hint="`sidecar test --coverage` tells more")


def _hits(snapshot: Snapshot, test: Document) -> Iterator[tuple[str, str]]:
    """Rules that were true in any case, with their layers."""
    for case in cases.cases_of(test):
        decision = cases.result(snapshot, case).decision
        if decision is not None:
            yield from ((reason.rule, reason.layer) for reason in (*decision.reasons, *decision.would) if reason.result == "true")
