"""Each folder is a case: `bad.yaml` (and `team.yaml` as a second layer) and what `check` tells an author of it, in `want.txt`."""

import ast
import re
from pathlib import Path

import pytest

from sidecar.config.codes import CODES
from sidecar.config.diagnostics import render_text
from sidecar.config.load import LayerFiles
from sidecar.workbench.check import check

HERE = Path(__file__).parent
CASES = sorted(folder for folder in HERE.iterdir() if (folder / "bad.yaml").exists())
NOW = 1793527200.0  # 2026-11-01T10:00:00Z
ENVIRON = {"REGION": "eu"}


def told(folder):
    files = [name for name in ("bad.yaml", "team.yaml") if (folder / name).exists()]
    names = ("base", "team") if len(files) > 1 else ("",)
    layers = [LayerFiles(layer, ((file, (folder / file).read_bytes()),)) for layer, file in zip(names, files, strict=True)]
    return render_text(check(layers, ENVIRON, NOW).diagnostics)


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_an_author_is_told_what_is_wrong_where_and_what_to_write(folder, request):
    want = folder / "want.txt"
    if request.config.getoption("--update", default=False):
        want.write_text(told(folder), encoding="utf-8")
    assert told(folder) == want.read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_every_case_is_wrong_in_some_way(folder):
    assert re.search(": (error|warning|note): ", told(folder))


def test_there_are_enough_cases():
    assert len(CASES) >= 40


# ---------------------------------------------------------------- codes

SOURCE = HERE.parents[1] / "sidecar"
TELLERS = {"complaint", "complain", "complain_at", "say", "at_key", "warning", "refuse", "Diagnostic", "_Trap"}
ELSEWHERE = {
    "bindings": "workbench/trial.py, tests/cli/test_eval.py",
    "bug": "live.py, tests/way/test_reload.py",
    "candidate": "shadow.py, tests/way/test_candidate.py",
    "format": "workbench/fmt, tests/workbench/test_fmt.py",
    "build": "live.py, tests/way/test_reload.py",
    "restart": "live.py, tests/way/test_reload.py",
    "test-failed": "workbench/prepare.py, tests/workbench",
    "unreadable": "workbench/files.py, tests/workbench/test_files.py",
    "no-documents": "tests/config/test_load.py",
    "too-large": "tests/config/test_size.py",
    "too-many": "tests/config/test_size.py",
}
"""Codes that no `bad.yaml` can have, and where they are tested."""


def emitted():
    """Codes in the source: constants where a diagnostic is made, and the two that are put together."""
    found = {"unknown-principal", "unknown-call", "store"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (getattr(node.func, "attr", "") or getattr(node.func, "id", "")) in TELLERS:
                words = [each.value for each in node.args[:4] if isinstance(each, ast.Constant) and isinstance(each.value, str)]
                found |= {next((word for word in words if re.fullmatch("[a-z]+(-[a-z]+)*", word) and word not in {"error", "warning", "note"}), "")}
    return found - {""}


def test_every_code_that_the_source_has_is_described_and_the_other_way_round():
    assert emitted() == set(CODES)


def test_every_code_has_a_case():
    shown = {code for folder in CASES for code in re.findall(r": (?:error|warning|note): .* \[([a-z-]+)\]$", (folder / "want.txt").read_text(), re.MULTILINE)}
    assert sorted(set(CODES) - shown - set(ELSEWHERE)) == []
