"""`sidecar explain CALL.json|DECISION`: why a call is decided as it is, and the smallest change that would be allowed. Exit 0 allow, 1 deny.

CALL.json is `{"principal": {…}, "call": {…}, "quota": {…}, "now": …}` in the words of a Test document. DECISION is the id of a recorded
decision (`d_…`): it is decided again from what was kept; exit 4 where that does not suffice. Asks no store and sends nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.cli import exits
from sidecar.cli.explained import Style, lines, page
from sidecar.cli.records import RECORDS, recorded
from sidecar.cli.run import refused
from sidecar.errors import BadRecord, ConfigError
from sidecar.server.app import state_directory
from sidecar.telemetry.sealing import Opener
from sidecar.workbench import explain
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sidecar.compiler.snapshot import Snapshot


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents (default: .)")
    parser.add_argument("call", metavar="CALL.json|DECISION", help="a file, - for standard input, or the id of a recorded decision")
    parser.add_argument("--records", action="append", type=Path, metavar="FILE", help=f"where the decision is recorded (default: {RECORDS} in $SIDECAR_STATE)")
    parser.add_argument("--key", type=Path, metavar="PEM", help="the private key that opens sealed inputs of records")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print (default: text)")
    parser.add_argument("--depth", type=int, metavar="N", help="levels to tell of every condition (default: as many as matter)")
    parser.add_argument("--all", action="store_true", help="every level of every condition, every rule that was nearly considered, every way")
    parser.add_argument("--bound", type=int, metavar="N", default=explain.BOUND, help=f"decisions that the search may take (default: {explain.BOUND})")


def run(args: argparse.Namespace) -> int:
    """Decide and tell."""
    try:
        tree = _told(args, _snapshot(args.config or ["."]))
    except ConfigError as error:
        return refused(error)
    except BadRecord as error:
        return _usage(f"`{args.call}` cannot be explained: {error.message}")
    except OSError as error:
        return _usage(f"cannot read `{error.filename or args.call}`: {error.strerror or error}")
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return _usage(f"cannot read `{args.call}`: {error}")
    except (KeyError, TypeError, ValueError) as error:
        return _usage(f"`{args.call}` is no call to explain: {error}")
    sys.stdout.write(json.dumps(tree, indent=2) + "\n" if args.format == "json" else page(lines(tree, style(args))))
    if tree.get("undecided"):
        return exits.UNDECIDABLE
    return exits.OK if tree["effect"] == "allow" else exits.FINDINGS


def _usage(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return exits.USAGE


def _snapshot(directories: Sequence[str]) -> Snapshot:
    """The configuration, whether its tests pass or not: a test that fails is what one comes to have explained. Raises ConfigError."""
    made = compiled(read_layers(directories), os.environ, time.time())
    if made.snapshot is None:
        raise ConfigError("the configuration does not load", made.diagnostics)
    return made.snapshot


def _told(args: argparse.Namespace, snapshot: Snapshot) -> dict[str, Any]:
    if args.call.startswith("d_") and not Path(args.call).exists():
        opener = Opener(args.key.read_bytes()) if args.key is not None else None
        found = recorded(args.call, args.records or [state_directory(os.environ) / RECORDS])
        return explain.explained_record(snapshot, found, opener=opener, bound=args.bound).tree
    asked = json.loads(sys.stdin.read() if args.call == "-" else Path(args.call).read_text(encoding="utf-8"))
    return explain.explain(snapshot, asked, now=time.time(), bound=args.bound)


def style(args: argparse.Namespace) -> Style:
    """Colours and the width on a terminal alone (https://no-color.org)."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 0
    return Style(width, terminal and not os.environ.get("NO_COLOR"), args.depth, args.all)
