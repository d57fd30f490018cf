"""Each folder is a case: `bad.yaml` (and `team.yaml` as a second layer) and what an author is told of it, in `want.txt`."""

from pathlib import Path

import pytest

from sidecar.config.diagnostics import render_text
from sidecar.config.load import load

HERE = Path(__file__).parent
CASES = sorted(folder for folder in HERE.iterdir() if (folder / "bad.yaml").exists())
NOW = 1793527200.0  # 2026-11-01T10:00:00Z
ENVIRON = {"REGION": "eu"}


def told(folder):
    files = [name for name in ("bad.yaml", "team.yaml") if (folder / name).exists()]
    names = ("base", "team") if len(files) > 1 else ("",)
    layers = [(layer, [(file, (folder / file).read_bytes())]) for layer, file in zip(names, files, strict=True)]
    return render_text(load(layers, ENVIRON, NOW).diagnostics)


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_an_author_is_told_what_is_wrong_where_and_what_to_write(folder, request):
    want = folder / "want.txt"
    if request.config.getoption("--update", default=False):
        want.write_text(told(folder), encoding="utf-8")
    assert told(folder) == want.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_every_case_is_wrong_in_some_way(folder):
    assert ": error: " in told(folder) or ": warning: " in told(folder)


def test_there_are_enough_cases():
    assert len(CASES) >= 40
