"""What `sidecar test` found, as text for people, as JSON, and as JUnit XML for CI. One value in, one text out; opens nothing.

Counterparts: `cases.py`, `coverage.py`, `mutate.py`, which find it, and `cli/cases.py`, which prints it.
"""

from __future__ import annotations

import html
import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.config.diagnostics import printable
from sidecar.workbench import failing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.diagnostics import Position
    from sidecar.workbench.cases import CaseResult
    from sidecar.workbench.coverage import Coverage
    from sidecar.workbench.mutate import Outcome


class Found(NamedTuple):
    """All that a run found. `coverage` and `mutants` where they were asked for; `least` is the percentage that is due."""

    snapshot: Snapshot
    results: Sequence[CaseResult]
    coverage: Coverage | None = None
    mutants: Outcome | None = None
    least: int = 0
    quiet: bool = False

    @property
    def failed(self) -> int:
        """Cases that failed."""
        return sum(not result.passed for result in self.results)


# ---------------------------------------------------------------- text


def text(found: Found) -> str:
    """Lines for people: each case, each failure with what stands behind it, each gap, each survivor, and a count of each."""
    lines = [line for result in found.results for line in _case(found, result)]
    if found.coverage is not None:
        lines += _coverage(found.coverage)
    if found.mutants is not None:
        lines += _mutants(found.mutants)
    lines.append(f"{len(found.results) - found.failed} passed, {found.failed} failed")
    return "".join(f"{printable(line)}\n" for line in lines)


def _case(found: Found, result: CaseResult) -> Iterator[str]:
    if result.passed:
        if not found.quiet:
            yield f"ok   {result.name}"
        return
    yield f"FAIL {result.name}"
    yield f"     {result.position}: {result.detail}"
    yield from (f"       {line}" for line in behind(found.snapshot, result))


def behind(snapshot: Snapshot, result: CaseResult) -> Iterator[str]:
    """The candidates of a failure as a table, and what to look at next."""
    report = failing.explain(snapshot, result)
    width = max((len(each.rule) for each in report.candidates), default=0)
    for each in report.candidates:
        yield f"{'*' if each.decides else ' '} {each.effect:<7} {each.rule:<{width}}  condition {each.result:<5}  {each.where}"
    yield from (f"next: {sentence}" for sentence in report.next)


def _coverage(coverage: Coverage) -> Iterator[str]:
    for gap in coverage.gaps:
        yield f"{gap.position}: {gap.name}: {gap.missing}"
        yield f"     add {gap.row}"
    yield f"coverage {coverage.percent} %: {coverage.seen} of {coverage.wanted}"


def _mutants(mutants: Outcome) -> Iterator[str]:
    yield from (f"{each.position}: survived: {each.name}: {each.what}" for each in mutants.survivors)
    yield f"mutants: {mutants.killed} killed, {len(mutants.survivors)} survived, of {mutants.total}"


# ---------------------------------------------------------------- for machines


def as_json(found: Found) -> str:
    """One JSON object."""
    told: dict[str, Any] = {"passed": len(found.results) - found.failed, "failed": found.failed, "cases": [_plain(found, each) for each in found.results]}
    if found.coverage is not None:
        told["coverage"] = found.coverage.report()
    if found.mutants is not None:
        told["mutants"] = found.mutants.report()
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def _plain(found: Found, result: CaseResult) -> dict[str, Any]:
    told = {"name": result.name, "passed": result.passed, "file": result.position.file, "line": result.position.line}
    if result.passed:
        return told
    report = failing.explain(found.snapshot, result)
    return {**told, "detail": result.detail, "candidates": [each._asdict() for each in report.candidates], "next": list(report.next)}


class Suite(NamedTuple):
    """One `testsuite`: `cases` are whole elements."""

    name: str
    file: str
    cases: list[str]
    failures: int

    def element(self) -> str:
        """The XML."""
        head = _attributes(name=self.name, tests=len(self.cases), failures=self.failures, **({"file": self.file} if self.file else {}))
        lines = [f"<testsuite {head}>", *(f"  {case}" for case in self.cases), "</testsuite>"]
        return "\n".join(lines) + "\n"


def junit(found: Found) -> str:
    """JUnit XML: a suite for each Test document, one more for coverage and one for mutants where they were asked for."""
    suites = [*_tests(found), *_extra(found)]
    total, failures = sum(len(suite.cases) for suite in suites), sum(suite.failures for suite in suites)
    head = _attributes(name="sidecar test", tests=total, failures=failures)
    body = "".join(suite.element() for suite in suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {head}>\n{body}</testsuites>\n'


def _tests(found: Found) -> Iterator[Suite]:
    for _, held in groupby(found.results, key=lambda result: (result.position.file, result.name.partition(":")[0])):
        results = list(held)
        name = results[0].name.partition(":")[0]
        yield Suite(name, results[0].position.file, [_testcase(found, each, name) for each in results], sum(not each.passed for each in results))


def _testcase(found: Found, result: CaseResult, suite: str) -> str:
    if result.passed:
        place = _attributes(name=result.name, classname=suite, file=result.position.file, line=result.position.line)
        return f"<testcase {place}/>"
    words = "\n".join([f"{result.position}: {result.detail}", *behind(found.snapshot, result)])
    return _failed(suite, result.name, result.position, message=result.detail, words=words)


def _extra(found: Found) -> Iterator[Suite]:
    """What was asked for beside the tests: one failure for each gap (where too little is covered) and each survivor."""
    if found.coverage is not None:
        open_ = found.coverage.gaps if found.coverage.percent < found.least else ()
        gaps = [_failed("coverage", f"{gap.name}: {gap.missing}", gap.position, message=gap.missing, words=f"add {gap.row}") for gap in open_]
        yield Suite("coverage", "", gaps or [f"<testcase {_attributes(name='coverage', classname='coverage')}/>"], len(gaps))
    if found.mutants is not None:
        left = [_failed("mutants", f"{each.name}: {each.what}", each.position, message="survived", words=each.what) for each in found.mutants.survivors]
        yield Suite("mutants", "", left or [f"<testcase {_attributes(name='mutants', classname='mutants')}/>"], len(left))


def _failed(suite: str, name: str, position: Position, *, message: str, words: str) -> str:
    place = _attributes(name=name, classname=suite, file=position.file, line=position.line)
    return f"<testcase {place}><failure {_attributes(message=message, type='failure')}>{_escaped(words)}</failure></testcase>"


def _attributes(**values: object) -> str:
    return " ".join(f'{name}="{_escaped(str(value))}"' for name, value in values.items())


def _escaped(words: str) -> str:
    """Text of an XML document: what XML can't hold is spelt out."""
    return html.escape("\n".join(printable(line) for line in words.split("\n")))


FORMATS: Mapping[str, Callable[[Found], str]] = {"text": text, "json": as_json, "junit": junit}
"""The visible table of what `test --format` may say."""
