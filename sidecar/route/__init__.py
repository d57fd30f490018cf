"""Routing cores: ways from a `Permit` to a `Reply`. `base.py` is the contract; the table below is all there are.

A user's own core comes by entry point (group `sidecar.cores`) and is imported only when Settings name it; it is a callable
that takes `parts.Parts` and gives a `RoutingCore`. Behind whichever core is configured the same gates have run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sidecar.errors import ConfigError
from sidecar.route import parts as assembled
from sidecar.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config.documents import Settings
    from sidecar.decision import Permit
    from sidecar.route.base import RoutingCore
    from sidecar.route.channel import Channel
    from sidecar.route.parts import Parts

GROUP = "sidecar.cores"
REMEMBERED = 4096
"""Asked names whose strategy is kept."""

CORES: Mapping[str, Callable[[Parts], RoutingCore]] = {
    "direct": assembled.direct,
    "delegate": assembled.delegate,
    "echo": assembled.echo,
}
"""The visible table of cores."""


def load(name: str) -> Callable[[Parts], RoutingCore]:
    """The core that Settings name. Raises ConfigError for a name that nothing provides, or an entry point that does not import."""
    if name in CORES:
        return CORES[name]
    from importlib.metadata import entry_points  # noqa: PLC0415  (tens of milliseconds, for a name that is not ours)

    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if len(found) != 1:
        have = ", ".join(f"`{core}`" for core in CORES)
        what = "two packages provide" if found else "nothing provides"
        raise ConfigError(f"{what} the core `{name}`: there are {have}, and the `{GROUP}` entry points of installed packages")
    try:
        core = found[0].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the core `{name}` cannot be imported: {error}") from error
    if not callable(core):
        raise ConfigError(f"the core `{name}` is no callable that makes one")
    made: Callable[[Parts], RoutingCore] = core
    return made


def build(
    snapshot: Snapshot,
    settings: Settings,
    *,
    channel: Channel,
    environ: Mapping[str, str],
    clock: Callable[[], float],
    rand: Callable[[], float],
    passthrough: Callable[[Permit], str | None] | None = None,
    on_attempt: Callable[[str, str, int], None] | None = None,
) -> RoutingCore:
    """The core of a snapshot. Raises ConfigError.

    `clock` gives Unix seconds, `rand` numbers in [0, 1), `passthrough` the caller's own credential for upstreams that ask for
    it; `on_attempt` hears of each attempt (upstream, outcome, nanoseconds to the head of the answer).
    """
    return load(settings.core)(
        assembled.Parts(
            upstreams=snapshot.upstreams,
            strategy=strategies(snapshot),
            delegate=settings.delegate,
            channel=channel,
            environ=environ,
            wall=clock,
            steady=time.monotonic,
            draw=rand,
            trace=tracing.outgoing(settings.telemetry),
            passthrough=passthrough or _nothing,
            on_attempt=on_attempt,
        )
    )


def strategies(snapshot: Snapshot) -> Callable[[str, str], str]:
    """The strategy for a dialect and an asked target; `priority` where no Route says. Remembered, since routes are matched by pattern."""
    known: dict[tuple[str, str], str] = {}

    def of(family: str, asked: str) -> str:
        found = known.get((family, asked))
        if found is None:
            path = snapshot.route(family, asked)
            if len(known) >= REMEMBERED:
                known.clear()
            found = known[family, asked] = path.spec.strategy if path is not None else "priority"
        return found

    return of


def _nothing(_permit: Permit) -> None:
    """Nobody's credential goes up."""
