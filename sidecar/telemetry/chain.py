"""Lines linked into a chain: each carries the SHA-256 of the one before it. `verify.py` walks it, `seal.py` signs checkpoints.

A chain belongs to one process and one sink. `link` proposes a line and `commit` makes it the head, so that a line which
could not be written leaves no gap: the next one takes its place. Sans-IO: where lines go is `sinks.py`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import orjson

from sidecar.errors import BadRecord
from sidecar.telemetry.record import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

GENESIS = "0" * 64
"""What the first line of a chain names as the one before it."""


class Checkpoint(NamedTuple):
    """The signed word that line `at` of `chain` hashed to `head`. `closing`: nothing follows in this chain."""

    chain: str
    at: int
    head: str
    closing: bool
    key: str = ""
    signature: str = ""

    def message(self) -> bytes:
        """The bytes that are signed."""
        return f"sidecar records v{SCHEMA}\n{self.chain}\n{self.at}\n{self.head}\n{int(self.closing)}".encode()


class Chain:
    """The head of one chain. `id` is random and unique to the process and sink; `seq` is the next line's number."""

    __slots__ = ("_tail", "head", "id", "seq", "signed")

    def __init__(self, id: str) -> None:
        self.id = id
        self.seq = 0
        self.head = GENESIS
        self.signed = 0
        self._tail = f',"chain":"{id}","seq":'

    def link(self, line: bytes) -> bytes:
        """The whole line, with its place in the chain and its line end. `line` is a JSON object. Nothing changes yet."""
        return line[:-1] + f'{self._tail}{self.seq},"prev":"{self.head}"}}\n'.encode()

    def commit(self, linked: bytes) -> None:
        """`linked` was written: it is the head now."""
        self.head = digest(linked)
        self.seq += 1

    @property
    def unsigned(self) -> int:
        """Lines after the last checkpoint."""
        return self.seq - self.signed

    def checkpoint(self, *, closing: bool = False) -> Checkpoint | None:
        """What is to be signed now, or None on an empty chain."""
        return Checkpoint(self.id, self.seq - 1, self.head, closing) if self.seq else None


def digest(linked: bytes) -> str:
    """The hash of a line as the next one names it, line end included."""
    return hashlib.sha256(linked).hexdigest()


def checkpoint_line(point: Checkpoint) -> bytes:
    """A checkpoint as a line to be linked like any other."""
    shown = {"v": SCHEMA, "type": "checkpoint", "at": point.at, "head": point.head, "closing": point.closing}
    return orjson.dumps({**shown, "key": point.key, "signature": point.signature})


def read_checkpoint(value: Mapping[str, object]) -> Checkpoint:
    """The checkpoint in a parsed line. Raises BadRecord."""
    chain, at, head, closing = (value.get(name) for name in ("chain", "at", "head", "closing"))
    key, signature = value.get("key"), value.get("signature")
    if not isinstance(chain, str) or not isinstance(at, int) or not isinstance(head, str) or not isinstance(closing, bool):
        raise BadRecord("this checkpoint lacks a field")
    if not isinstance(key, str) or not isinstance(signature, str):
        raise BadRecord("this checkpoint is not signed")
    return Checkpoint(chain, at, head, closing, key, signature)
