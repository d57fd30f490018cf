"""Positioned trees to the dataclasses of `documents`, by their type hints alone.

One walker, specialised per dataclass when it is first needed: a new field there needs no line here. It never stops at a
mistake; a value that was complained of is `BROKEN` and takes its document with it. Counterparts: `scalars` reads single
values, `references` checks what one type cannot say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from sidecar.config import documents
from sidecar.config.document import Document
from sidecar.config.scalars import BROKEN, MARKERS, PLAIN, Reader, Scope, complain, expected
from sidecar.config.source import ListNode, MapNode, Node, ScalarNode, Source

ONE_OF: Mapping[type, tuple[str, ...]] = {
    documents.Sink: ("file", "stdout"),
    documents.Method: ("apiKey", "jwt", "mtls", "anonymous"),
    documents.Credential: ("env", "file", "passthrough"),
}
"""Dataclasses of which exactly one of these fields is given."""

ENVELOPE = ("apiVersion", "kind", "metadata", "spec")


def camel(name: str) -> str:
    """`max_output` → `maxOutput`: how a field is spelt in YAML."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean …?`, or ""."""
    spelt = {name.lower(): name for name in known}
    found = get_close_matches(word.replace("_", "").replace("-", "").lower(), spelt, 1, 0.6) or get_close_matches(word.lower(), spelt, 1, 0.6)
    return f"did you mean `{spelt[found[0]]}`?" if found else ""


# ---------------------------------------------------------------- the envelope


def document(source: Source, root: Node, layer: str, environ: Mapping[str, str]) -> Document | tuple[str, str] | None:
    """A whole document; the (kind, name) of one with mistakes; None where not even those can be read."""
    scope = Scope(source, environ)
    if not isinstance(root, MapNode):
        complain(root, scope, "document", f"a document is a mapping of `apiVersion`, `kind`, `metadata` and `spec`, not {root.noun}")
        return None
    before = len(source.diagnostics)
    for name in root.entries.keys() - set(ENVELOPE):
        key, _ = root.entries[name]
        complain(key, scope, "unknown-field", f"unknown field `{name}` of a document", near(name, ENVELOPE) or "the content of a document is below `spec`")
    _api_version(root, scope)
    kind, metadata = _kind(root, scope), _part(root, "metadata", documents.Metadata, "metadata", scope)
    if kind is None:
        return None
    spec = _part(root, "spec", documents.KINDS[kind], f"{kind}.spec", scope)
    name = metadata.name if isinstance(metadata, documents.Metadata) else _name_of(root)
    if spec is BROKEN or not isinstance(metadata, documents.Metadata) or any(item.severity == "error" for item in source.diagnostics[before:]):
        return (kind, name) if name else None
    return Document(kind, name, metadata.labels, spec, source.name, root.line, layer, root, source)


def _api_version(root: MapNode, scope: Scope) -> None:
    _, node = root.entries.get("apiVersion", (None, None))
    if node is None:
        complain(root, scope, "missing-field", "`apiVersion` is missing", f"`apiVersion: {documents.API_VERSION}`")
    elif not isinstance(node, ScalarNode) or node.text != documents.API_VERSION:
        guess = near(getattr(node, "text", ""), [documents.API_VERSION])
        expected(node, scope, "an apiVersion that this release reads", guess or f"`apiVersion: {documents.API_VERSION}`")


def _kind(root: MapNode, scope: Scope) -> str | None:
    _, node = root.entries.get("kind", (None, None))
    if node is None:
        complain(root, scope, "missing-field", "`kind` is missing", "one of " + _listed(documents.KINDS))
    elif isinstance(node, ScalarNode) and node.text in documents.KINDS:
        return node.text
    elif isinstance(node, ScalarNode) and (later := documents.LATER.get(node.text, "")):
        complain(node, scope, "later", later)
    else:
        expected(node, scope, "a kind", near(getattr(node, "text", ""), documents.KINDS) or "one of " + _listed(documents.KINDS))
    return None


def _part(root: MapNode, name: str, type_: type, path: str, scope: Scope) -> Any:
    if name not in root.entries:
        return complain(root, scope, "missing-field", f"`{name}` is missing")
    return reader(type_, path)(root.entries[name][1], scope)


def _name_of(root: MapNode) -> str:
    _, metadata = root.entries.get("metadata", (None, None))
    _, node = metadata.entries.get("name", (None, None)) if isinstance(metadata, MapNode) else (None, None)
    return node.text if isinstance(node, ScalarNode) else ""


# ---------------------------------------------------------------- types to readers


