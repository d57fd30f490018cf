"""Quota levels as response headers: the OpenAI family's, the Anthropic family's, and the IETF pair for every family.

Used on refusals and on allowed answers alike. Names no rule: who may know which rule is `denials.disclose`'s business, so IETF
policies are named by metric and window. Money is left out: no dialect has a header for it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.need import Level

Headers = tuple[tuple[str, str], ...]

_UNITS = {"requests": "requests", "concurrency": "concurrent-requests", "tokens": "tokens", "input_tokens": "tokens", "output_tokens": "tokens"}
_OPENAI = {"requests": "requests", "tokens": "tokens"}
_ANTHROPIC = {"requests": "requests", "tokens": "tokens", "input_tokens": "input-tokens", "output_tokens": "output-tokens"}


def headers(family: str, levels: Sequence[Level], now: float | None = None) -> Headers:
    """`x-ratelimit-*` (openai), `anthropic-ratelimit-*` (anthropic; its reset is a date, so only where `now` is given) and the IETF pair.

    Of several levels with one metric the one nearest to its end is told. `now` is Unix seconds.
    """
    if not levels:
        return ()
    own: list[tuple[str, str]] = []
    if family == "openai":
        own = [pair for metric, level in _tightest(levels, _OPENAI).items() for pair in _openai(_OPENAI[metric], level)]
    elif family == "anthropic":
        own = [pair for metric, level in _tightest(levels, _ANTHROPIC).items() for pair in _anthropic(_ANTHROPIC[metric], level, now)]
    return (*own, *_ietf(levels))


def retry_after(seconds: float) -> str:
    """`Retry-After` (RFC 9110, 10.2.3) in whole seconds, rounded up: never too early, never 0."""
    return str(max(1, math.ceil(seconds)))


def go_duration(seconds: float) -> str:
    """`20ms`, `1.5s`, `6m0s`, `1h2m3s`: what Go's Duration.String writes, in milliseconds."""
    total = max(0, math.ceil(seconds * 1000))
    if total < 1000:
        return f"{total}ms" if total else "0s"
    minutes, millis = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{millis / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{tail}"
    return f"{minutes}m{tail}" if minutes else tail


def _tightest(levels: Sequence[Level], metrics: dict[str, str]) -> dict[str, Level]:
    found: dict[str, Level] = {}
    for level in levels:
        if level.metric in metrics and (level.metric not in found or level.remaining < found[level.metric].remaining):
            found[level.metric] = level
    return found


def _openai(noun: str, level: Level) -> Headers:
    return (
        (f"x-ratelimit-limit-{noun}", _whole(level.limit)),
        (f"x-ratelimit-remaining-{noun}", _whole(level.remaining)),
        (f"x-ratelimit-reset-{noun}", go_duration(level.reset_after)),
    )


def _anthropic(noun: str, level: Level, now: float | None) -> Headers:
    told = (
        (f"anthropic-ratelimit-{noun}-limit", _whole(level.limit)),
        (f"anthropic-ratelimit-{noun}-remaining", _whole(level.remaining)),
    )
    if now is None:
        return told
    reset = datetime.fromtimestamp(math.ceil(now + level.reset_after), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (*told, (f"anthropic-ratelimit-{noun}-reset", reset))


def _ietf(levels: Sequence[Level]) -> Headers:
    """draft-ietf-httpapi-ratelimit-headers-10: `"requests-60";q=60;w=60` and `"requests-60";r=12;t=7`."""
    told: dict[str, tuple[str, Level]] = {}
    for level in levels:
        if level.metric in _UNITS:
            name, policy = _named(level.metric, level.window, level.limit)
            if name not in told or level.remaining < told[name][1].remaining:
                told[name] = policy, level
    if not told:
        return ()
    return (
        ("ratelimit-policy", ", ".join([policy for policy, _ in told.values()])),
        ("ratelimit", ", ".join([f'"{name}";r={_whole(level.remaining)};t={math.ceil(max(0.0, level.reset_after))}' for name, (_, level) in told.items()])),
    )


@lru_cache(maxsize=1024)
def _named(metric: str, window: float, limit: float) -> tuple[str, str]:
    """The policy's name and text: the same for every call of a limit, so written once."""
    name = f"{metric}-{math.ceil(window)}" if window else metric
    unit = _UNITS[metric]
    said = f'"{name}";q={_whole(limit)}' + ("" if unit == "requests" else f';qu="{unit}"')
    return name, f"{said};w={math.ceil(window)}" if window else said


def _whole(value: float) -> str:
    return str(max(0, math.floor(value)))
