"""Secrets in documents: keys and tokens of well-known shapes, anywhere in a file, comments included.

Documents are reviewed, mailed and committed; a credential belongs into a variable or a file that they name. The shapes are
the providers' published ones. The value is never repeated in the message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sidecar.config.source import Source


class _Shape(NamedTuple):
    """`prefix` is searched for first, because a plain search costs nothing on a file without one."""

    prefix: str
    noun: str
    pattern: re.Pattern[str]


_START = r"(?<![A-Za-z0-9_-])"
_SHAPES: tuple[_Shape, ...] = (
    _Shape("sk-", "an API key", re.compile(_START + r"sk-[A-Za-z0-9_-]{20,}")),
    _Shape("sck_", "a key of this sidecar", re.compile(_START + r"sck_[A-Za-z0-9]{20,}")),
    _Shape("AIza", "a Google API key", re.compile(_START + r"AIza[A-Za-z0-9_-]{35}")),
    _Shape("gsk_", "an API key", re.compile(_START + r"gsk_[A-Za-z0-9]{20,}")),
    _Shape("hf_", "a Hugging Face token", re.compile(_START + r"hf_[A-Za-z0-9]{30,}")),
    _Shape("AKIA", "an AWS access key", re.compile(_START + r"AKIA[A-Z0-9]{16}(?![A-Z0-9])")),
    _Shape("ghp_", "a GitHub token", re.compile(_START + r"ghp_[A-Za-z0-9]{36}")),
    _Shape("github_pat_", "a GitHub token", re.compile(_START + r"github_pat_[A-Za-z0-9_]{40,}")),
    _Shape("glpat-", "a GitLab token", re.compile(_START + r"glpat-[A-Za-z0-9_-]{20,}")),
    _Shape("xox", "a Slack token", re.compile(_START + r"xox[abprs]-[A-Za-z0-9-]{10,}")),
    _Shape("eyJ", "a JSON web token", re.compile(_START + r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*")),
    _Shape("PRIVATE KEY-----", "a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
)


def scan(source: Source, text: str) -> None:
    """Complain of every secret in the file, and mask it in the lines that diagnostics show."""
    shapes = [shape for shape in _SHAPES if shape.prefix in text]
    if not shapes:
        return
    for index, line in enumerate(source.lines):
        found = [(match, shape) for shape in shapes if shape.prefix in line for match in shape.pattern.finditer(line)]
        for match, _ in found:
            source.secrets.append(match[0])
            source.lines[index] = source.lines[index].replace(match[0], "*" * len(match[0]))
        for match, shape in found:
            message = f"this looks like {shape.noun}; documents hold none"
            source.complain(
                "secret", message, index + 1, match.start() + 1, end_column=match.end() + 1, hint="revoke it, and name a variable or a file in its place"
            )
