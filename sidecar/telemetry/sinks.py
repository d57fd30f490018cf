"""Where record lines go. A sink takes a whole line or raises SinkDown; it knows nothing of what is in it.

Writes are synchronous on purpose: a record is written before anything leaves, and an append to the page cache takes a few
microseconds, less than any hand-over to a thread.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from typing import Protocol

from sidecar.errors import SinkDown

LOOK = 256
"""Lines between two looks whether the file is still the one at its path (logrotate moves it away)."""
PATIENCE = 100
"""Milliseconds that a reader of standard output may let a line wait."""
PIECE = select.PIPE_BUF
"""Bytes a pipe that is ready takes without blocking (POSIX)."""


class Sink(Protocol):
    """One destination."""

    name: str

    def write(self, line: bytes) -> None:
        """Take one whole line. Raises SinkDown and then holds nothing of it."""
        ...

    def sync(self) -> None:
        """Push what was written to the disk. Raises SinkDown."""
        ...

    def close(self) -> None:
        """Let go. Idempotent."""
        ...


class FileSink:
    """Appends to a file of mode 0600, rotated to `.1` … `.keep` past `max_size` bytes. A failure closes it; the next line opens it anew."""

    def __init__(self, path: str | Path, *, max_size: int = 256 * 2**20, keep: int = 4) -> None:
        self._path = Path(path)
        self.name = self._path.name
        self._max = max_size
        self._keep = keep
        self._fd = -1
        self._size = 0
        self._until_look = LOOK

    def write(self, line: bytes) -> None:
        """Append. Raises SinkDown: disk full, no permission, no directory."""
        try:
            self._ready(len(line))
            written = os.write(self._fd, line)
            if written != len(line):
                self._rest(line, written)
        except OSError as error:
            self._drop()
            raise SinkDown(f"{self.name}: {error.strerror or 'cannot write'}") from error
        self._size += len(line)

    def _ready(self, size: int) -> None:
        self._until_look -= 1
        if self._fd >= 0 and self._until_look < 0:
            self._look()
        if self._fd < 0:
            self._open()
        if self._size and self._size + size > self._max:
            self._rotate()

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._size = os.fstat(self._fd).st_size
        self._until_look = LOOK
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._size += os.write(self._fd, b"\n")  # a process before us died in the middle of a line

    def _look(self) -> None:
        """Moved away or removed by someone else: let go of the old file."""
        self._until_look = LOOK
        ours = os.fstat(self._fd)
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            self._drop()
            return
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            self._drop()

    def _rest(self, line: bytes, written: int) -> None:
        """A short write: go on, or take back what was written so that no half line stays."""
        try:
            while written < len(line):
                written += os.write(self._fd, line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                if os.fstat(self._fd).st_size == self._size + written:  # nobody wrote after us
                    os.ftruncate(self._fd, self._size)
            raise

    def _rotate(self) -> None:
        """`f` → `f.1` → … → `f.keep`; what was there is overwritten. With `keep` 0 the full file is removed."""
        self._drop()
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        if self._keep:
            self._path.replace(self._numbered(1))
        else:
            self._path.unlink()
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _drop(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.close(fd)

    def sync(self) -> None:
        """Push to the disk. Raises SinkDown."""
        if self._fd < 0:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            raise SinkDown(f"{self.name}: {error.strerror or 'cannot sync'}") from error

    def close(self) -> None:
        """Close the file."""
        self._drop()


class StdoutSink:
    """Writes to a descriptor, by default standard output. A reader that stops reading takes the sink down, never the loop."""

    name = "stdout"

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._torn = False

    def write(self, line: bytes) -> None:
        """Write one line. Raises SinkDown when the reader is gone or does not read."""
        data = b"\n" + line if self._torn else line
        try:
            for start in range(0, len(data), PIECE):
                self._piece(data[start : start + PIECE])
                self._torn = True  # until the whole line is out
        except OSError as error:
            raise SinkDown(f"{self.name}: {error.strerror or 'cannot write'}") from error
        self._torn = False

    def _piece(self, piece: bytes) -> None:
        while piece:
            ready = self._poll.poll(PATIENCE)
            if not ready or not ready[0][1] & select.POLLOUT:
                raise SinkDown(f"{self.name}: the reader does not read" if not ready else f"{self.name}: the reader is gone")
            piece = piece[os.write(self._fd, piece) :]

    def sync(self) -> None:
        """Nothing to push."""

    def close(self) -> None:
        """Standard output is not ours to close."""
