"""`sidecar records verify FILE…`: whether decision records are as they were written. Exit 0 yes, 1 no, 2 a file cannot be read.

Rotated files (`FILE.1` …) beside a FILE are read with it, oldest first. The key is `records.pub` beside the first FILE
unless `--key` names another: who can change records can change that one too, so keep a copy where they cannot.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.errors import BadRecord
from sidecar.telemetry import record
from sidecar.telemetry.seal import PUBLIC
from sidecar.telemetry.verify import verify

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from sidecar.telemetry.verify import Report, Strand

RECORDS = "decisions.jsonl"
"""Where decisions are written unless Settings say otherwise, in the state directory."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("action", choices=["verify"], help="verify: check hash chains and signed checkpoints")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="record files, oldest first; rotated ones beside them are found")
    parser.add_argument("--key", type=Path, metavar="PEM", help=f"public key of the checkpoints (default: {PUBLIC} beside the first FILE)")
    parser.add_argument("--strict", action="store_true", help="also fail where lines are covered by no signed checkpoint, or the start is not in the files")


def run(args: argparse.Namespace) -> int:
    """Verify; one line per finding, one per chain, and a last one that says it all."""
    try:
        key = _key(args.key, args.files[0])
        report = verify(list(with_rotated(args.files)), key)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"sidecar records: {error}\n")
        return exits.USAGE
    for line in told(report):
        print(line)
    doubtful = not report.checked_signatures or any(strand.unsigned or strand.first for strand in report.chains.values())
    return exits.FINDINGS if not report.ok or (args.strict and doubtful) else exits.OK


def _key(named: Path | None, first: Path) -> bytes | None:
    if named is not None:
        return named.read_bytes()
    beside = first.parent / PUBLIC
    return beside.read_bytes() if beside.exists() else None


def with_rotated(files: Sequence[Path]) -> Iterator[Path]:
    """Each file after the rotated ones beside it, highest number (oldest) first; none twice."""
    seen: set[Path] = set()
    for file in files:
        numbered = [other for other in file.parent.glob(f"{file.name}.*") if other.name.removeprefix(f"{file.name}.").isdigit()]
        for path in (*sorted(numbered, key=lambda other: -int(other.suffix[1:])), file):
            if path not in seen and path not in files[: files.index(file)]:
                seen.add(path)
                yield path


def recorded(decision: str, files: Sequence[Path]) -> record.Record:
    """The last line of this decision. Raises BadRecord where there is none, and OSError."""
    named, found = decision.encode(), None
    for file in with_rotated(files):
        with file.open("rb") as held:
            found = next((line for line in held if named in line and record.parse(line).get("id") == decision), found)
    if found is None:
        raise BadRecord(f"it is not in {', '.join(str(file) for file in files)}")
    return record.read(found)


def told(report: Report) -> Iterator[str]:
    """The report as lines."""
    for problem in report.problems:
        yield f"{problem.file}:{problem.line}: {problem.message}" + (f" (chain {problem.chain})" if problem.chain else "")
    for strand in report.chains.values():
        yield f"chain {strand.id}: {strand.state}, lines {strand.first}..{strand.next - 1}{_notes(strand)}"
    if not report.checked_signatures:
        yield "signatures were not checked: there is no public key"
    yield f"{report.lines} lines, {len(report.chains)} chains, " + (f"{len(report.problems)} problems" if report.problems else "nothing was changed")


def _notes(strand: Strand) -> str:
    notes = ""
    if strand.first:
        notes += f"; lines before {strand.first} are not in these files"
    if strand.unsigned:
        notes += f"; the last {strand.unsigned} are covered by no checkpoint"
    return notes
