"""`sidecar init KIND [DIR]`: write a starter directory, commented, with tests and the schema for editors. Overwrites nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.cli.starters import LATER, SCHEMA, STARTERS
from sidecar.config.schema import text
from sidecar.config.validate import near

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("kind", metavar="KIND", help=f"what the sidecar will stand in front of: {', '.join(STARTERS)}")
    parser.add_argument("directory", nargs="?", default="policies", metavar="DIR", help="where to write (default: policies)")


def run(args: argparse.Namespace) -> int:
    """Write the files, or none where one of them is there already."""
    if args.kind not in STARTERS:
        return _no(LATER.get(args.kind) or _unknown(args.kind))
    root, files = Path(args.directory), {**STARTERS[args.kind], SCHEMA: text()}
    if there := [name for name in files if (root / name).exists()]:
        return _no(f"`{root / there[0]}` is there already; nothing was written")
    try:
        _write(root, files)
    except OSError as error:
        return _no(f"cannot write `{root}`: {(error.strerror or 'no reason given').lower()}")
    print("\n".join(f"wrote {root / name}" for name in files))
    print(_NEXT.format(root=root))
    return exits.OK


def _no(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return exits.USAGE


def _unknown(kind: str) -> str:
    hint = near(kind, (*STARTERS, *LATER))
    return f"no starter is called `{kind}`" + (f", {hint}" if hint else f"; there is: {', '.join(STARTERS)}")


def _write(root: Path, files: Mapping[str, str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with (root / name).open("x", encoding="utf-8") as file:
            file.write(content)


_NEXT = """
next:
  sidecar check -c {root}              # every mistake at once; it is good as it stands
  sidecar test -c {root}               # the Test documents
  export OPENAI_API_KEY=…              # the sidecar puts it on calls; the application never has it
  sidecar run -c {root} --local-key    # serves on 127.0.0.1:4100 and prints what to export
then edit policy.yaml while it runs: a change that loads and passes its tests is live with the next call"""
