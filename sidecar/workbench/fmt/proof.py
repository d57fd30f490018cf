"""Whether two texts load to the same: `fmt` asks this of its own work before anything is written.

Two looks, because each sees what the other does not: the documents that the loader makes of them (and what it says of
them), and the bare trees, which exist also where a document has mistakes. And the comments, all of them in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sidecar.config.load import load
from sidecar.workbench.fmt import spell
from sidecar.workbench.fmt.lists import arrange
from sidecar.workbench.fmt.printer import speaks_to_editors
from sidecar.workbench.fmt.tree import Node, Parsed, Scalar, Seq

if TYPE_CHECKING:
    from collections.abc import Iterator

SPELLING = frozenset({"hash"})
"""What the loader says of how a value is spelt: a comment behind it may look like its end once it has no quotes. Messages too show quotes."""


class _Everything(Mapping[str, str]):
    """An environment that has every variable, so that documents load wherever they are formatted."""

    def __getitem__(self, key: str) -> str:
        return f"1{key}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, key: object) -> bool:
        return True


def difference(before: Parsed, after: Parsed) -> str:
    """What is not the same, in words; "" where all is. Brings the trees into their form."""
    if _comments(before) != _comments(after):
        return "its comments"
    if _shapes(before) != _shapes(after):
        return "a value"
    return "" if _loaded(before.text) == _loaded(after.text) else "what the loader makes of it"


def _comments(parsed: Parsed) -> list[str]:
    """Without the lines for editors, which may become more."""
    return [comment.text for comment in parsed.comments if not speaks_to_editors(comment)]


def _shapes(parsed: Parsed) -> list[Any]:
    for root in parsed.roots:
        arrange(root.node, ())
    return [_shape(root.node) for root in parsed.roots]


def _shape(node: Node) -> Any:
    if isinstance(node, Scalar):
        quotes = bool(node.style) and node.style != "*" and spell.ambiguous(node.text)
        return (node.text, node.style == "*", quotes, node.anchor)
    if isinstance(node, Seq):
        return ["list", node.anchor, *map(_shape, node.items)]
    return ["map", node.anchor, *((key.text, key.anchor, _shape(value)) for key, value in node.entries)]


def _loaded(text: str) -> Any:
    loaded = load([("", [("", text.encode())])], _Everything(), 0.0)
    documents = [(document.kind, document.name, document.labels, document.spec) for layer in loaded.layers for document in layer.documents]
    return documents, sorted((item.severity, item.code) for item in loaded.diagnostics if item.code not in SPELLING)
