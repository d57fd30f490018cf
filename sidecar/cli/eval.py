"""`sidecar eval EXPR`: try a condition. Exit 0 true or a value, 1 false, an error or an expression that does not compile, 2 usage.

Without `--bind` it is checked only: its type, its cost, what it reads. FILE is YAML or JSON: a `principal`, a `call` and `now` in the
words of a Test document, or a mapping of any names to values, whose types are then the variables'.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.cli.run import refused
from sidecar.config.diagnostics import FORMATS, Diagnostic, has_errors, render_text
from sidecar.errors import ConfigError
from sidecar.expr import ExprError, Fault
from sidecar.workbench import trial
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled

if TYPE_CHECKING:
    import argparse

    from sidecar.compiler.snapshot import Snapshot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("expression", metavar="EXPR", help="a condition, or any expression; - reads standard input")
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents, for the claims that their Identity declares")
    parser.add_argument("--bind", metavar="FILE", help="the values: `principal`, `call` and `now` as in a Test document, or names with values")
    parser.add_argument("--phase", choices=["request", "response"], default="request", help="which variables there are (default: request)")
    parser.add_argument("--trace", action="store_true", help="tell what each part of the expression gave")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print")


def run(args: argparse.Namespace) -> int:
    """Compile, run and tell."""
    try:
        text = sys.stdin.read() if args.expression == "-" else args.expression
        data = (args.bind, Path(args.bind).read_bytes()) if args.bind is not None else None
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"cannot read the expression or `{args.bind}`: {error}\n")
        return exits.USAGE
    try:
        snapshot = _snapshot(args.config)
    except ConfigError as error:
        return refused(error)
    if snapshot is None:
        return exits.BAD_CONFIGURATION
    try:
        scene = trial.scene(snapshot, args.phase, data, time.time())
    except ConfigError as error:
        sys.stderr.write(render_text([item for item in error.diagnostics if isinstance(item, Diagnostic)], color=sys.stderr.isatty()))
        return exits.USAGE
    return _tried(text, scene, args)


def _snapshot(layers: list[str] | None) -> Snapshot | None:
    if not layers:
        return trial.empty()
    done = compiled(read_layers(layers), os.environ, time.time())
    if has_errors(done.diagnostics):
        sys.stderr.write(render_text(done.diagnostics, color=sys.stderr.isatty()))
    return done.snapshot


def _tried(text: str, scene: trial.Scene, args: argparse.Namespace) -> int:
    try:
        outcome = trial.run(text, scene, traced=args.trace)
    except ExprError as error:
        sys.stdout.write(FORMATS[args.format](trial.problems(text, error), sys.stdout.isatty()))
        return exits.FINDINGS
    print(json.dumps(trial.as_data(outcome), indent=2, ensure_ascii=False) if args.format == "json" else "\n".join(trial.as_text(outcome)))
    no = outcome.ran and (outcome.value is False or isinstance(outcome.value, Fault))
    return exits.FINDINGS if no else exits.OK
