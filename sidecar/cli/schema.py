"""`sidecar schema`: the JSON Schema of all documents, for editors (`# yaml-language-server: $schema=…`)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.config.schema import text

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(_args: argparse.Namespace) -> int:
    """Print it."""
    sys.stdout.write(text())
    return exits.OK
