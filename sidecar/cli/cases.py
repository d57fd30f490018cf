"""`sidecar test`: run the `Test` documents, and tell what they leave open.

Exit 0 all passed (and covered, and no mutant survived, where that was asked), 1 not, or there were none, 3 bad configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import compared, exits
from sidecar.cli.records import RECORDS, recorded
from sidecar.cli.run import refused
from sidecar.config.diagnostics import render_text
from sidecar.errors import BadRecord, ConfigError
from sidecar.telemetry.sealing import Opener
from sidecar.workbench import cases, coverage, from_record, mutate, told
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents (default: .)")
    parser.add_argument("--reference", action="store_true", help="run every condition through cel-python too, and tell where the two differ")
    parser.add_argument("--quiet", action="store_true", help="failures and the last line only")
    parser.add_argument("--filter", metavar="PATTERN", default="", help="only cases whose name holds this, or matches it where it has `*`")
    parser.add_argument("--format", choices=tuple(told.FORMATS), default="text", help="how to tell (default: text)")
    parser.add_argument("--coverage", action="store_true", help="tell which rules and conditions no case shows, each with the row to add")
    parser.add_argument("--min", type=percent, metavar="N", help="with --coverage: fail below N percent (floored)")
    parser.add_argument("--mutate", action="store_true", help="change one thing at a time in the policies; fail where the tests do not notice")
    parser.add_argument("--from", dest="decision", metavar="DECISION", help="run nothing: print a Test document made of this recorded decision")
    parser.add_argument(
        "--records", action="append", type=Path, metavar="FILE", help=f"with --from: where it is recorded (default: {RECORDS} in $SIDECAR_STATE)"
    )
    parser.add_argument("--key", type=Path, metavar="PEM", help="with --from: the private key that opens sealed inputs")


def percent(text: str) -> int:
    """A whole number from 0 to 100."""
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError("a whole number from 0 to 100")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run them all; one line per row of the matrix."""
    try:
        prepared = compiled(read_layers(args.config or ["."]), os.environ, time.time())
    except ConfigError as error:
        return refused(error)
    if prepared.snapshot is None:
        sys.stderr.write(render_text(prepared.diagnostics, color=sys.stderr.isatty()) + "\n")
        return exits.BAD_CONFIGURATION
    if args.decision:
        return _written(prepared.snapshot, args)
    found = _found(prepared.snapshot, args)
    sys.stdout.write(told.FORMATS[args.format](found))
    code = exits.OK if _passed(found) else exits.FINDINGS
    return compared.told(prepared.snapshot, code) if args.reference else code


def _written(snapshot: Snapshot, args: argparse.Namespace) -> int:
    """Print the test of a recorded decision; what is wrong with it goes to standard error."""
    from sidecar.server.app import state_directory  # noqa: PLC0415  (the server is not needed to run tests)

    try:
        opener = Opener(args.key.read_bytes()) if args.key is not None else None
        made = from_record.remade(snapshot, recorded(args.decision, args.records or [state_directory(os.environ) / RECORDS]), opener=opener)
    except BadRecord as error:
        sys.stderr.write(f"`{args.decision}` makes no test: {error.message}\n")
        return exits.USAGE
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot read `{getattr(error, 'filename', None) or args.key}`: {getattr(error, 'strerror', None) or error}\n")
        return exits.USAGE
    sys.stdout.write(made.text)
    if made.undecided:
        sys.stderr.write(f"not kept, and it could change the answer: {made.undecided}; put it in, or record with `inputs: facts`\n")
        return exits.UNDECIDABLE
    if made.changed:
        sys.stderr.write("these documents decide otherwise by now\n")
    return exits.OK


def _found(snapshot: Snapshot, args: argparse.Namespace) -> told.Found:
    chosen = [case for test in snapshot.tests for case in cases.cases_of(test) if _named(case.name, args.filter)]
    results = [cases.result(snapshot, case) for case in chosen]
    measured = coverage.measure(snapshot, chosen) if args.coverage or args.min is not None else None
    green = all(result.passed for result in results)
    if args.mutate and not green:
        sys.stderr.write("mutants are tried once every case passes\n")
    mutants = mutate.run(snapshot, chosen) if args.mutate and green else None
    return told.Found(snapshot, results, measured, mutants, args.min or 0, args.quiet)


def _named(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) if "*" in pattern else pattern in name


def _passed(found: told.Found) -> bool:
    covered = found.coverage is None or found.coverage.percent >= found.least
    return bool(found.results) and not found.failed and covered and (found.mutants is None or not found.mutants.survivors)
