"""`sidecar test --reference`: what the reference engine says, after the tests. No command of its own; `cases` calls it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.workbench import reference

if TYPE_CHECKING:
    from sidecar.compiler.snapshot import Snapshot


def told(snapshot: Snapshot, code: int) -> int:
    """Compare and tell. The exit code: `code` where nothing differs."""
    try:
        report = reference.check(snapshot)
    except ImportError:
        sys.stderr.write("`--reference` needs cel-python, which is the extra `[reference]`\n")
        return exits.USAGE
    print("\n".join(reference.lines(report)))
    return exits.FINDINGS if report.disagreements else code
