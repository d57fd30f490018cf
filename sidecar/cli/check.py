"""`sidecar check`: everything that is wrong with documents, at once. Exit 0 good, 1 only warnings under --strict, 3 bad configuration.

What it says is what `run` says before it opens a port. It opens none, and dials nobody.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.config.diagnostics import FORMATS, Diagnostic, has_errors, in_reading_order
from sidecar.config.load import LayerFiles, load
from sidecar.errors import ConfigError
from sidecar.workbench.files import read_layers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents; several are laid over one another (default: .)")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="how to tell (default: text)")
    parser.add_argument("--strict", action="store_true", help="warnings count as findings")


def run(args: argparse.Namespace) -> int:
    """Check and tell."""
    try:
        layers = read_layers(args.config or ["."])
        findings, documents = _check(layers)
    except ConfigError as error:
        findings, documents = tuple(item for item in error.diagnostics if isinstance(item, Diagnostic)), 0
    sys.stdout.write(FORMATS[args.format](findings, sys.stdout.isatty()))
    if args.format == "text":
        sys.stderr.write(_summary(findings, documents))
    return _code(findings, strict=args.strict)


def _check(layers: Sequence[LayerFiles]) -> tuple[tuple[Diagnostic, ...], int]:
    now = time.time()
    loaded = load(layers, os.environ, now)
    count = sum(len(layer.documents) for layer in loaded.layers)
    if has_errors(loaded.diagnostics):
        return loaded.diagnostics, count
    from sidecar.compiler import compile_layers  # noqa: PLC0415  (the greater part of the start, and not needed for a typing error)

    compilation = compile_layers(loaded.layers, now=now)
    files = [f"{layer.name}/{name}" for layer in layers for name, _ in layer.files]
    return in_reading_order((*loaded.diagnostics, *compilation.diagnostics), files), count


def _summary(findings: Sequence[Diagnostic], documents: int) -> str:
    errors = sum(item.severity == "error" for item in findings)
    warnings = sum(item.severity == "warning" for item in findings)
    if not errors and not warnings:
        return f"{documents} documents, nothing wrong\n"
    return f"{errors} errors, {warnings} warnings\n"


def _code(findings: Sequence[Diagnostic], *, strict: bool) -> int:
    if has_errors(findings):
        return exits.BAD_CONFIGURATION
    return exits.FINDINGS if strict and any(item.severity == "warning" for item in findings) else exits.OK
