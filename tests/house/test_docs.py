"""Every YAML block of the documentation loads without an error or warning, and its tests pass."""

import re
from pathlib import Path

import pytest

from sidecar.config.load import LayerFiles
from sidecar.workbench.prepare import prepare

ROOT = Path(__file__).parents[2]
NOW = 1_795_000_000.0
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
FRAME = """
apiVersion: sidecar.dev/v1
kind: Identity
metadata: {name: frame}
spec: {methods: [{apiKey: {keys: []}}]}
---
apiVersion: sidecar.dev/v1
kind: Upstream
metadata: {name: frame}
spec: {protocol: llm, dialect: openai, url: "echo:", models: [{name: gpt-4o, price: {input: 1, output: 1, per: 1M}}]}
"""
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.exists()]
BLOCKS = [pytest.param(block, id=f"{page.name}-{index}") for page in PAGES for index, block in enumerate(BLOCK.findall(page.read_text()))]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_documented_block_checks_and_its_tests_pass(block):
    files = [("block.yaml", block.encode())]
    if "kind: Upstream" not in block:
        files.append(("frame.yaml", FRAME.encode()))
    prepared = prepare([LayerFiles("docs", tuple(files))], {}, NOW)
    assert prepared.snapshot is not None, prepared.diagnostics
    assert [item.message for item in prepared.diagnostics if item.severity != "note"] == []


def test_the_readme_shows_yaml():
    assert len(BLOCKS) >= 3
