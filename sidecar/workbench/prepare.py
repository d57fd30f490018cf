"""From the files of all layers to a snapshot that passed its own tests. Used by `run`, reload, `check` and the admin API.

One function on purpose: what `check` says is what `run` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.compiler import compile_loaded
from sidecar.config.diagnostics import Diagnostic, in_reading_order
from sidecar.config.load import LayerFiles, load
from sidecar.workbench import cases

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.document import Document


class Prepared(NamedTuple):
    """`snapshot` is None where anything is wrong. `broken` names the layers that errors lie in."""

    snapshot: Snapshot | None
    diagnostics: tuple[Diagnostic, ...]
    layers: tuple[LayerFiles, ...] = ()
    broken: frozenset[str] = frozenset()
    documents: tuple[Document, ...] = ()


def prepare(layers: Sequence[LayerFiles], environ: Mapping[str, str], now: float) -> Prepared:
    """Load, compile and run the embedded tests. `now` is Unix seconds. Never raises on what authors wrote."""
    done = compiled(layers, environ, now)
    if done.snapshot is None:
        return done
    failures = tuple(_failure(result) for test in done.snapshot.tests for result in cases.run(done.snapshot, test) if not result.passed)
    return _failed(layers, (*done.diagnostics, *failures)) if failures else done


def prepare_over(layers: Sequence[LayerFiles], good: Sequence[LayerFiles], environ: Mapping[str, str], now: float) -> Prepared:
    """The same over the last good files of each layer: a later layer that is broken, or breaks a test of another, falls back to them.

    So it can't hold the first one back. `broken` then names the layers that fell back, `diagnostics` say why.
    """
    whole = prepare(layers, environ, now)
    changed = frozenset(layer.name for layer, last in zip(layers[1:], good[1:], strict=True) if layer != last)
    for names in dict.fromkeys((whole.broken & changed, changed)) if whole.snapshot is None else ():
        kept = tuple(last if layer.name in names else layer for layer, last in zip(layers, good, strict=True))
        fallen = prepare(kept, environ, now) if names else whole
        if fallen.snapshot is not None:
            return fallen._replace(diagnostics=whole.diagnostics, broken=names)
    return whole


def compiled(layers: Sequence[LayerFiles], environ: Mapping[str, str], now: float) -> Prepared:
    """The same without running the tests: for `sidecar test`, which tells each result."""
    loaded = load(layers, environ, now)
    compilation = compile_loaded(loaded, now=now)
    diagnostics = in_reading_order((*loaded.diagnostics, *compilation.diagnostics), [f"{layer.name}/{name}" for layer in layers for name, _ in layer.files])
    if compilation.snapshot is None:
        return _failed(layers, diagnostics)
    documents = tuple(document for layer in loaded.layers for document in layer.documents)
    return Prepared(compilation.snapshot, diagnostics, tuple(layers), documents=documents)


def _failed(layers: Sequence[LayerFiles], diagnostics: Sequence[Diagnostic]) -> Prepared:
    owners = {f"{layer.name}/{name}": layer.name for layer in layers for name, _ in layer.files}
    broken = {owners[item.position.file] for item in diagnostics if item.severity == "error" and item.position.file in owners}
    return Prepared(None, tuple(diagnostics), tuple(layers), frozenset(broken))


def _failure(result: cases.CaseResult) -> Diagnostic:
    return Diagnostic("error", "test-failed", f"test `{result.name}` failed: {result.detail}", result.position)
