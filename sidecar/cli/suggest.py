"""`sidecar suggest RECORDS…`: the least roles that would cover recorded traffic, with tests. Exit 0 done, 1 nothing to suggest or its tests fail.

Read from record files (rotated ones beside them too), written to standard output, or as two files with `-o`. With `-c` names
are shortened by what the platform declares, and the tests are run against its documents with the suggestion laid beside them.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.cli.records import with_rotated
from sidecar.cli.run import refused
from sidecar.config.diagnostics import render_text
from sidecar.errors import ConfigError
from sidecar.workbench import cases
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled
from sidecar.workbench.suggest import known, many, suggest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from sidecar.config.load import LayerFiles
    from sidecar.workbench.suggest import Suggested

POLICY, TESTS = "suggested.yaml", "suggested-tests.yaml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORDS", help="record files, oldest first; rotated ones beside them are found")
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of the platform's documents, to shorten names and to run the tests on")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help=f"write {POLICY} and {TESTS} there; overwrites nothing (default: standard output)")
    parser.add_argument(
        "--min-count", type=_count, default=1, metavar="N", help="leave out what was done in fewer calls, and tell it in a comment (default: 1)"
    )
    parser.add_argument("--tools", action="store_true", help="also suggest grants for tool calls that models proposed (for `default: {toolCall: deny}`)")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Read, suggest, write, and try it."""
    try:
        layers = read_layers(args.config) if args.config else ()
        prepared = compiled(layers, os.environ, time.time()) if layers else None
        if prepared is not None and prepared.snapshot is None:
            sys.stderr.write(render_text(prepared.diagnostics, color=sys.stderr.isatty()))
            return exits.BAD_CONFIGURATION
        platform = known.of(prepared.snapshot) if prepared is not None and prepared.snapshot is not None else None
        made = suggest(_lines(args.records), known=platform, min_count=args.min_count, tools=args.tools)
    except ConfigError as error:
        return refused(error)
    except OSError as error:
        return _usage(f"cannot read `{error.filename}`: {(error.strerror or 'no reason given').lower()}")
    if not made.policy:
        return _nothing(made)
    return _written(made, args.output) or _told(made, layers)


def _usage(message: str) -> int:
    sys.stderr.write(f"sidecar suggest: {message}\n")
    return exits.USAGE


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for path in with_rotated(files):
        with path.open("rb") as file:
            yield from file


def _nothing(made: Suggested) -> int:
    seen = made.seen
    refused, left_out = many(sum(seen.refused.values()), "call"), many(made.left_out, "role")
    sys.stderr.write(f"nothing to suggest: {many(seen.lines, 'line')}, {refused} that rules refuse, {left_out} left out\n")
    sys.stderr.write("".join(f"  {many(lines, 'line')} {reason}\n" for reason, lines in sorted(seen.skipped.items())))
    return exits.FINDINGS


def _written(made: Suggested, folder: Path | None) -> int:
    if folder is None:
        sys.stdout.write("---\n".join(text for text in (made.policy, made.tests) if text))
        return exits.OK
    files = {folder / name: text for name, text in ((POLICY, made.policy), (TESTS, made.tests)) if text}
    if there := next((path for path in files if path.exists()), None):
        return _usage(f"`{there}` is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    except OSError as error:
        return _usage(f"cannot write `{folder}`: {(error.strerror or 'no reason given').lower()}")
    return exits.OK


def _told(made: Suggested, layers: Sequence[LayerFiles]) -> int:
    """A summary, and whether the suggestion holds on the platform's documents."""
    told = f"{many(made.roles, 'role')} for {many(made.calls, 'call')} of {many(len(made.seen.callers), 'caller')}"
    sys.stderr.write(f"{told}; {made.left_out} left out\n")
    if not layers:
        return exits.OK
    first = layers[0]._replace(files=(*layers[0].files, (POLICY, made.policy.encode()), (TESTS, made.tests.encode())))
    tried = compiled((first, *layers[1:]), os.environ, time.time())
    if tried.snapshot is None:
        sys.stderr.write(render_text(tried.diagnostics, color=sys.stderr.isatty()))
        return exits.FINDINGS
    results = [result for test in tried.snapshot.tests if test.name == "suggested" for result in cases.run(tried.snapshot, test)]
    failed = [result for result in results if not result.passed]
    sys.stderr.write("".join(f"FAIL {result.name}: {result.detail}\n" for result in failed))
    sys.stderr.write(f"on {first.name}: {len(results) - len(failed)} of its tests pass, {len(failed)} fail\n")
    return exits.FINDINGS if failed else exits.OK
