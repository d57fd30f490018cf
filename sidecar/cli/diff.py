"""`sidecar diff OLD NEW`: what is different between two configurations; with `--records` also what that changes on recorded traffic.

OLD and NEW are directories; layers are joined by commas (`base,team`), the first one first. Exit 0 no difference, 1 changed, 4 nothing
changed but some calls are undecidable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli import exits
from sidecar.cli.replay import compared, options, snapshot
from sidecar.cli.run import refused
from sidecar.errors import ConfigError
from sidecar.workbench import structure

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sidecar.workbench.structure import Difference


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("old", type=_layers, metavar="OLD", help="a directory of documents; several layers as base,team")
    parser.add_argument("new", type=_layers, metavar="NEW", help="the same of the other configuration")
    parser.add_argument("--records", nargs="+", type=Path, metavar="F", help="record files to decide under both; without, the documents are compared")
    options(parser)


def _layers(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def run(args: argparse.Namespace) -> int:
    """Compare and tell."""
    try:
        old, new = snapshot(args.old), snapshot(args.new)
    except ConfigError as error:
        return refused(error)
    if args.records:
        return compared(args, old, new)
    found = structure.differences(old, new)
    print(json.dumps(_plain(found), indent=2) if args.format == "json" else "\n".join(structure.text(found)))
    return exits.FINDINGS if found else exits.OK


def _plain(found: Sequence[Difference]) -> dict[str, object]:
    return {"differences": [{**each._asdict(), "fields": list(each.fields)} for each in found]}
