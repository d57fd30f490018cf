"""`sidecar schema`: the JSON Schema of all documents, or of one kind, for editors (`# yaml-language-server: $schema=…`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.config.documents import KINDS
from sidecar.config.schema import text

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--kind", choices=tuple(KINDS), default="", metavar="KIND", help=f"only documents of this kind: {', '.join(KINDS)}")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it to this file (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Print it, or write it."""
    if args.output is None:
        sys.stdout.write(text(args.kind))
        return exits.OK
    try:
        args.output.write_text(text(args.kind), encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"cannot write `{args.output}`: {(error.strerror or 'no reason given').lower()}\n")
        return exits.USAGE
    return exits.OK
