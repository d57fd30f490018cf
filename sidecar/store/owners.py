"""Who made which provider-minted id (`response`, `resp_…`): insert-only, so that nobody can take over what is another's.

Its counterpart is `need.OwnerOf`. `MemoryOwners` forgets at restart; `SqliteOwners` does not: stdlib sqlite3 in one thread of its
own, so that a slow disk never holds up the event loop. Both forget the oldest past a time and a number; a forgotten id is an unknown id.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sidecar.need import Owned, Unavailable
from sidecar.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
TTL = 30 * 86400.0
"""Seconds an owner is kept: as long as providers keep what they stored."""
MOST = 1_000_000
LONGEST = 512
"""Characters of an id; no provider mints longer ones, and a hostile upstream must not fill the disk."""
RECENT = 4096
"""Owners kept in memory beside the database. They never change, so that this can't be wrong."""
PURGE_EVERY = 1000
"""Inserts between two purges."""
WAIT = 2.0
"""Seconds to wait for another process that is writing."""
DOWN = Unavailable("owners")
TOO_LONG = Unavailable("owners: this id cannot be recorded")


def _storable(id: str) -> bool:
    """Whether an id can be on record at all: not too long, and text (an unpaired surrogate is none)."""
    return len(id) <= LONGEST and not any("\ud800" <= char <= "\udfff" for char in id)


class MemoryOwners:
    """Owners in this process. `ttl` in seconds, `most` entries; the oldest is forgotten first."""

    def __init__(self, *, ttl: float = TTL, most: int = MOST, clock: Callable[[], float] = time.time) -> None:
        self._ttl = ttl
        self._most = most
        self._clock = clock
        self._rows: OrderedDict[tuple[str, str], tuple[Owned, float]] = OrderedDict()

    async def open(self) -> None:
        """Always ready."""

    async def put(self, kind: str, id: str, principal: str, upstream: str) -> Owned | Unavailable:
        """Record, and return what is on record. Unavailable for an id that cannot be recorded."""
        if not _storable(id):
            return TOO_LONG
        self._purge()
        row = self._rows.setdefault((kind, id), (Owned(principal, upstream), self._clock()))
        if len(self._rows) > self._most:
            self._rows.popitem(last=False)
        return row[0]

    async def get(self, kind: str, id: str) -> Owned | None:
        """The owner on record."""
        self._purge()
        row = self._rows.get((kind, id))
        return row[0] if row else None

    def _purge(self) -> None:
        oldest = self._clock() - self._ttl
        while self._rows and next(iter(self._rows.values()))[1] <= oldest:
            self._rows.popitem(last=False)

    async def close(self) -> None:
        """Nothing to let go of."""


class SqliteOwners:
    """Owners in a SQLite file (made 0600, WAL). A failing database is `Unavailable`, and is opened anew by the next request.

    `ttl` in seconds, `most` rows; the oldest are deleted every thousandth insert.
    """

    def __init__(self, path: str | Path, *, ttl: float = TTL, most: int = MOST, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._ttl = ttl
        self._most = most
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="owners")
        self._connection: sqlite3.Connection | None = None
        self._inserts = 0
        self._recent: OrderedDict[tuple[str, str], tuple[Owned, float]] = OrderedDict()

    async def open(self) -> Unavailable | None:
        """Open the file and bring its schema up to date. Unavailable where that fails, or where a later release made it."""
        answer = await self._ask(lambda _: None)
        return answer if isinstance(answer, Unavailable) else None

    async def put(self, kind: str, id: str, principal: str, upstream: str) -> Owned | Unavailable:
        """Record, and return what is on record once it is written. Unavailable on any failure of the database."""
        if not _storable(id):
            return TOO_LONG
        now = self._clock()
        row = await self._ask(lambda db: self._insert(db, (kind, id, principal, upstream, now)))
        return row if isinstance(row, Unavailable) else self._remember((kind, id), row)

    async def get(self, kind: str, id: str) -> Owned | Unavailable | None:
        """The owner on record; None where there is none or where it is past its time. Unavailable on any failure of the database."""
        oldest = self._clock() - self._ttl
        recent = self._recent.get((kind, id))
        if recent is not None:
            return recent[0] if recent[1] > oldest else None
        if not _storable(id):
            return None
        row = await self._ask(lambda db: _select(db, kind, id, oldest))
        return row if row is None or isinstance(row, Unavailable) else self._remember((kind, id), row)

    def _remember(self, key: tuple[str, str], row: tuple[Owned, float]) -> Owned:
        self._recent[key] = row
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return row[0]

    async def close(self) -> None:
        """Close the file and end the thread. Idempotent; whatever is asked later is Unavailable."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        except RuntimeError:  # closed before: a shut-down executor takes nothing
            return
        self._thread.shutdown(wait=True)

    # ------------------------------------------------------------ in the thread

    async def _ask(self, job: Callable[[sqlite3.Connection], T]) -> T | Unavailable:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._work, job)
        except RuntimeError:  # a shut-down executor takes nothing
            return DOWN
        return await running

    def _work(self, job: Callable[[sqlite3.Connection], T]) -> T | Unavailable:
        try:
            if self._connection is None:
                self._connection = _connect(self._path)
            return job(self._connection)
        except (sqlite3.Error, OSError):
            self._drop()
            return DOWN

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _insert(self, db: sqlite3.Connection, row: tuple[str, str, str, str, float]) -> tuple[Owned, float]:
        with db:
            if self._inserts % PURGE_EVERY == 0:
                self._purge(db, row[4] - self._ttl)
            self._inserts += 1
            # one that is past its time is no longer on record, whether or not it was purged yet
            db.execute("DELETE FROM owners WHERE kind = ? AND id = ? AND created <= ?", (row[0], row[1], row[4] - self._ttl))
            db.execute("INSERT INTO owners (kind, id, principal, upstream, created) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            found = _select(db, row[0], row[1], row[4] - self._ttl)
        if found is None:
            raise sqlite3.DatabaseError("a row that was just written is not there")
        return found

    def _purge(self, db: sqlite3.Connection, oldest: float) -> None:
        db.execute("DELETE FROM owners WHERE created <= ?", (oldest,))
        db.execute("DELETE FROM owners WHERE rowid IN (SELECT rowid FROM owners ORDER BY created DESC LIMIT -1 OFFSET ?)", (self._most,))


def _select(db: sqlite3.Connection, kind: str, id: str, oldest: float) -> tuple[Owned, float] | None:
    row = db.execute("SELECT principal, upstream, created FROM owners WHERE kind = ? AND id = ? AND created > ?", (kind, id, oldest)).fetchone()
    return (Owned(row[0], row[1]), row[2]) if row else None


def _connect(path: Path) -> sqlite3.Connection:
    """Open and migrate. The file names principals: it is made for its owner alone (SQLite gives WAL files the same mode)."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level="IMMEDIATE", check_same_thread=False)
    try:
        # a row must not be lost with the process; with the machine it may (WAL and NORMAL), and is then an unknown id
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        migrate(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL. For this one statement SQLite does not wait when another process is making the same new file; we do."""
    until = time.monotonic() + WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.01)  # in the owners' thread, never on the event loop
        else:
            return