@cache
def reader(hint: Any, path: str) -> Reader:
    """The reader of a type at a place of the schema (`Policy.spec.rules`), made once."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return MARKERS[arguments[1]]
    if hint in PLAIN:
        return PLAIN[hint]
    if origin is Literal:
        return _choice(arguments, path)
    if origin is tuple:
        return _list(reader(arguments[0], path), path)
    if origin is Mapping or origin is dict:
        return _mapping(reader(arguments[1], path))
    if origin in (Union, UnionType):
        return _optional(reader(next(part for part in arguments if part is not NoneType), path))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint, path)
    raise TypeError(f"no reader for {hint} at {path}")


def _choice(words: tuple[str, ...], path: str) -> Reader:
    known = {word: word for word in words}
    shown = tuple(word for word in words if word)

    def read(node: Node, scope: Scope) -> Any:
        if type(node) is ScalarNode and (value := known.get(node.text)) is not None and (value or node.style):
            return value
        if isinstance(node, ScalarNode) and (later := documents.later(f"{path}={node.text}")):
            return complain(node, scope, "later", later)
        return expected(node, scope, "one of " + _listed(shown), near(getattr(node, "text", ""), shown))

    return read


def _list(item: Reader, path: str) -> Reader:
    """One value may stand for a list."""
    means_all = ".match." in path

    def read(node: Node, scope: Scope) -> Any:
        if type(node) is not ListNode:
            value = item(node, scope)
            return value if value is BROKEN else (value,)
        if means_all and not node.items:
            return complain(
                node,
                scope,
                "empty-list",
                "an empty list matches nobody and nothing, and the field left out matches all",
                "leave the field out, or name what is meant",
            )
        values = tuple([item(child, scope) for child in node.items])
        return BROKEN if BROKEN in values else values

    return read


def _mapping(item: Reader) -> Reader:
    def read(node: Node, scope: Scope) -> Any:
        if type(node) is not MapNode:
            return expected(node, scope, "a mapping")
        values = {name: item(value, scope) for name, (_, value) in node.entries.items()}
        return BROKEN if any(value is BROKEN for value in values.values()) else values

    return read


def _optional(inner: Reader) -> Reader:
    def read(node: Node, scope: Scope) -> Any:
        return None if type(node) is ScalarNode and node.null else inner(node, scope)

    return read


def _record(cls: type, path: str) -> Reader:
    hints = get_type_hints(cls, include_extras=True)
    fields = {camel(field.name): (field.name, reader(hints[field.name], f"{path}.{camel(field.name)}")) for field in dataclasses.fields(cls)}
    required = tuple((camel(field.name), field.name) for field in dataclasses.fields(cls) if _is_required(field))
    choices = ONE_OF.get(cls, ())

    def read(node: Node, scope: Scope) -> Any:
        if type(node) is not MapNode:
            return expected(node, scope, "a mapping with " + _listed(tuple(fields)[:6]))
        values: dict[str, Any] = {}
        whole = True
        for name, (key, child) in node.entries.items():
            if name not in fields:
                whole = False
                _unknown(key, scope, path, fields)
                continue
            own, read_field = fields[name]
            value = read_field(child, scope)
            if value is BROKEN:
                whole = False
            values[own] = value
        for spelt, own in required:
            if own not in values:
                whole = False
                complain(node, scope, "missing-field", f"`{spelt}` is missing")
        if choices and whole and sum(bool(values.get(own)) or values.get(own) == () for own in map(_snake, choices)) != 1:
            return complain(node, scope, "one-of", "exactly one is due here: " + _listed(choices), _one_of_hint(node, choices))
        return cls(**values) if whole else BROKEN

    return read


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _snake(name: str) -> str:
    return "".join(f"_{character.lower()}" if character.isupper() else character for character in name)


def _unknown(key: ScalarNode, scope: Scope, path: str, fields: Mapping[str, object]) -> None:
    if later := documents.later(f"{path}.{key.text}"):
        complain(key, scope, "later", later)
        return
    where = "metadata" if path == "metadata" else path.replace(".spec", "", 1)
    guess = near(key.text, fields)
    message = f"unknown field `{key.text}` of `{where}`" + (f", {guess}" if guess else "")
    complain(key, scope, "unknown-field", message, "" if guess else "fields here: " + _listed(fields))


def _one_of_hint(node: MapNode, choices: tuple[str, ...]) -> str:
    empty = next((name for name in choices if name in node.entries and isinstance(node.entries[name][1], ScalarNode)), "")
    return f"`{empty}: {{}}` where it has no fields of its own" if empty in ("anonymous", "apiKey") else ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
