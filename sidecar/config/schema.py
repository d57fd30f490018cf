"""The dataclasses of `documents` as one JSON Schema (draft 2020-12), for editors. Descriptions are the texts under the fields.

Read at generation only: loading uses `validate`, whose counterpart this is. `schemas/sidecar.json` is pinned by a test.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from sidecar.config import documents
from sidecar.config.checks import base
from sidecar.config.scalars import BYTES, LONGEST, SECONDS
from sidecar.config.validate import ONE_OF, camel

Schema = dict[str, Any]

MARKERS: Mapping[str, Schema] = {
    "duration": {
        "anyOf": [
            {
                "type": "string",
                "maxLength": 19,
                "pattern": r"^(0|[0-9]+(\.[0-9]+)?(ms|s|m|h|d))$",
                "errorMessage": "a duration has a unit: 50ms, 15s, 15m, 1h, 1d",
            },
            {"const": 0},
        ],
        "examples": ["50ms", "15m", "1h"],
    },
    "size": {
        "type": ["string", "integer"],
        "pattern": r"^[0-9]+(B|KiB|MiB|GiB)?$",
        "minimum": 0,
        "maximum": 2**63 - 1,
        "maxLength": 19,
        "examples": ["64KiB", "32MiB"],
        "errorMessage": "a size is written 64KiB, 32MiB, 1GiB, or in bytes",
    },
    "expression": {"type": ["string", "boolean"], "errorMessage": "a condition is one text; quote it where YAML reads it otherwise"},
    "instant": {
        "type": "string",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[-+][0-9]{2}:[0-9]{2})$",
        "examples": ["2027-01-31T00:00:00Z"],
        "errorMessage": "a time is written as RFC 3339 has it: 2027-01-31T00:00:00Z",
    },
    "day": {
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt].+)?$",
        "examples": ["2027-06-30"],
        "errorMessage": "a day is written 2027-06-30",
    },
    "percent": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?%$", "examples": ["80%"], "errorMessage": "a share is written 80%"},
    "pattern": {
        "type": "string",
        "maxLength": LONGEST,
        "pattern": r"^(?!.*\*\*\*)\S+$",
        "errorMessage": "a name, with * within a segment and ** across; in quotes where it begins with *",
    },
    "subject": {
        "type": "string",
        "maxLength": LONGEST,
        "pattern": r"^(?!.*\*\*\*)(anonymous$|(user|key|spiffe|sa|group|team):.)",
        "examples": ["group:eng", "key:ci-bot", "user:*", "team:core", "anonymous"],
        "errorMessage": "a subject begins with user: key: spiffe: sa: group: team: or is anonymous",
    },
    "named": {"type": "string"},
    "environ": {"type": "string"},
    "number": {"type": "number", "minimum": 0, "exclusiveMaximum": 1e18},
}
"""One line per annotation of `documents`. `errorMessage` is what editors say in place of a pattern; to validators it is nothing."""

PLAIN: Mapping[object, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    float: {"type": "number"},
    object: {},
}

NAME: Schema = {
    "pattern": f"^{base.NAME.pattern.removesuffix(chr(92) + 'Z')}$",
    "errorMessage": "a name has a to z, 0 to 9, . _ - and begins with a letter or digit",
}
SHAPES: Mapping[tuple[str, str], Schema] = {
    ("Metadata", "name"): NAME,
    ("Rule", "name"): NAME,
    ("Address", "port"): {"maximum": 65535},
    ("Key", "sha256"): {"pattern": "^[0-9a-f]{64}$", "errorMessage": "64 hex digits in lower case; `sidecar keys new` prints them"},
    ("Limit", "per"): {
        "pattern": "^(day|month|[1-9][0-9]*(s|m|h|d))$",
        "examples": ["day", "month", "1m", "1h", "1d"],
        "errorMessage": "a window is day, month, or slides: 1m, 1h, 1d",
    },
}
"""What a field's values look like beyond their type. The same as the rules of `checks`, told where an editor can tell it while one types."""


def text(kind: str = "") -> str:
    """The schema as `schemas/sidecar.json` holds it, or that of one kind."""
    return json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"


