"""The policy library keeps its word: every folder can be laid over a platform, and its tests notice every change of it."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.config.documents import Defaults
from sidecar.workbench import cases, coverage, mutate
from sidecar.workbench.files import read_layers
from sidecar.workbench.prepare import compiled, prepare

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "policies" / "library"
PLATFORM = LIBRARY / "platform"
TOPICS = sorted(folder for folder in LIBRARY.iterdir() if folder.is_dir() and folder != PLATFORM)
EXAMPLES = sorted(folder for folder in (ROOT / "policies").iterdir() if folder.is_dir() and folder != LIBRARY)
PAGE = (LIBRARY / "README.md").read_text(encoding="utf-8")
NOW = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
"""A day on which the page's exception is live, and less than 90 days before it ends."""
WATCHED = [pytest.param((PLATFORM, folder, folder / "tests"), id=folder.name) for folder in TOPICS]
WATCHED += [pytest.param((folder,), id=folder.name) for folder in EXAMPLES]


def loaded(*folders, now=NOW):
    prepared = compiled(read_layers([str(folder) for folder in folders]), {}, now)
    assert prepared.snapshot is not None, prepared.diagnostics
    return prepared.snapshot


def chosen(snapshot):
    return [case for test in snapshot.tests for case in cases.cases_of(test)]


@pytest.mark.parametrize("folder", TOPICS, ids=lambda folder: folder.name)
def test_a_topic_checks_alone_without_a_warning(folder, capsys):
    assert main(["check", "-c", str(folder), "--strict"]) == exits.OK, capsys.readouterr().out


@pytest.mark.parametrize("layers", WATCHED)
def test_every_case_passes_and_nothing_is_left_uncovered(layers):
    snapshot = loaded(*layers)
    cells = chosen(snapshot)
    assert [(result.name, result.detail) for case in cells if not (result := cases.result(snapshot, case)).passed] == []
    measured = coverage.measure(snapshot, cells)
    assert measured.wanted > 0
    assert measured.gaps == ()
    assert measured.percent == 100


PLAYED_WITH = ("`4000` made", "before `4000`", "doubled")
"""What the quickstart's tests leave open on purpose: its limits are there to be changed while it runs."""


@pytest.mark.parametrize("layers", WATCHED)
def test_no_mutant_survives(layers):
    snapshot = loaded(*layers)
    outcome = mutate.run(snapshot, chosen(snapshot))
    assert outcome.total > 5
    left = [each for each in outcome.survivors if layers[0].name != "quickstart" or not any(words in each.what for words in PLAYED_WITH)]
    assert [(str(each.position), each.name, each.what) for each in left] == []


def test_the_platform_allows_all_by_default_so_that_each_folder_shows_what_it_takes_away():
    assert loaded(PLATFORM).settings.default == Defaults(effect="allow")


def test_all_topics_go_together():
    assert loaded(PLATFORM, *TOPICS).layers[-1].name == str(TOPICS[-1])


def test_the_page_tells_every_topic_and_every_risk():
    for folder in TOPICS:
        assert len(re.findall(rf"^\| `{folder.name}` \|", PAGE, re.MULTILINE)) == 1, folder.name
    for risk in [*(f"LLM{number:02}" for number in range(1, 11)), *(f"T{number}" for number in range(1, 16))]:
        assert len(re.findall(rf"^\| {risk} ", PAGE, re.MULTILINE)) == 1, risk
    named = set(re.findall(r"`([a-z]+-[a-z-]+)`", PAGE))
    assert named - {folder.name for folder in TOPICS} == set()


def test_the_rows_of_the_page_agree_with_one_another():
    """A folder that says it is about a risk stands in that risk's row, and the labels of its documents name no other risk."""
    rows = dict(re.findall(r"^\| (LLM\d\d|T\d+) [^|]*\|([^\n]*)", PAGE, re.MULTILINE))
    for folder in TOPICS:
        said = re.search(rf"^\| `{folder.name}` \|[^|]*\|([^|]*)\|", PAGE, re.MULTILINE)[1].replace(" ", "").split(",")
        assert [risk for risk in said if f"`{folder.name}`" not in rows[risk] and "as LLM" not in rows[risk]] == [], folder.name
        labelled = set(re.findall(r"owasp: (\w+)", "".join(file.read_text() for file in folder.glob("*.yaml"))))
        assert labelled <= set(said), folder.name


# ---------------------------------------------------------------- break glass


@pytest.fixture
def glass(tmp_path):
    """The page's exception and its tests, written where the page says."""
    folder = Path(shutil.copytree(LIBRARY / "dangerous-tools", tmp_path / "dangerous-tools"))
    exception, rows = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (folder / "exception.yaml").write_text(exception)
    (folder / "tests" / "exception.yaml").write_text(rows)
    return folder


def test_the_break_glass_of_the_page_loads_and_its_tests_pass(glass):
    snapshot = loaded(PLATFORM, glass, glass / "tests")
    results = [result for test in snapshot.tests for result in cases.run(snapshot, test) if test.name.startswith("ir-4711")]
    assert [(result.name, result.passed) for result in results] == [(result.name, True) for result in results]
    assert len(results) == 4


def test_the_break_glass_of_the_page_is_covered_and_no_mutant_of_it_survives(glass):
    snapshot = loaded(PLATFORM, glass, glass / "tests")
    assert coverage.measure(snapshot, chosen(snapshot)).gaps == ()
    assert mutate.run(snapshot, chosen(snapshot)).survivors == ()


def test_without_its_exception_the_page_s_rows_fail(glass):
    (glass / "exception.yaml").unlink()
    prepared = prepare(read_layers([str(PLATFORM), str(glass), str(glass / "tests")]), {}, NOW)
    assert prepared.snapshot is None
    assert "ir-4711: responder / shell" in prepared.diagnostics[-1].message
