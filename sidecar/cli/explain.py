"""`sidecar explain CALL.json`: decide one call offline and tell every rule that had a part, with file:line. Exit 0 allow, 1 deny.

CALL.json is `{"principal": {…}, "call": {…}, "quota": {…}, "now": …}` in the words of a Test document.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.cli import exits
from sidecar.cli.run import refused
from sidecar.errors import ConfigError
from sidecar.server.app import load
from sidecar.workbench import explain

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents (default: .)")
    parser.add_argument("call", metavar="CALL.json", help="a file, or - for standard input")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="how to print")


def run(args: argparse.Namespace) -> int:
    """Decide and tell."""
    try:
        asked = json.loads(sys.stdin.read() if args.call == "-" else Path(args.call).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot read `{args.call}`: {error}\n")
        return exits.USAGE
    try:
        snapshot = load(args.config or ["."], os.environ, time.time()).snapshot
    except ConfigError as error:
        return refused(error)
    if snapshot is None:
        return exits.BAD_CONFIGURATION
    try:
        tree = explain.explain(snapshot, asked, now=time.time())
    except (KeyError, TypeError, ValueError) as error:
        sys.stderr.write(f"`{args.call}` is no call to explain: {error}\n")
        return exits.USAGE
    print(json.dumps(tree, indent=2) if args.format == "json" else "\n".join(text(tree)))
    return exits.OK if tree["effect"] == "allow" else exits.FINDINGS


def text(tree: dict[str, Any]) -> list[str]:
    """The tree as lines."""
    lines = [f"{tree['effect']}: {', '.join(tree['by']) or 'no rule allows it (default)'}"]
    refusal = tree.get("refusal")
    if refusal:
        lines.append(f"  {refusal['status']} {refusal['code']}: {refusal['message']}")
    lines += [_rule(reason) for reason in tree["rules"]]
    lines += [f"  would {_rule(reason).strip()}" for reason in tree.get("would", ())]
    lines += [f"  must {name} {_owed(value)}" for name, value in tree.get("obligations", {}).items()]
    return lines


def _owed(value: Any) -> str:
    """What is owed, as an author would write it."""
    return ", ".join(f"{name}: {_owed(item)}" for name, item in value.items()) if isinstance(value, dict) else _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _rule(reason: dict[str, Any]) -> str:
    lifted = f" (lifted by {reason['lifted']})" if reason.get("lifted") else ""
    return f"  {reason['effect']:<8} {reason['rule']:<32} condition {reason['result']:<6} {reason['where']}{lifted}"
