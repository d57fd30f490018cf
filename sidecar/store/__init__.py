"""State of the rim: counters of quotas, refusals, owners of provider-minted ids. The tables say what a document may name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.errors import ConfigError
from sidecar.store.base import CounterStore, OwnerStore
from sidecar.store.memory import MemoryStore
from sidecar.store.owners import MemoryOwners, SqliteOwners
from sidecar.store.refusals import Refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["COUNTERS", "OWNERS", "CounterStore", "MemoryOwners", "MemoryStore", "OwnerStore", "Refusals", "SqliteOwners", "counters", "owners"]

COUNTERS: Mapping[str, Callable[[], MemoryStore]] = {
    "memory": MemoryStore,
}
"""`Settings.spec.store`, by scheme."""


def _memory(_rest: str, _state: Path) -> OwnerStore:
    return MemoryOwners()


def _sqlite(rest: str, state: Path) -> OwnerStore:
    """`sqlite:///sidecar.db` is relative to the state directory, `sqlite:////var/lib/sidecar.db` is not."""
    if not rest.strip("/"):
        raise ConfigError("database: `sqlite:` needs a file, as in `sqlite:///sidecar.db`")
    return SqliteOwners(state / rest.removeprefix("/"))


OWNERS: Mapping[str, Callable[[str, Path], OwnerStore]] = {
    "memory": _memory,
    "sqlite": _sqlite,
}
"""`Settings.spec.database`, by scheme."""


def counters(url: str) -> MemoryStore:
    """The counters that `Settings.spec.store` names (`memory://`). Raises ConfigError."""
    scheme = url.partition("://")[0]
    if scheme not in COUNTERS:
        raise ConfigError(f"store: `{scheme}` is not built in this release")
    return COUNTERS[scheme]()


def owners(url: str, state: Path) -> OwnerStore:
    """The owners that `Settings.spec.database` names; relative files are in `state`. Nothing is opened yet. Raises ConfigError."""
    scheme, _, rest = url.partition("://")
    if scheme not in OWNERS:
        raise ConfigError(f"database: `{scheme}` is not built in this release")
    return OWNERS[scheme](rest, state)
