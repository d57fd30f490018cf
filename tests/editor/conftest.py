"""The language server of package-lock.json: installed once beside this file, then found there. Skipped where node or npm is missing."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
SERVER = HERE / "node_modules" / "yaml-language-server"


@pytest.fixture(scope="session")
def installed():
    """The command that starts the pinned server."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not here: the language server cannot run")
    with (HERE / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers of pytest-xdist start at once
        if _version() != _pinned():
            _install()
    return ["node", str(SERVER / "bin" / "yaml-language-server"), "--stdio"]


def _pinned():
    return json.loads((HERE / "package.json").read_text())["dependencies"]["yaml-language-server"]


def _version():
    with contextlib.suppress(OSError):
        return json.loads((SERVER / "package.json").read_text())["version"]
    return ""


def _install():
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, capture_output=True, text=True, check=False, timeout=100)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"npm could not install the language server: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def server(installed):
    from server import LanguageServer

    running = LanguageServer(installed)
    yield running
    running.stop()


@pytest.fixture
def editor(server, tmp_path):
    """An editor with the schema: `¦` is the cursor."""
    return Editor(server, tmp_path)


class Editor:
    """What is typed, as `before¦after`; the first line names the schema."""

    SCHEMA = HERE.parents[1] / "schemas" / "sidecar.json"

    def __init__(self, server, folder):
        self.server, self.folder, self.opened = server, folder, 0

    def at(self, text, schema=None):
        self.opened += 1
        before, _, after = f"# yaml-language-server: $schema={schema or self.SCHEMA}\n{text}".partition("¦")
        uri = (self.folder / f"{self.opened}.yaml").as_uri()
        found = self.server.open(uri, before + after)
        return uri, before.count("\n"), len(before) - before.rfind("\n") - 1, found

    def completions(self, text):
        """Label to the documentation shown beside it."""
        uri, line, character, _ = self.at(text)
        return {item["label"]: _words(item.get("documentation", "")) for item in self.server.complete(uri, line, character)}

    def hover(self, text):
        uri, line, character, _ = self.at(text)
        return self.server.hover(uri, line, character)

    def findings(self, text, schema=None):
        """[(the text that is underlined, message)]."""
        *_, found = self.at(text, schema)
        lines = ["", *text.splitlines()]
        return [
            (lines[item["range"]["start"]["line"]][item["range"]["start"]["character"] : item["range"]["end"]["character"]], item["message"]) for item in found
        ]


def _words(documentation):
    return documentation if isinstance(documentation, str) else documentation["value"]
