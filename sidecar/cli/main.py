"""`sidecar`: the table of commands. A command's module is imported when it is asked for, so that each starts fast.

A command is one file with `configure(parser)` and `run(arguments) -> int`, and one line here. Knows nothing of what they do.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from sidecar import __version__
from sidecar.cli import exits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Line(NamedTuple):
    """One command: the module that is it, and its help."""

    module: str
    help: str


COMMANDS: Mapping[str, Line] = {
    "run": Line("sidecar.cli.run", "serve; the embedded quickstart without -c"),
    "exec": Line("sidecar.cli.exec", "serve, and run a command against it with a key of its own"),
    "check": Line("sidecar.cli.check", "check documents: fields, types, references, conditions"),
    "test": Line("sidecar.cli.cases", "run Test documents"),
    "explain": Line("sidecar.cli.explain", "tell which rules decide a call, and where they stand"),
    "replay": Line("sidecar.cli.replay", "decide recorded calls again; what changes, by which rule"),
    "diff": Line("sidecar.cli.diff", "compare two configurations, as documents or on recorded traffic"),
    "suggest": Line("sidecar.cli.suggest", "the least roles, with tests, that would cover recorded traffic"),
    "fmt": Line("sidecar.cli.fmt", "bring documents into one style; comments stay"),
    "eval": Line("sidecar.cli.eval", "try a condition, or any expression, on values from a file"),
    "schema": Line("sidecar.cli.schema", "print the JSON Schema of all documents"),
    "init": Line("sidecar.cli.init", "write a starter directory of documents with tests"),
    "keys": Line("sidecar.cli.keys", "make an API key and the entry that admits it"),
    "records": Line("sidecar.cli.records", "verify decision records"),
}
"""The visible table of commands."""


class Command(Protocol):
    """What a command's module has."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes are those of `exits`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return exits.OK if arguments else exits.USAGE
    if arguments[0] in ("-V", "--version", "version"):
        sys.stdout.write(f"sidecar {__version__}\n")
        return exits.OK
    if arguments[0] not in COMMANDS:
        sys.stderr.write(f"sidecar: no command `{arguments[0]}`{_near(arguments[0])}\n\n{_help()}")
        return exits.USAGE
    return _run(arguments[0], arguments[1:])


def _run(name: str, arguments: Sequence[str]) -> int:
    line = COMMANDS[name]
    command = cast("Command", import_module(line.module))
    parser = argparse.ArgumentParser(prog=f"sidecar {name}", description=line.help)
    command.configure(parser)
    try:
        return command.run(parser.parse_args(arguments))
    except KeyboardInterrupt:
        return 130  # what shells give a command that SIGINT ended


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = "".join(f"  {name:<{width}}  {line.help}\n" for name, line in COMMANDS.items())
    return f"usage: sidecar COMMAND [OPTIONS]\n\n{rows}\n`sidecar COMMAND --help` tells its options.\n"


def _near(word: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  (only after a typing error)

    found = get_close_matches(word, COMMANDS, 1)
    return f", did you mean `{found[0]}`?" if found else ""


if __name__ == "__main__":
    sys.exit(main())
