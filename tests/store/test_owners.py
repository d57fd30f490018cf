"""The first owner of an id stays its owner, over restarts and races; a broken database is an outage."""

from __future__ import annotations

import asyncio
import sqlite3
import stat

import pytest

from sidecar.errors import ConfigError
from sidecar.need import Owned, Unavailable
from sidecar.store import MemoryOwners, SqliteOwners, counters, owners
from sidecar.store.memory import MemoryStore
from sidecar.store.migrations import STEPS


class Clock:
    def __init__(self):
        self.now = 1_790_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path, clock):
    made = MemoryOwners(clock=clock, ttl=100.0) if request.param == "memory" else SqliteOwners(tmp_path / "o.db", clock=clock, ttl=100.0)
    yield made
    await made.close()


@pytest.fixture
async def opened(tmp_path):
    made = []

    def make(**options):
        made.append(SqliteOwners(tmp_path / "o.db", **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def test_an_id_belongs_to_who_made_it(store):
    assert await store.put("response", "resp_1", "key:a", "openai") == Owned("key:a", "openai")
    assert await store.get("response", "resp_1") == Owned("key:a", "openai")


async def test_an_unknown_id_has_no_owner(store):
    await store.put("response", "resp_1", "key:a", "openai")
    assert await store.get("response", "resp_2") is None
    assert await store.get("file", "resp_1") is None


async def test_a_second_owner_is_refused_and_told_who_came_first(store):
    await store.put("response", "resp_1", "key:a", "openai")
    assert await store.put("response", "resp_1", "key:b", "azure") == Owned("key:a", "openai")
    assert await store.get("response", "resp_1") == Owned("key:a", "openai")


async def test_of_many_at_once_one_wins_and_all_are_told_the_same(store):
    answers = await asyncio.gather(*(store.put("response", "resp_1", f"key:{n}", "openai") for n in range(50)))
    assert len(set(answers)) == 1
    assert await store.get("response", "resp_1") == answers[0]


async def test_an_owner_past_its_time_is_forgotten(store, clock):
    await store.put("response", "resp_1", "key:a", "openai")
    clock.now += 99.0
    assert await store.get("response", "resp_1") is not None
    clock.now += 2.0
    assert await store.get("response", "resp_1") is None
    assert await store.put("response", "resp_1", "key:b", "openai") == Owned("key:b", "openai")


@pytest.mark.parametrize("id", ["x" * 513, "\ud800"])
async def test_what_cannot_be_an_id_is_not_recorded_and_not_found(store, id):
    assert isinstance(await store.put("response", id, "key:a", "openai"), Unavailable)
    assert await store.get("response", id) is None


async def test_memory_keeps_at_most_so_many():
    store = MemoryOwners(most=3)
    for n in range(5):
        await store.put("response", str(n), "key:a", "openai")
    assert [await store.get("response", str(n)) is not None for n in range(5)] == [False, False, True, True, True]


async def test_owners_outlive_a_restart(opened):
    first = opened()
    await first.put("response", "resp_1", "key:a", "openai")
    await first.close()
    again = opened()
    assert await again.get("response", "resp_1") == Owned("key:a", "openai")
    assert await again.put("response", "resp_1", "key:b", "openai") == Owned("key:a", "openai")


async def test_two_processes_on_one_file_agree(opened):
    one, two = opened(), opened()
    answers = await asyncio.gather(*(store.put("response", str(n % 5), f"key:{n}", "u") for n in range(40) for store in (one, two)))
    assert all(isinstance(answer, Owned) for answer in answers)
    for n in range(5):
        assert await opened().get("response", str(n)) == await one.get("response", str(n)) == await two.get("response", str(n))


async def test_many_may_make_one_new_file_at_once(tmp_path):
    for turn in range(10):
        stores = [SqliteOwners(tmp_path / f"{turn}.db") for _ in range(4)]
        assert await asyncio.gather(*(store.open() for store in stores)) == [None] * 4
        await asyncio.gather(*(store.close() for store in stores))


async def test_rows_past_the_most_are_deleted_the_oldest_first(opened, clock):
    store = opened(most=3, clock=clock)
    for n in range(6):
        clock.now += 1
        await store.put("response", str(n), "key:a", "openai")
    store._inserts = 0
    clock.now += 1
    await store.put("response", "last", "key:a", "openai")
    fresh = opened(clock=clock)
    assert [await fresh.get("response", str(n)) is not None for n in range(6)] == [False, False, False, True, True, True]


async def test_the_file_is_for_its_owner_alone(opened, tmp_path):
    await opened().open()
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}


async def test_a_database_that_is_none_is_an_outage_and_never_an_exception(opened, tmp_path):
    (tmp_path / "o.db").write_bytes(b"this is not a database, and long enough to tell" * 50)
    store = opened()
    assert isinstance(await store.open(), Unavailable)
    assert isinstance(await store.put("response", "resp_1", "key:a", "openai"), Unavailable)
    assert isinstance(await store.get("response", "resp_1"), Unavailable)


async def test_a_missing_directory_is_an_outage_until_it_is_there(tmp_path):
    store = SqliteOwners(tmp_path / "later" / "o.db")
    assert isinstance(await store.put("response", "resp_1", "key:a", "openai"), Unavailable)
    (tmp_path / "later").mkdir()
    assert await store.put("response", "resp_1", "key:a", "openai") == Owned("key:a", "openai")
    await store.close()


async def test_a_schema_of_a_later_release_is_an_outage(opened, tmp_path):
    assert await opened().open() is None
    with sqlite3.connect(tmp_path / "o.db") as db:
        db.execute("INSERT INTO schema_version VALUES (99)")
    db.close()
    assert isinstance(await opened().open(), Unavailable)


async def test_migrations_run_once(opened, tmp_path):
    await asyncio.gather(*(opened().open() for _ in range(4)))
    db = sqlite3.connect(tmp_path / "o.db")
    assert db.execute("SELECT version FROM schema_version").fetchall() == [(n + 1,) for n in range(len(STEPS))]
    db.close()


async def test_after_close_everything_is_an_outage(opened):
    store = opened()
    await store.put("response", "resp_1", "key:a", "openai")
    await store.close()
    await store.close()
    assert isinstance(await store.put("response", "resp_2", "key:a", "openai"), Unavailable)
    assert isinstance(await store.get("response", "resp_3"), Unavailable)


async def test_documents_name_stores_by_url(tmp_path):
    assert isinstance(counters("memory://"), MemoryStore)
    assert isinstance(owners("memory://", tmp_path), MemoryOwners)
    relative = owners("sqlite:///sidecar.db", tmp_path)
    assert await relative.open() is None
    await relative.close()
    assert (tmp_path / "sidecar.db").exists()
    absolute = owners(f"sqlite:///{tmp_path}/absolute.db", tmp_path / "elsewhere")
    assert await absolute.open() is None
    await absolute.close()
    assert (tmp_path / "absolute.db").exists()


@pytest.mark.parametrize("url", ["postgresql://db/x", "sqlite://", "sqlite:///", "nothing"])
def test_a_database_that_is_not_built_is_a_configuration_error(url, tmp_path):
    with pytest.raises(ConfigError):
        owners(url, tmp_path)


def test_a_store_that_is_not_built_is_a_configuration_error():
    with pytest.raises(ConfigError, match="redis"):
        counters("redis://localhost")
