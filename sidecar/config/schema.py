"""The dataclasses of `documents` as one JSON Schema (draft 2020-12), for editors. Descriptions are the texts under the fields.

Read at generation only: loading uses `validate`, whose counterpart this is. `schemas/sidecar.json` is pinned by a test.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from sidecar.config import documents
from sidecar.config.validate import ONE_OF, camel

Schema = dict[str, Any]

MARKERS: Mapping[str, Schema] = {
    "duration": {"type": ["string", "integer"], "pattern": r"^(0|\d+(\.\d+)?(ms|s|m|h|d))$", "examples": ["50ms", "15s", "15m", "1h", "1d"], "maximum": 0},
    "size": {"type": ["string", "integer"], "pattern": r"^\d+(B|KiB|MiB|GiB)?$", "examples": ["64KiB", "32MiB"], "minimum": 0},
    "expression": {"type": ["string", "boolean"]},
    "instant": {"type": "string", "format": "date-time"},
    "day": {"type": "string", "examples": ["2027-06-30"]},
    "percent": {"type": "string", "pattern": r"^\d+(\.\d+)? ?%$"},
    "pattern": {"type": "string", "minLength": 1},
    "subject": {"type": "string", "pattern": "^(anonymous$|(user|key|spiffe|sa|group|team):.)"},
    "named": {"type": "string"},
    "environ": {"type": "string"},
    "number": {"type": "number", "minimum": 0},
}
"""One line per annotation of `documents`."""

PLAIN: Mapping[object, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number"},
    object: {},
}


def text() -> str:
    """The schema as `schemas/sidecar.json` holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """The schema of one document of any kind."""
    maker = _Maker(_field_comments())
    branches = [
        {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": {"properties": {"spec": maker.record(cls)}}}
        for kind, cls in documents.KINDS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sidecar documents",
        "type": "object",
        "properties": {
            "apiVersion": {"const": documents.API_VERSION},
            "kind": {"enum": list(documents.KINDS)},
            "metadata": maker.record(documents.Metadata),
            "spec": {"type": "object"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "allOf": branches,
        "$defs": maker.definitions,
    }


class _Maker:
    """Type hints to schemas; dataclasses become definitions by their name."""

    def __init__(self, comments: Mapping[tuple[str, str], str]) -> None:
        self.comments = comments
        self.definitions: dict[str, Schema] = {}

    def record(self, cls: type) -> Schema:
        """A reference to the definition of a dataclass."""
        name = cls.__name__.rstrip("_")
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = self.definition(cls)
        return {"$ref": f"#/$defs/{name}"}

    def definition(self, cls: type) -> Schema:
        hints = get_type_hints(cls, include_extras=True)
        fields = dataclasses.fields(cls)
        required = [camel(field.name) for field in fields if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING]
        made: Schema = {
            "type": "object",
            "description": (cls.__doc__ or "").strip(),
            "properties": {camel(field.name): self.field(cls, field, hints) for field in fields},
        }
        made |= {"required": required} if required else {}
        made |= {"oneOf": [{"required": [name]} for name in ONE_OF[cls]]} if cls in ONE_OF else {}
        return made | {"additionalProperties": False}

    def field(self, cls: type, field: dataclasses.Field[Any], hints: Mapping[str, Any]) -> Schema:
        made = dict(self.of(hints[field.name]))
        comment = next((self.comments[owner.__name__, field.name] for owner in cls.__mro__ if (owner.__name__, field.name) in self.comments), "")
        made |= {"description": comment} if comment else {}
        if isinstance(field.default, bool | int | str) and field.default != "" and get_origin(hints[field.name]) is not Annotated:
            made["default"] = field.default
        return made

    def of(self, hint: Any) -> Schema:
        """The schema of a type."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return MARKERS[arguments[1]]
        if hint in PLAIN:
            return PLAIN[hint]
        if origin is Literal:
            return {"enum": [word for word in arguments if word != ""]}
        if origin is tuple:
            item = self.of(arguments[0])
            return {"anyOf": [item, {"type": "array", "items": item}]}
        if origin is not None and issubclass(origin if isinstance(origin, type) else NoneType, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin in (Union, UnionType):
            return self.of(next(part for part in arguments if part is not NoneType))
        return self.record(hint)


def _field_comments() -> dict[tuple[str, str], str]:
    """(class, field) to the string literal under the field."""
    tree = ast.parse(inspect.getsource(documents))
    found: dict[tuple[str, str], str] = {}
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for declared, comment in zip(owner.body, owner.body[1:], strict=False):
            match declared, comment:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    found[owner.name, name] = words
    return found
