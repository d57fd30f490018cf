"""`pytest tests/explain --update` writes `want.txt` anew; review the difference."""

from contextlib import suppress


def pytest_addoption(parser):
    with suppress(ValueError):  # tests/diagnostics has it too
        parser.addoption("--update", action="store_true", default=False, help="write the expected texts anew")