def schema(kind: str = "") -> Schema:
    """The schema of one document: of any kind, or of one."""
    kinds = {kind: documents.KINDS[kind]} if kind else documents.KINDS
    maker = _Maker(_field_comments())
    branches = [
        {"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": {"properties": {"spec": maker.record(cls)}}}
        for name, cls in kinds.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:sidecar.dev:v1" + (f":{kind}" if kind else ""),
        "title": "sidecar documents",
        "description": "One document: what it is (`kind`), what it is called (`metadata`), what it says (`spec`). A file may hold several, separated by `---`.",
        "type": "object",
        "properties": {
            "apiVersion": {"const": documents.API_VERSION, "description": "The version of all kinds."},
            "kind": {
                "enum": list(kinds),
                "markdownEnumDescriptions": [_doc(cls) for cls in kinds.values()],
            }
            | _described("What the document says; the fields of `spec` follow from it."),
            "metadata": maker.record(documents.Metadata) | _described(_doc(documents.Metadata)),
            "spec": {"type": "object"},
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "allOf": branches,
        "$defs": maker.definitions,
    }


def _doc(cls: type) -> str:
    return (cls.__doc__ or "").strip()


def _described(words: str) -> Schema:
    """For people: editors show `description` as it stands, backslashes before what Markdown would read, and `markdownDescription` as Markdown."""
    return {"description": words} | ({"markdownDescription": words} if "`" in words else {})


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
            "title": cls.__name__.removeprefix("Phased").rstrip("_"),
            **_described(_doc(cls)),
            "properties": {camel(field.name): self.field(cls, field, hints) for field in fields},
        }
        made |= {"required": required} if required else {}
        made |= _one_of(ONE_OF[cls], len(fields)) if cls in ONE_OF else {}
        return made | {"additionalProperties": False}

    def field(self, cls: type, field: dataclasses.Field[Any], hints: Mapping[str, Any]) -> Schema:
        hint = hints[field.name]
        made = dict(self.of(hint, filled=issubclass(cls, documents.Match | documents.RouteMatch)))
        owner = next((owner.__name__ for owner in cls.__mro__ if (owner.__name__, field.name) in self.comments), "")
        comment = self.comments.get((owner, field.name), "")
        made |= _described(comment) if comment else {}
        made |= SHAPES.get((owner, field.name), {})
        default = _default(field, hint)
        return made if default is None else made | {"default": default}

    def of(self, hint: Any, *, filled: bool = False) -> Schema:
        """The schema of a type. `filled`: a list of it may not be empty, because that would match nothing and look like all."""
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return MARKERS[arguments[1]]
        if hint in PLAIN:
            return PLAIN[hint]
        if origin is Literal:
            return {"enum": [word for word in arguments if word != ""]}
        if origin is tuple:
            item = self.of(arguments[0])
            return {"anyOf": [item, {"type": "array", "items": item} | ({"minItems": 1} if filled else {})]}
        if origin is not None and issubclass(origin if isinstance(origin, type) else NoneType, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin in (Union, UnionType):
            return self.of(next(part for part in arguments if part is not NoneType))
        return self.record(hint)


def _one_of(names: tuple[str, ...], fields: int) -> Schema:
    """Exactly one of these fields. Where there are no others that is a number of fields, which editors can tell in words."""
    if len(names) == fields:
        return {"minProperties": 1, "maxProperties": 1}
    return {"oneOf": [{"required": [name]} for name in names]}


def _default(field: dataclasses.Field[Any], hint: Any) -> Any:
    """A field's default as an author would write it; None where there is none that says anything."""
    value = field.default
    if value in ("", None, dataclasses.MISSING) or dataclasses.is_dataclass(value):
        return None
    if value == "true":
        return None  # a condition that always holds
    if get_origin(hint) is Annotated:
        return _SPELT[get_args(hint)[1]](value)
    if isinstance(value, tuple):
        return list(value) if value and all(isinstance(each, str) for each in value) else None
    return value


def _duration(seconds: float) -> str:
    unit = next(unit for unit in ("d", "h", "m", "s", "ms") if seconds % SECONDS[unit] == 0)
    return f"{seconds / SECONDS[unit]:g}{unit}"


def _size(value: int) -> str:
    unit = next(unit for unit in ("GiB", "MiB", "KiB", "B") if value % BYTES[unit] == 0)
    return f"{value // BYTES[unit]}{unit}"


_SPELT: Mapping[str, Callable[[Any], Any]] = {"duration": _duration, "size": _size, "percent": lambda share: f"{share:.0%}"} | {
    name: lambda value: value for name in MARKERS.keys() - {"duration", "size", "percent"}
}
"""Defaults that are not kept as they are written."""


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
