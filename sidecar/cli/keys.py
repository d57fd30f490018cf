"""`sidecar keys new`: make an API key, show it once, and print the entry for `Identity` that admits it by its hash.

`sidecar keys seal FILE` makes the pair of keys for sealed records: the private half into FILE, the public one into FILE.pub.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
from datetime import date
from pathlib import Path

from sidecar.cli import exits
from sidecar.config.traps import in_quotes
from sidecar.credentials import keys

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*\Z")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    commands = parser.add_subparsers(dest="action", metavar="new|seal", required=True)
    new = commands.add_parser("new", help="make a key")
    new.add_argument("--id", default="", metavar="NAME", help="who it is for: the caller is `key:NAME` (default: key-…)", type=_identifier)
    new.add_argument("--team", default="", help="the caller's team")
    new.add_argument("--group", action="append", default=[], metavar="GROUP", help="a group of the caller; may be given several times")
    new.add_argument("--not-after", default="", metavar="YYYY-MM-DD", help="the last day on which it is good", type=_day)

    seal = commands.add_parser("seal", help="make a pair of keys for `records: {inputs: sealed}`")
    seal.add_argument("file", type=Path, metavar="FILE", help="where the private key goes, which must not exist; the public one goes beside it, as FILE.pub")


def run(args: argparse.Namespace) -> int:
    """Make one."""
    return _seal(args.file) if args.action == "seal" else _new(args)


def _seal(path: Path) -> int:
    """Neither file may exist: an old key is needed for as long as records are kept."""
    from sidecar.telemetry import sealing  # noqa: PLC0415  (brings `cryptography`)

    public = path.with_name(f"{path.name}.pub")
    private, shown = sealing.make()
    try:
        for file, pem, mode in ((path, private, 0o600), (public, shown, 0o644)):
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as out:
                out.write(pem)
    except OSError as error:
        sys.stderr.write(f"sidecar keys: `{error.filename}`: {(error.strerror or 'cannot be written').lower()}\n")
        return exits.USAGE
    sys.stdout.write(f"records: {{inputs: sealed, seal: {{publicKey: {in_quotes(str(public))}}}}}\n")
    sys.stderr.write(f"the line belongs into Settings; `{path}` opens the records and is kept away from the sidecar\n")
    return exits.OK


def _new(args: argparse.Namespace) -> int:
    """The key goes to standard output and nowhere else."""
    token = keys.make(secrets.token_bytes(keys.LEAST))
    digest = keys.digest(token)
    sys.stdout.write(f"{token}\n\n{entry(args.id or f'key-{digest[:8]}', digest, args.team, args.group, args.not_after)}\n")
    sys.stderr.write("the first line is the key and is shown this once; the last line belongs into `keys` of an Identity's `apiKey`\n")
    return exits.OK


def entry(name: str, digest: str, team: str = "", groups: list[str] | None = None, not_after: str = "") -> str:
    """The line of YAML that admits the key."""
    fields = [f"id: {in_quotes(name)}", f'sha256: "{digest}"']
    fields += [f"team: {in_quotes(team)}"] if team else []
    fields += [f"groups: [{', '.join(in_quotes(group) for group in groups)}]"] if groups else []
    fields += [f"notAfter: {not_after}"] if not_after else []
    return "- {" + ", ".join(fields) + "}"


def _identifier(text: str) -> str:
    if text and not _ID.match(text):
        raise argparse.ArgumentTypeError("letters, digits, `.`, `_`, `-` and `@`, a letter or digit first")
    return text


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no day such as 2027-06-30") from None
