"""All layers from names and bytes to documents and diagnostics. The one entrance to `config`; pure.

Read every file, give every document its types, then check what holds between them. Nothing stops at the first mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sidecar.config import references, source, validate
from sidecar.config.checks import size
from sidecar.config.diagnostics import Diagnostic, Position, in_reading_order
from sidecar.config.document import Document, LayerSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LayerFiles(NamedTuple):
    """One `-c` directory, read: its name and its files as (name, bytes), sorted by name."""

    name: str
    files: tuple[tuple[str, bytes], ...]


class Loaded(NamedTuple):
    """`layers` hold the documents that are whole; whether they may be used, the errors among `diagnostics` say.

    `lost` names the kinds of which a document did not load, `*` where nobody knows which. `broken` are those that can be told
    by kind and name, without a spec.
    """

    layers: tuple[LayerSource, ...]
    diagnostics: tuple[Diagnostic, ...]
    lost: frozenset[str] = frozenset()
    broken: tuple[Document, ...] = ()


def load(layers: Sequence[tuple[str, Sequence[tuple[str, bytes]]]], environ: Mapping[str, str], now: float) -> Loaded:
    """Read, validate and check. A layer is (name, [(file name, bytes)]); files are called `layer/file` in positions.

    `environ` fills `${NAME}` where a field allows it; `now` is Unix seconds. Never raises on what authors wrote.
    """
    if (held := sum(len(data) for _, files in layers for _, data in files)) > size.MOST_BYTES:
        return Loaded((), (_too_large(layers[0][0], held),), frozenset({"*"}))
    read = [_layer(name, files, environ) for name, files in layers]
    diagnostics = [item for layer in read for item in layer.diagnostics]
    diagnostics += references.check([layer.facts for layer in read], now)
    names = [name for layer in read for name in layer.names]
    if any(item.code == "too-many" for item in diagnostics):
        return Loaded((), in_reading_order(diagnostics, names), frozenset({"*"}))
    lost = {kind for layer in read for kind, _ in layer.facts.broken} | {"*" for layer in read if layer.facts.unread}
    whole = tuple(LayerSource(layer.facts.name, layer.facts.documents) for layer in read)
    return Loaded(whole, in_reading_order(diagnostics, names), frozenset(lost), tuple(each for layer in read for each in layer.broken))


def _too_large(name: str, whole: int) -> Diagnostic:
    words = f"all files together have {whole // 2**20} MiB; {size.MOST_BYTES // 2**20} are the most"
    return Diagnostic("error", "too-large", words, Position(name or "."), "what is alike is one rule with a list, or a `group:`")


class _Layer(NamedTuple):
    facts: references.Layer
    names: tuple[str, ...]
    diagnostics: list[Diagnostic]
    broken: tuple[Document, ...]


def _layer(name: str, files: Sequence[tuple[str, bytes]], environ: Mapping[str, str]) -> _Layer:
    documents: list[Document] = []
    broken: list[Document] = []
    sources = [source.read(f"{name}/{file}" if name else file, data) for file, data in files]
    unread = False
    for each in sources:
        unread = unread or each.lost
        for root in each.roots:
            made = validate.document(each, root, name, environ)
            if isinstance(made, Document):
                documents.append(made)
            elif made is None:
                unread = True
            else:
                broken.append(Document(*made, {}, None, each.name, root.line, name, root, each))
    diagnostics = [item for each in sources for item in each.diagnostics]
    if not any(each.roots or each.lost for each in sources):
        diagnostics.append(
            Diagnostic("error", "no-documents", "there are no documents here", Position(name or "."), "a layer is a directory with `*.yaml` files")
        )
    facts = references.Layer(name, tuple(documents), frozenset((each.kind, each.name) for each in broken), unread)
    return _Layer(facts, tuple(each.name for each in sources), diagnostics, tuple(broken))
