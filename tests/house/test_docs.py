"""What the documentation shows is true: YAML loads and passes its own tests, transcripts come out as printed, names exist.

A block marked `console` is run in a shell, line by line in a directory of its own: such blocks hold only what does no harm.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sidecar import wire
from sidecar.cli.main import COMMANDS
from sidecar.config.load import LayerFiles
from sidecar.expr.functions import FUNCTIONS
from sidecar.telemetry.metrics import FAMILIES
from sidecar.workbench.prepare import prepare

ROOT = Path(__file__).parents[2]
NOW = 1_795_000_000.0
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
FRAME = {
    "Identity": "spec: {methods: [{apiKey: {keys: []}}]}",
    "Upstream": 'spec: {protocol: llm, dialect: openai, url: "echo:", models: [{name: gpt-4o, price: {input: 1, output: 1, per: 1M}}]}',
}
"""What a block that shows a part is completed with."""
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.exists()]
BLOCKS = [pytest.param(block, id=f"{page.name}-{index}") for page in PAGES for index, block in enumerate(BLOCK.findall(page.read_text()))]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_documented_block_checks_and_its_tests_pass(block):
    files = [("block.yaml", block.encode())]
    for kind, spec in FRAME.items():
        if f"kind: {kind}" not in block:
            files.append((f"{kind}.yaml", f"apiVersion: sidecar.dev/v1\nkind: {kind}\nmetadata: {{name: frame}}\n{spec}\n".encode()))
    prepared = prepare([LayerFiles("docs", tuple(files))], {}, NOW)
    assert prepared.snapshot is not None, prepared.diagnostics
    assert [item.message for item in prepared.diagnostics if item.severity != "note"] == []


def test_the_readme_shows_yaml():
    assert len(BLOCKS) >= 3


# ---------------------------------------------------------------- commands

SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXTS = {page.name: page.read_text() for page in PAGES}
LINES = [line for text in TEXTS.values() for block in SHELL.findall(text) for line in block.splitlines() if line.startswith("sidecar ")]
TRANSCRIPTS = [pytest.param(block, id=f"{name}-{index}") for name, text in TEXTS.items() for index, block in enumerate(CONSOLE.findall(text))]


@pytest.mark.parametrize("line", LINES)
def test_a_command_that_is_shown_has_the_options_that_are_shown(line):
    _, name, *arguments = shlex.split(line, comments=True)
    parser = argparse.ArgumentParser(prog=name, exit_on_error=False)
    import_module(COMMANDS[name].module).configure(parser)
    parser.parse_args(arguments)


def test_commands_are_shown():
    assert {shlex.split(line)[1] for line in LINES} >= {"exec", "check", "test", "explain"}


@pytest.mark.parametrize("block", TRANSCRIPTS)
def test_a_transcript_comes_out_as_printed(block, tmp_path):
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = piece.partition("\n")
        done = subprocess.run(["bash", "-c", f"{command} 2>&1"], capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PATH": path})
        assert done.stdout == printed, command


def test_transcripts_are_shown():
    assert TRANSCRIPTS


# ---------------------------------------------------------------- names


def test_every_endpoint_that_is_listed_is_served_and_every_one_that_is_served_is_listed():
    shown = " ".join(line for line in TEXTS["README.md"].splitlines() if line.startswith("| `/v1"))
    for endpoint in wire.ENDPOINTS:
        literal = re.sub(r"\[[^]]*\]|P<\w+>", "", endpoint.path)
        assert any(word in shown for word in re.findall(r"[A-Za-z_]{6,}", literal)), endpoint.path
    paths = [path for path in re.findall(r"`(/v1[^`{]*)`", shown) if path != "/v1"]
    assert [path for path in paths if not any(served(method, path) for method in ("GET", "POST"))] == []


def served(method, path):
    try:
        return wire.match(method, path)
    except (wire.UnknownPath, wire.MethodNotAllowed):
        return None


def test_every_function_of_conditions_is_told():
    rows = "\n".join(line for line in TEXTS["conditions.md"].splitlines() if line.startswith("|"))
    told = set(re.findall(r"[a-zA-Z0-9.]+", " ".join(re.findall(r"`([^`]+)`", rows))))
    assert [name for name in FUNCTIONS if name[0] not in "_!-@" and name not in told] == []


def test_every_command_is_told():
    shown = " ".join(TEXTS.values())
    assert [name for name in COMMANDS if f"sidecar {name}" not in shown and f"`{name}`" not in shown] == []


def test_every_metric_that_is_named_is_told():
    for text in TEXTS.values():
        for name in re.findall(r"`(sidecar_[a-z_]+)`", text):
            assert name.removesuffix("_total") in FAMILIES, name
