"""`sidecar exec -- CMD`: serve on free ports, run CMD with base URLs and a key for this run, stop with it.

Provider keys leave CMD's environment: what the agent could send around the sidecar, it no longer has.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.cli.banner import environment
from sidecar.cli.run import QUICKSTART, _runner, opened, refused
from sidecar.errors import ConfigError
from sidecar.server.app import Sidecar, load, state_directory
from sidecar.server.local import LocalKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.workbench.prepare import Prepared

PROVIDER_KEYS = frozenset(
    {"OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY", "AZURE_OPENAI_API_KEY", "MISTRAL_API_KEY", "COHERE_API_KEY", "GROQ_API_KEY", "DEEPSEEK_API_KEY", "XAI_API_KEY", "OPENROUTER_API_KEY", "TOGETHER_API_KEY", "HF_TOKEN"}
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("-c", "--config", action="append", metavar="DIR", help="a layer of documents (default: the embedded quickstart)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments")


def run(args: argparse.Namespace) -> int:
    """Serve, run, stop; CMD's exit code."""
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        sys.stderr.write("usage: sidecar exec [-c DIR]… -- CMD [ARG…]\n")
        return exits.USAGE
    directories = args.config or [QUICKSTART]
    try:
        prepared = _anywhere(load(directories, os.environ, time.time()))
    except ConfigError as error:
        return refused(error)
    key = LocalKey.fresh("exec")
    sidecar = Sidecar(directories, prepared=prepared, environ=os.environ, state=state_directory(os.environ), local=key)
    with _runner() as runner:
        return runner.run(_serve(sidecar, key, command))


def _anywhere(prepared: Prepared) -> Prepared:
    """The same configuration on free loopback ports, so that several runs live side by side."""
    if prepared.snapshot is None:
        raise ConfigError("the configuration does not load", prepared.diagnostics)
    old = prepared.snapshot.settings
    free = {name: replace(getattr(old, name), host="127.0.0.1", port=0, tls=None) for name in ("listen", "admin", "health")}
    return prepared._replace(snapshot=replace(prepared.snapshot, settings=replace(old, **free)))


def environ_for(base: str, token: str, inherited: Mapping[str, str], credentials: Sequence[str]) -> dict[str, str]:
    """CMD's environment: no provider key, no credential that a document names, our base URLs and this run's key."""
    gone = PROVIDER_KEYS.union(credentials)
    kept = {name: value for name, value in inherited.items() if name not in gone and not name.startswith("SIDECAR_")}
    return {**kept, **environment(base, token)}


async def _serve(sidecar: Sidecar, key: LocalKey, command: Sequence[str]) -> int:
    signals = Signals()
    failed = await opened(sidecar)
    if failed:
        return failed
    snapshot = sidecar.services.active().snapshot
    named = [spec.credential.env for spec in snapshot.upstreams.values() if spec.credential is not None and spec.credential.env]
    env = environ_for(f"http://127.0.0.1:{sidecar.ports['data']}", key.token, os.environ, named)
    try:
        return await _child(command, env, signals)
    finally:
        await sidecar.close()


class Signals:
    """Hands SIGTERM and SIGINT to the command; one that comes before there is a command waits for it, so that none is left behind."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._child: asyncio.subprocess.Process | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._take, number)

    def hand_to(self, child: asyncio.subprocess.Process) -> None:
        """From now on."""
        self._child = child
        for number in self._waiting:
            self._take(number)

    def _take(self, number: int) -> None:
        if self._child is None:
            self._waiting.append(number)
            return
        with suppress(ProcessLookupError):  # it has just ended by itself
            self._child.send_signal(number)


async def _child(command: Sequence[str], env: Mapping[str, str], signals: Signals) -> int:
    try:
        child = await asyncio.create_subprocess_exec(*command, env=env)
    except FileNotFoundError:
        sys.stderr.write(f"no such command: {command[0]}\n")
        return exits.USAGE
    except OSError as error:
        sys.stderr.write(f"cannot run `{command[0]}`: {(error.strerror or 'no reason given').lower()}\n")
        return exits.USAGE
    signals.hand_to(child)
    code = await child.wait()
    return code if code >= 0 else 128 - code
