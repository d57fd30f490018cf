"""A promotion outlives the process: which directories took over from which, in one file of the state directory.

It stands while the directories that `run` is started with are, byte for byte, those that it replaced. Once somebody edits them
(most likely to merge the candidate), they hold again. Counterpart: `shadow.py`, whose candidate was promoted.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from sidecar.workbench.files import read_layers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE = "promoted.json"


def keep(state: Path, replaced: str, new: Sequence[str]) -> None:
    """Write it down, whole or not at all. `replaced` is the fingerprint of the old directories. Raises OSError."""
    told = {"from": replaced, "to": [os.path.abspath(directory) for directory in new]}  # noqa: PTH100  (the link itself, not where it leads)
    fresh = state / f"{FILE}.new"
    fresh.write_text(json.dumps(told), encoding="utf-8")
    fresh.replace(state / FILE)


def standing(state: Path, directories: Sequence[str]) -> tuple[str, ...]:
    """The directories that hold in place of these, or none. A file that can't be read is none. Raises ConfigError."""
    try:
        told = json.loads((state / FILE).read_text(encoding="utf-8"))
        replaced, new = str(told["from"]), tuple(map(str, told["to"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return new if replaced == fingerprint(directories) else ()


def fingerprint(directories: Sequence[str]) -> str:
    """SHA-256 in hex over every file's name and bytes, layer by layer. Raises ConfigError."""
    found = hashlib.sha256()
    for layer in read_layers(directories):
        for name, data in layer.files:
            found.update(f"{name}\0{len(data)}\0".encode())
            found.update(data)
        found.update(b"\0layer\0")
    return found.hexdigest()
