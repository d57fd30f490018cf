"""`serve`: the command line's own process, its lines as they come, and calls to what it serves."""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20
"""Seconds a test waits for a line before it gives up."""


class Process:
    """A running command. `line` waits for one that holds a text; `until` gives all lines up to it."""

    def __init__(self, arguments, environ, people="stdout"):
        self.child = subprocess.Popen([sys.executable, "-m", "sidecar", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
        self._lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, args=(getattr(self.child, people),), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def until(self, text):
        lines = []
        while True:
            line = self._lines.get(timeout=PATIENCE)
            if line is None:
                pytest.fail(f"it ended without `{text}`: {self.child.stderr.read()}")
            lines.append(line)
            self.seen.append(line)
            if re.search(text, line):
                return lines

    def line(self, text):
        return self.until(text)[-1]

    def signal(self, number):
        self.child.send_signal(number)

    def stop(self):
        """SIGTERM; the exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE)


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def environ(state):
    """An environment without provider keys, with a state directory of its own."""
    gone = ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "SIDECAR")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(gone)}, "SIDECAR_STATE": str(state), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def quickstart(tmp_path):
    """A copy of the quickstart on free ports."""
    directory = Path(shutil.copytree(ROOT / "policies" / "quickstart", tmp_path / "quickstart"))
    settings = directory / "sidecar.yaml"
    settings.write_text(re.sub(r"port: 410\d", "port: 0", settings.read_text()))
    return directory


@pytest.fixture
def serve(environ):
    """`serve("-c", directory, …)` runs `sidecar run` and waits until it serves."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, people="stdout"):
            process = Process(["run", *map(str, arguments)], environ, people)
            stack.callback(ended, process)
            process.banner = process.until(r"^health ")
            return process

        yield start


def ended(process):
    if process.child.poll() is None:
        process.child.kill()
    process.child.wait()
    process.child.stdout.close()
    process.child.stderr.close()


@pytest.fixture
def sidecar(environ):
    """`sidecar("check", …)` runs a command to its end."""

    def run(*arguments, **more):
        return subprocess.run([sys.executable, "-m", "sidecar", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60, **{"env": environ, **more})  # fmt: skip

    return run


@pytest.fixture
def post():
    """`post(url, headers, body)` → (status, headers, JSON)."""

    def send(url, headers, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, dict(answer.headers), json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), json.loads(error.read())

    return send
