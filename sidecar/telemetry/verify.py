"""Walks record files and tells what was changed, taken out, put in, or moved. Used by `sidecar records verify`.

The chain tells of any change before its last line; a signed checkpoint makes that word one which only the key's holder
could have given. A chain without a closing checkpoint is open (a process that runs or died), not broken: what came after
its last checkpoint can't be vouched for, and the report says how many lines that is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sidecar.errors import BadRecord
from sidecar.telemetry import seal
from sidecar.telemetry.chain import GENESIS, Checkpoint, digest, read_checkpoint
from sidecar.telemetry.record import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Problem(NamedTuple):
    """One finding at a line (1-based) of a file."""

    file: str
    line: int
    chain: str
    message: str


@dataclass(slots=True)
class Strand:
    """What is known of one chain. `state` is open | closed | broken; `signed` the last line a good checkpoint covers, or -1."""

    id: str
    first: int
    next: int
    head: str
    signed: int = -1
    closed: bool = False
    problems: int = 0
    hashes: dict[int, str] = field(default_factory=dict)
    """Of the lines no checkpoint covers yet."""

    @property
    def state(self) -> str:
        """In one word."""
        return "broken" if self.problems else "closed" if self.closed else "open"

    @property
    def unsigned(self) -> int:
        """Lines that no good checkpoint covers."""
        return self.next - 1 - max(self.signed, self.first - 1)


class Report(NamedTuple):
    """The outcome over all files. `checked_signatures` is False where no public key was given."""

    lines: int
    chains: Mapping[str, Strand]
    problems: tuple[Problem, ...]
    checked_signatures: bool

    @property
    def ok(self) -> bool:
        """Nothing was found that contradicts the chain."""
        return not self.problems


def verify(files: Sequence[Path], public_key: bytes | None = None) -> Report:
    """Walk files, oldest first. `public_key` is PEM; without it links are checked, signatures are not. Raises OSError, ValueError (the key)."""
    walk = Walk(seal.load_public(public_key) if public_key is not None else None)
    for path in files:
        with path.open("rb") as lines:
            walk.file(str(path), lines)
    return walk.report()


class Walk:
    """The state of one verification. Memory grows with the lines between two checkpoints, not with the files."""

    def __init__(self, key: Ed25519PublicKey | None) -> None:
        self._key = key
        self._strands: dict[str, Strand] = {}
        self._problems: list[Problem] = []
        self._lines = 0

    def file(self, name: str, lines: Iterable[bytes]) -> None:
        """Take one file, or the next piece of a rotated one."""
        for number, line in enumerate(lines, 1):
            if line != b"\n":  # a newline of its own ends a line that a full disk tore
                self._lines += 1
                for chain, message in self._line(line):
                    self._problems.append(Problem(name, number, chain, message))

    def report(self) -> Report:
        """What came out."""
        return Report(self._lines, self._strands, tuple(self._problems), self._key is not None)

    def _line(self, line: bytes) -> Iterator[tuple[str, str]]:
        """Problems of one line."""
        try:
            value = parse(line)
            chain, seq, prev = _place(value)
        except BadRecord as error:
            yield "", error.message
            return
        strand = self._strands.get(chain)
        if strand is None:
            strand = self._strands[chain] = Strand(chain, seq, seq, prev if seq else GENESIS)
        for message in (*_placed(strand, seq, prev), *self._signed(strand, value, seq)):
            strand.problems += 1
            yield chain, message
        strand.head = strand.hashes[seq] = digest(line)
        strand.next = seq + 1

    def _signed(self, strand: Strand, value: Mapping[str, object], seq: int) -> Iterator[str]:
        if value.get("type") != "checkpoint":
            return
        try:
            point = read_checkpoint(value)
        except BadRecord as error:
            yield error.message
            return
        message = self._doubt(strand, point, seq)
        if message:
            yield message
            return
        strand.closed = point.closing
        strand.signed = seq if point.at == seq - 1 else point.at  # a checkpoint vouches for itself
        for covered in [number for number in strand.hashes if number <= point.at]:
            del strand.hashes[covered]

    def _doubt(self, strand: Strand, point: Checkpoint, seq: int) -> str:
        """Why this checkpoint is not to be believed, or ""."""
        if point.at >= seq:
            return "the checkpoint signs lines that are not before it"
        if point.closing and point.at != seq - 1:
            return "the closing checkpoint does not stand at the end of what it signs"
        if self._key is not None and point.key != seal.name_of(self._key):
            return f"signed by another key ({point.key:.16})"
        if self._key is not None and not seal.holds(point, self._key):
            return "the signature is not that of the key"
        if point.at >= strand.first and strand.hashes.get(point.at, point.head) != point.head:
            return f"line {point.at} is not what was signed"
        return ""


def _place(value: Mapping[str, object]) -> tuple[str, int, str]:
    chain, seq, prev = value.get("chain"), value.get("seq"), value.get("prev")
    if not isinstance(chain, str) or not isinstance(seq, int) or isinstance(seq, bool) or not isinstance(prev, str):
        raise BadRecord("this line is in no chain")
    return chain, seq, prev


def _placed(strand: Strand, seq: int, prev: str) -> Iterator[str]:
    """Whether the line stands where it says and follows what it names."""
    if strand.closed:
        yield "a line after the closing checkpoint"
    if seq > strand.next:
        yield f"{seq - strand.next} line(s) before this one are missing"
    elif seq < strand.next:
        yield f"line {seq} stands after line {strand.next - 1}: put in, repeated or moved"
    elif prev != strand.head:
        yield "the line before this one was changed" if seq else "the first line of a chain names another before it"
