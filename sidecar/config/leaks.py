"""Secrets in documents: keys and tokens of well-known shapes, anywhere in a file, comments included.

Documents are reviewed, mailed and committed; a credential belongs into a variable or a file that they name. The shapes are
the providers' published ones. The value is never repeated in the message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.config.source import Source


class _Shape(NamedTuple):
    """`prefix` is searched for first, because a plain search costs nothing on a file without one."""

    prefix: str
    noun: str
    pattern: re.Pattern[str]


_START = r"(?<![A-Za-z0-9_-])"


def _after(prefix: str, rest: str) -> re.Pattern[str]:
    return re.compile(_START + prefix + rest)


_SHAPES: tuple[_Shape, ...] = (
    # model providers
    _Shape("sk-", "an API key", _after("sk-", r"[A-Za-z0-9_-]{20,}")),
    _Shape("sck_", "a key of this sidecar", _after("sck_", r"[A-Za-z0-9]{20,}")),
    _Shape("AIza", "a Google API key", _after("AIza", r"[A-Za-z0-9_-]{35}")),
    _Shape("ya29.", "a Google access token", _after(r"ya29\.", r"[A-Za-z0-9_-]{20,}")),
    _Shape("gsk_", "an API key", _after("gsk_", r"[A-Za-z0-9]{20,}")),
    _Shape("xai-", "an API key", _after("xai-", r"[A-Za-z0-9]{40,}")),
    _Shape("pplx-", "an API key", _after("pplx-", r"[A-Za-z0-9]{40,}")),
    _Shape("r8_", "an API key", _after("r8_", r"[A-Za-z0-9]{30,}")),
    _Shape("nvapi-", "an API key", _after("nvapi-", r"[A-Za-z0-9_-]{40,}")),
    _Shape("hf_", "a Hugging Face token", _after("hf_", r"[A-Za-z0-9]{30,}")),
    # clouds and tools
    _Shape("AKIA", "an AWS access key", _after("AKIA", r"[A-Z0-9]{16}(?![A-Z0-9])")),
    _Shape("ASIA", "an AWS access key", _after("ASIA", r"[A-Z0-9]{16}(?![A-Z0-9])")),
    _Shape("ccount", "an Azure storage key", re.compile(r"(?<=AccountKey=)[A-Za-z0-9+/]{40,}={0,2}")),
    _Shape("dapi", "a Databricks token", _after("dapi", r"[0-9a-f]{32}(?![0-9a-f])")),
    _Shape("ghp_", "a GitHub token", _after("ghp_", r"[A-Za-z0-9]{36}")),
    _Shape("gho_", "a GitHub token", _after("gho_", r"[A-Za-z0-9]{36}")),
    _Shape("ghs_", "a GitHub token", _after("ghs_", r"[A-Za-z0-9]{36}")),
    _Shape("ghu_", "a GitHub token", _after("ghu_", r"[A-Za-z0-9]{36}")),
    _Shape("github_pat_", "a GitHub token", _after("github_pat_", r"[A-Za-z0-9_]{40,}")),
    _Shape("glpat-", "a GitLab token", _after("glpat-", r"[A-Za-z0-9_-]{20,}")),
    _Shape("xox", "a Slack token", _after("xox", r"[abprs]-[A-Za-z0-9-]{10,}")),
    _Shape("hooks.slack.com", "a Slack webhook", re.compile(r"(?<=hooks\.slack\.com/services/)T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]{16,}")),
    _Shape("npm_", "an npm token", _after("npm_", r"[A-Za-z0-9]{36}")),
    _Shape("pypi-", "a PyPI token", _after("pypi-", r"[A-Za-z0-9_-]{50,}")),
    _Shape("SG.", "a SendGrid key", _after(r"SG\.", r"[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}")),
    _Shape("k_live_", "a Stripe key", _after("[rs]k_live_", r"[A-Za-z0-9]{20,}")),
    _Shape("dop_v1_", "a DigitalOcean token", _after("dop_v1_", r"[0-9a-f]{64}")),
    _Shape("hvs.", "a Vault token", _after(r"hvs\.", r"[A-Za-z0-9_-]{24,}")),
    _Shape("AGE-SECRET-KEY-1", "an age key", _after("AGE-SECRET-KEY-1", r"[0-9A-Z]{50,}")),
    # of any house
    _Shape("eyJ", "a JSON web token", _after("eyJ", r"[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*")),
    _Shape("PRIVATE KEY-----", "a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    _Shape("://", "a password in a connection string", re.compile(r"(?<=//)(?<!https://)(?<!http://)[^\s:/@\"'$]{0,64}:[^\s/@\"'${}]{3,256}(?=@)")),
    _Shape("earer ", "a bearer token", re.compile(r"(?<=[Bb]earer )[A-Za-z0-9_.~+/-]{32,}=*(?![A-Za-z0-9])")),
)
"""Shapes by their publishers' documentation. URLs over http are `checks/upstreams`' to refuse."""


def scan(source: Source, text: str) -> None:
    """Complain of every secret in the file, and mask it in the lines that diagnostics show."""
    shapes = [shape for shape in _SHAPES if shape.prefix in text]
    if not shapes:
        return
    for index, line in enumerate(source.lines):
        found = [(match, shape.noun) for shape in shapes if shape.prefix in line for match in shape.pattern.finditer(line)]
        for match, noun in _apart(found):
            source.secrets.append(match[0])
            source.lines[index] = source.lines[index].replace(match[0], "*" * len(match[0]))
            hint = "revoke it, and name a variable or a file in its place"
            source.complain("secret", f"this looks like {noun}; documents hold none", index + 1, match.start() + 1, end_column=match.end() + 1, hint=hint)


def _apart(found: list[tuple[re.Match[str], str]]) -> Iterator[tuple[re.Match[str], str]]:
    """In the order of their places; what lies in another is that one."""
    end = 0
    for match, noun in sorted(found, key=lambda pair: (pair[0].start(), -pair[0].end())):
        if match.start() >= end:
            yield match, noun
            end = match.end()
