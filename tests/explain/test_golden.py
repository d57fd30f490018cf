"""Each folder is a case: documents (and `team.yaml` as a second layer), a call, and what its author is told, in `want.txt`."""

import json
from pathlib import Path

import pytest

from sidecar.cli.explained import Style, lines, page
from sidecar.config.load import LayerFiles
from sidecar.workbench import explain
from sidecar.workbench.prepare import prepare

HERE = Path(__file__).parent
CASES = sorted(folder for folder in HERE.iterdir() if (folder / "call.json").exists())
NOW = 1793527200.0  # 2026-11-01T10:00:00Z, a Sunday


def snapshot(folder):
    files = [("platform.yaml", (HERE / "platform.yaml").read_bytes()), ("documents.yaml", (folder / "documents.yaml").read_bytes())]
    if b"kind: Upstream" in files[1][1]:
        files[0] = ("platform.yaml", files[0][1].partition(b"---\napiVersion: sidecar.dev/v1\nkind: Upstream")[0])
    layers = [LayerFiles("base", tuple(files))]
    if (folder / "team.yaml").exists():
        layers.append(LayerFiles("team", (("team.yaml", (folder / "team.yaml").read_bytes()),)))
    prepared = prepare(layers, {}, NOW)
    assert prepared.snapshot is not None, prepared.diagnostics
    return prepared.snapshot


def told(folder, **style):
    return page(lines(explain.explain(snapshot(folder), json.loads((folder / "call.json").read_text()), NOW), Style(**style)))


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_an_author_is_told_what_decided_and_what_would_be_allowed(folder, request):
    want = folder / "want.txt"
    if request.config.getoption("--update", default=False):
        want.write_text(told(folder), encoding="utf-8")
    assert told(folder) == want.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_the_tree_is_plain_json_and_says_what_the_text_says(folder):
    tree = explain.explain(snapshot(folder), json.loads((folder / "call.json").read_text()), NOW)
    assert json.loads(json.dumps(tree)) == tree
    assert page(lines(json.loads(json.dumps(tree)), Style())) == told(folder)


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_more_levels_never_tell_less(folder):
    deep = told(folder, everything=True).splitlines()
    assert [line for line in told(folder).splitlines() if " → " in line and line not in deep] == []


def test_there_are_enough_cases():
    assert len(CASES) >= 15
