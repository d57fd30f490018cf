"""A name for what a snapshot decides: equal for equal documents in whatever order and formatting, different for any other change.

It enters every record, so that a decision can be repeated under the same rules; the sidecar's own version is part of it.
Positions are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from sidecar import __version__

if TYPE_CHECKING:
    from sidecar.config.document import Document, LayerSource

ORDERED = frozenset({"to", "key", "sinks"})
"""Lists whose order says something. That of all others never changes a decision. Lists inside free values (`set`, `body`) keep theirs."""


def of(layers: Sequence[LayerSource]) -> str:
    """SHA-256 in hex. The order of layers counts (the first has the defaults); their names and files do not."""
    found = hashlib.sha256(f"{__version__}\n".encode())
    for layer in layers:
        texts = sorted([_text(_document(document)) for document in layer.documents])
        found.update(f"layer {len(texts)}\n".encode())
        for text in texts:  # piece by piece: one text of all of them would hold the interpreter for as long as it is written
            data = text.encode()
            found.update(f"{len(data)} ".encode())
            found.update(data)
    return found.hexdigest()


def canonical(value: Any, *, ordered: bool) -> str:
    """One value of a document as text that is equal for equal meaning. `ordered`: a list whose order says something."""
    return _text(_plain(value, ordered=ordered))


def _document(document: Document) -> dict[str, Any]:
    return {"kind": document.kind, "name": document.name, "labels": dict(document.labels), "spec": _plain(document.spec, ordered=False)}


def _plain(value: Any, *, ordered: bool) -> Any:
    """Dataclasses as mappings, tuples as lists (sorted where order says nothing). A free value (dict, list) stays as it is."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name), ordered=field.name in ORDERED) for field in fields(value)}
    if isinstance(value, tuple):
        items = [_plain(item, ordered=False) for item in value]
        return items if ordered else sorted(items, key=_text)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, ordered=False) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=repr)
