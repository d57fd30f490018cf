"""`sidecar check`: everything that is wrong with documents, at once. Exit 0 good, 1 only warnings under --strict, 3 bad configuration.

What it says is what `run` says before it opens a port, and the lints beside it. It opens no port, and dials nobody.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from sidecar.cli import exits, matrix
from sidecar.config.diagnostics import FORMATS, Diagnostic, has_errors
from sidecar.errors import ConfigError
from sidecar.workbench.check import Findings, check
from sidecar.workbench.files import read_layers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents; several are laid over one another (default: .)")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="how to tell (default: text)")
    parser.add_argument("--strict", action="store_true", help="warnings count as findings")
    parser.add_argument("--coverage", action="store_true", help="print what every rule does where: operations, requests and replies, whole and streamed")
    parser.add_argument("--cost", action="store_true", help="print what the conditions of every document cost at worst, in steps")


def run(args: argparse.Namespace) -> int:
    """Check and tell."""
    try:
        findings = check(read_layers(args.config or ["."]), os.environ, time.time(), rows=args.coverage or args.cost)
    except ConfigError as error:
        findings = Findings(tuple(item for item in error.diagnostics if isinstance(item, Diagnostic)), 0)
    sys.stdout.write(_told(findings, args))
    if args.format == "text":
        sys.stderr.write(_summary(findings.diagnostics, findings.documents))
    return _code(findings.diagnostics, strict=args.strict)


def _told(findings: Findings, args: argparse.Namespace) -> str:
    """The findings, and below them what was asked for beside them; JSON has all of it in one object, SARIF the findings alone."""
    if args.format == "json" and (args.coverage or args.cost):
        return matrix.as_json(findings, coverage=args.coverage, cost=args.cost)
    text = FORMATS[args.format](findings.diagnostics, sys.stdout.isatty())
    if args.format == "text" and args.coverage:
        text += matrix.coverage_text(findings.rows)
    if args.format == "text" and args.cost:
        text += matrix.cost_text(findings.rows)
    return text


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
