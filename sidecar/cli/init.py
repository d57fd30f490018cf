"""`sidecar init KIND [DIR]`: write a starter directory, commented, with tests. Overwrites nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.cli.starters import STARTERS

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("kind", choices=tuple(STARTERS), help="what the sidecar will stand in front of")
    parser.add_argument("directory", nargs="?", default="policies", metavar="DIR", help="where to write (default: policies)")


def run(args: argparse.Namespace) -> int:
    """Write the files, or none where one of them is there already."""
    root, files = Path(args.directory), STARTERS[args.kind]
    if there := [name for name in files if (root / name).exists()]:
        sys.stderr.write(f"`{root / there[0]}` is there already; nothing was written\n")
        return exits.USAGE
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (root / name).write_text(content, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"cannot write `{root}`: {(error.strerror or 'no reason given').lower()}\n")
        return exits.USAGE
    print("\n".join(f"wrote {root / name}" for name in files))
    print(f"\nnext: sidecar check -c {root}, sidecar test -c {root}, sidecar run -c {root} --local-key")
    return exits.OK
