"""`sidecar fmt [PATH…]`: documents in one style. Exit 0 done, 1 something differs (`--check`, `--diff`), 2 a path that cannot be used, 3 no YAML.

A file is replaced whole or not at all: written beside itself, flushed, renamed. In directories (all below them, hidden ones
left out) only files with documents of ours are touched. What the style is, `workbench/fmt` says.
"""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sidecar.cli import exits
from sidecar.config.diagnostics import Diagnostic, Position, render_text
from sidecar.workbench.files import SUFFIXES, read_file
from sidecar.workbench.fmt import format_documents

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

STDIN = "-"


class Unusable(Exception):
    """A path that is not there, or a file that cannot be replaced."""


class Work(NamedTuple):
    """One file: how it is called, where it is, and whether it was named rather than found."""

    name: str
    path: Path
    named: bool


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files, or directories with all below them (default: .); `-` reads standard input")
    parser.add_argument("--check", action="store_true", help="write nothing; name the files that differ, and exit 1 if there are any")
    parser.add_argument("--diff", action="store_true", help="write nothing; show what would change, and exit 1 if anything would")


def run(args: argparse.Namespace) -> int:
    """Format them all; a file with mistakes keeps no other from being formatted."""
    if STDIN in args.paths:
        return _stdin(args) if args.paths == [STDIN] else _usage("`-` stands alone")
    try:
        works = _files(args.paths or ["."])
    except Unusable as error:
        return _usage(str(error))
    return max([_one(work, args) for work in works], default=exits.OK)


def _usage(message: str) -> int:
    sys.stderr.write(f"sidecar fmt: {message}\n")
    return exits.USAGE


def _files(paths: Sequence[str]) -> tuple[Work, ...]:
    """Every file once, in order. Raises Unusable, so that a slip in one path writes nothing."""
    return tuple({work.path.resolve(): work for path in paths for work in _below(path)}.values())


def _below(path: str) -> list[Work]:
    root = Path(path)
    if root.is_file():
        return [Work(path, root, named=True)]
    if not root.is_dir():
        raise Unusable(f"`{path}` is no file and no directory")
    found: list[Work] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in files if name.endswith(SUFFIXES) and not name.startswith("."))
        found += [Work(os.path.normpath(f"{folder}/{name}"), Path(folder, name), named=False) for name in names]
    return found


def _one(work: Work, args: argparse.Namespace) -> int:
    try:
        data = read_file(work.path)
    except OSError as error:
        return _told((Diagnostic("error", "unreadable", (error.strerror or "cannot be read").lower(), Position(work.name)),))
    if data is None:
        return _told((Diagnostic("error", "unreadable", "this link leads out of the directory", Position(work.name), "put the file itself here"),))
    made = format_documents(work.name, data)
    if not made.ours and not work.named:
        return exits.OK
    if made.text is None:
        return _told(made.diagnostics)
    if made.text.encode() == data:
        return exits.OK
    if args.check or args.diff:
        _show(work.name, data, made.text, args)
        return exits.FINDINGS
    return _written(work, data, made.text.encode())


def _told(diagnostics: Sequence[Diagnostic]) -> int:
    sys.stderr.write(render_text(diagnostics, color=sys.stderr.isatty()))
    return exits.BAD_CONFIGURATION


def _show(name: str, before: bytes, after: str, args: argparse.Namespace) -> None:
    if args.diff:
        sys.stdout.write("".join(_difference(name, before.decode("utf-8-sig"), after)))
    else:
        print(f"{name} differs")


def _difference(name: str, before: str, after: str) -> Iterator[str]:
    for line in difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, f"{name} (formatted)"):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _stdin(args: argparse.Namespace) -> int:
    data = sys.stdin.buffer.read()
    made = format_documents("<stdin>", data)
    if made.text is None:
        return _told(made.diagnostics)
    differs = made.text.encode() != data
    if not (args.check or args.diff):
        sys.stdout.write(made.text)
        return exits.OK
    if differs:
        _show("<stdin>", data, made.text, args)
    return exits.FINDINGS if differs else exits.OK


# ---------------------------------------------------------------- writing


def _written(work: Work, before: bytes, after: bytes) -> int:
    try:
        _replace(work, before, after)
    except Unusable as error:
        return _usage(str(error))
    print(f"formatted {work.name}")
    return exits.OK


def _replace(work: Work, before: bytes, after: bytes) -> None:
    """Put the new text in the place of the old, if that is still what was read. Raises Unusable; then the file is as it was."""
    path = work.path.resolve()
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _write(beside, after, path.stat().st_mode & 0o7777)
        if path.read_bytes() != before:
            raise Unusable(f"`{work.name}` was changed by someone else meanwhile; it was left alone")
        beside.replace(path)
    except OSError as error:
        raise Unusable(f"`{work.name}` cannot be written: {(error.strerror or 'no reason given').lower()}") from error
    finally:
        beside.unlink(missing_ok=True)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
