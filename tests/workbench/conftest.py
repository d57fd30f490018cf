"""`bench`: a snapshot of documents told as data, with one Test document, and its cases."""

import pytest
import yaml

from sidecar.compiler import compile_layers
from sidecar.config.load import load
from sidecar.testing import document
from sidecar.workbench import cases, coverage, mutate

NOW = 1_767_225_600.0
PLATFORM = [
    document("Identity", "id", methods=[{"anonymous": {}}]),
    document("Upstream", "openai", protocol="llm", dialect="openai", url="echo:", models=[{"name": "gpt-4o"}, {"name": "gpt-4o-mini"}]),
]
ALLOW = document("Policy", "open", match={"operation": ["chat"]}, rules=[{"name": "all", "effect": "allow"}])


class Bench:
    """Documents and rows; what they show and what survives."""

    document, ALLOW, NOW = staticmethod(document), ALLOW, NOW

    def __init__(self, *documents, rows, calls, principals=None, platform=PLATFORM, now=None):
        people = principals or {"dev": {"id": "user:dev", "team": "core", "groups": ["eng"]}, "eve": {"id": "user:eve"}}
        test = document("Test", "t", principals=people, calls=calls, expect=rows, **({"now": now} if now else {}))
        text = yaml.safe_dump_all([*platform, *documents, test], sort_keys=False)
        loaded = load([("base", [("all.yaml", text.encode())])], {}, NOW)
        assert [item for item in loaded.diagnostics if item.severity == "error"] == []
        self.snapshot = compile_layers(loaded.layers, now=NOW).snapshot
        assert self.snapshot is not None
        self.cases = [case for each in self.snapshot.tests for case in cases.cases_of(each)]
        self.text = text

    @property
    def results(self):
        return [cases.result(self.snapshot, case) for case in self.cases]

    @property
    def coverage(self):
        return coverage.measure(self.snapshot, self.cases)

    @property
    def gaps(self):
        return [(gap.name, gap.missing) for gap in self.coverage.gaps]

    @property
    def survivors(self):
        assert all(result.passed for result in self.results), [result.detail for result in self.results]
        return [(each.name, each.what) for each in mutate.run(self.snapshot, self.cases).survivors]

    def line(self, text):
        """The line that holds a text, counted from 1."""
        return next(number for number, line in enumerate(self.text.splitlines(), 1) if text in line)


@pytest.fixture(scope="session")
def bench():
    return Bench
