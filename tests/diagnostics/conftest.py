"""`pytest tests/diagnostics --update` writes `want.txt` anew; review the difference."""


def pytest_addoption(parser):
    parser.addoption("--update", action="store_true", default=False, help="write the expected texts of tests/diagnostics anew")
