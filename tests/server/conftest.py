"""The tests of the byte layer run on asyncio's own loop and on uvloop; the others on the default."""

from __future__ import annotations

import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    factories = {"asyncio": asyncio.SelectorEventLoop}
    if item.path.name == "test_listener.py":
        factories["uvloop"] = uvloop.new_event_loop
    return factories
