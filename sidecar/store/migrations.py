"""The schema of the embedded database, as the list of steps that lead to it. Steps are added at the end and never changed."""

from __future__ import annotations

import sqlite3

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE owners (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        principal TEXT NOT NULL,
        upstream TEXT NOT NULL,
        created REAL NOT NULL,
        PRIMARY KEY (kind, id)
    );
    CREATE INDEX owners_created ON owners (created);
    """,
)
"""Step i leads from version i to version i + 1."""


def migrate(connection: sqlite3.Connection) -> None:
    """Take every step that is still due, all or none, also when two processes start at once.

    Raises sqlite3.Error; sqlite3.DatabaseError too where a later release made the schema (going back would lose what it knows).
    """
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0] or 0
        if version > len(STEPS):
            raise sqlite3.DatabaseError(f"the schema is of version {version}, this release knows {len(STEPS)}")
        for number, step in enumerate(STEPS[version:], version + 1):
            # not executescript: it would commit the transaction that holds all steps together
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
            connection.execute("INSERT INTO schema_version (version) VALUES (?)", (number,))
