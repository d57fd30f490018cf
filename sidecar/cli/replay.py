"""`sidecar replay RECORDS…`: decide recorded calls again and compare with what came out then. Exit 0 all the same, 1 changed, 4 undecidable.

What was not kept is told and never counted as the same; nor is a line that cannot be read. Nothing is dialled and no quota is spent.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.cli import exits
from sidecar.cli.records import with_rotated
from sidecar.cli.run import refused
from sidecar.errors import ConfigError
from sidecar.workbench import traffic
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled
from sidecar.workbench.recorded import Reader
from sidecar.workbench.replay import Decider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.workbench.traffic import Traffic

CODES = {"changed": exits.FINDINGS, "undecidable": exits.UNDECIDABLE, "same": exits.OK}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORDS", help="record files; rotated ones beside them are found")
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents to decide under (default: .)")
    options(parser)


def options(parser: argparse.ArgumentParser) -> None:
    """What `replay` and `diff` share."""
    parser.add_argument("--key", type=Path, metavar="PEM", help="the private key that opens sealed inputs, made by `sidecar keys seal`")
    parser.add_argument("--since", type=moment, default=float("-inf"), metavar="TIME", help="only decisions from this time on: 2026-11-02T10:00:00Z")
    parser.add_argument("--until", type=moment, default=float("inf"), metavar="TIME", help="only decisions before this time")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")


def moment(text: str) -> float:
    """A time as Unix seconds; one without a zone is UTC."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no time such as 2026-11-02T10:00:00Z") from None
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def run(args: argparse.Namespace) -> int:
    """Decide again, and tell."""
    try:
        return compared(args, None, snapshot(args.config or ["."]))
    except ConfigError as error:
        return refused(error)


def snapshot(directories: Sequence[str]) -> Snapshot:
    """The configuration in these layers. Its tests are not run: that is `sidecar test`. Raises ConfigError."""
    made = compiled(read_layers(directories), os.environ, time.time())
    if made.snapshot is None:
        raise ConfigError("the configuration does not load", made.diagnostics)
    return made.snapshot


def compared(args: argparse.Namespace, old: Snapshot | None, new: Snapshot) -> int:
    """Run the records through one configuration or two; the exit code."""
    try:
        opener = _opener(args.key)
        found = traffic.Traffic(Decider(new), Reader(opener), Decider(old) if old is not None else None, since=args.since, until=args.until)
        _read(found, args.records)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"sidecar: {error}\n")
        return exits.USAGE
    report = found.report()
    _tell(report, args.format)
    if not found.decisions and not found.broken:
        sys.stderr.write("there are no decisions in these files and this time\n")
        return exits.USAGE
    return CODES[traffic.code(report)]


def _opener(path: Path | None) -> Any:
    if path is None:
        return None
    from sidecar.telemetry.sealing import Opener  # noqa: PLC0415  (brings `cryptography`)

    return Opener(path.read_bytes())


def _read(found: Traffic, files: Sequence[Path]) -> None:
    for path in with_rotated(files):
        with path.open("rb") as lines:
            found.take(lines, str(path))


def _tell(report: Mapping[str, Any], how: str) -> None:
    print(json.dumps(report, indent=2) if how == "json" else "\n".join(traffic.text(report)))
    for line in report["first_broken"]:
        sys.stderr.write(f"{line}\n")
