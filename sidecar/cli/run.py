"""`sidecar run`: serve. Prints what to export, an allowed and a denied `curl`, then one line per decision on a terminal.

Bad configuration exits 3 before a port opens. SIGTERM and SIGINT drain; SIGHUP reloads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sidecar.cli import exits
from sidecar.cli.banner import banner
from sidecar.cli.console import Console, noted
from sidecar.config.diagnostics import render_text
from sidecar.errors import ConfigError
from sidecar.live import still
from sidecar.server import promotion
from sidecar.server.app import Sidecar, load, state_directory
from sidecar.server.local import LocalKey

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sidecar.workbench.prepare import Prepared

QUICKSTART = str((Path(__file__).parent.parent / "quickstart").resolve())


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "-c", "--config", action="append", metavar="DIR", help="a layer of documents; several are laid over one another (default: the embedded quickstart)"
    )
    parser.add_argument("--local-key", action="store_true", help="mint a key for this machine (`key:local`) into the state directory; implied without -c")
    parser.add_argument("--quiet", action="store_true", help="no line per decision")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    state = state_directory(os.environ)
    try:
        directories = held(args.config or [QUICKSTART], state)
        with still():
            prepared = load(directories, os.environ, time.time())
        key = LocalKey.kept(state, "local") if args.local_key or not args.config else None
    except ConfigError as error:
        return refused(error)
    except OSError as error:
        sys.stderr.write(f"cannot use the state directory `{state}`: {(error.strerror or 'no reason given').lower()}\n")
        return exits.USAGE
    note = noted(prepared.snapshot.settings) if prepared.snapshot is not None else ""
    out = told_on(prepared)
    console = Console(out, color=out.isatty(), note=note) if not args.quiet else None
    sidecar = Sidecar(directories, prepared=prepared, environ=os.environ, state=state, local=key, on_finished=console.finished if console else None)
    with _runner() as runner:
        return runner.run(serve(sidecar, key, directories, out))


def held(directories: Sequence[str], state: Path) -> Sequence[str]:
    """These directories, or those that were promoted over them."""
    promoted = promotion.standing(state, directories)
    if promoted:
        sys.stderr.write(f"note: {', '.join(promoted)} was promoted over {', '.join(directories)} and is in force until those change\n")
    return promoted or directories


def told_on(prepared: Prepared) -> TextIO:
    """Where lines for people go: not among the records, where those are on standard output."""
    sinks = prepared.snapshot.settings.records.sinks if prepared.snapshot is not None else ()
    return sys.stderr if any(sink.stdout for sink in sinks) else sys.stdout


def refused(error: ConfigError) -> int:
    """Tell every mistake and leave."""
    told = render_text(error.diagnostics, color=sys.stderr.isatty()) + "\n" if error.diagnostics else ""
    sys.stderr.write(f"{told}{error.message}\n")
    return exits.BAD_CONFIGURATION


def _runner() -> asyncio.Runner:
    import uvloop  # noqa: PLC0415  (not needed by the other commands)

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def opened(sidecar: Sidecar) -> int:
    """Start it. The exit code where that fails: a port that is taken, a certificate that does not load."""
    try:
        await sidecar.start()
    except OSError as error:
        sys.stderr.write(f"cannot listen: {error.strerror or error}\n")
        return exits.USAGE
    except ConfigError as error:
        return refused(error)
    return exits.OK


async def serve(sidecar: Sidecar, key: LocalKey | None, directories: Sequence[str], out: TextIO) -> int:
    """Start, wait for a signal, drain."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    failed = await opened(sidecar)
    if failed:
        return failed
    loop.add_signal_handler(signal.SIGHUP, sidecar.reload_soon)
    out.write(banner(sidecar, key, directories))
    out.flush()
    await stop.wait()
    loop.add_signal_handler(signal.SIGINT, os._exit, 130)
    await sidecar.close()
    return exits.OK
