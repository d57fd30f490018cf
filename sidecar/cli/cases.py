"""`sidecar test`: run the `Test` documents. Exit 0 all passed, 1 one failed or there were none, 3 bad configuration."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from sidecar.cli import compared, exits
from sidecar.cli.run import refused
from sidecar.config.diagnostics import render_text
from sidecar.errors import ConfigError
from sidecar.workbench import cases
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents (default: .)")
    parser.add_argument("--reference", action="store_true", help="run every condition through cel-python too, and tell where the two differ")
    parser.add_argument("--quiet", action="store_true", help="failures and the last line only")


def run(args: argparse.Namespace) -> int:
    """Run them all; one line per row of the matrix."""
    try:
        prepared = compiled(read_layers(args.config or ["."]), os.environ, time.time())
    except ConfigError as error:
        return refused(error)
    if prepared.snapshot is None:
        sys.stderr.write(render_text(prepared.diagnostics, color=sys.stderr.isatty()) + "\n")
        return exits.BAD_CONFIGURATION
    results = [result for test in prepared.snapshot.tests for result in cases.run(prepared.snapshot, test)]
    for result in results:
        if not result.passed or not args.quiet:
            print(f"{'ok  ' if result.passed else 'FAIL'} {result.name}" + ("" if result.passed else f"\n     {_where(result)} {result.detail}"))
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    code = exits.OK if results and not failed else exits.FINDINGS
    return compared.told(prepared.snapshot, code) if args.reference else code


def _where(result: cases.CaseResult) -> str:
    return f"{result.position.file}:{result.position.line}:{result.position.column}:"
