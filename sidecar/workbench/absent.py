"""Takes fields out of the fixtures of a test: the missing-field case of a row (`without`).

In a call with a body a parameter is whatever field the dialect makes it from (`params.max_tokens` of Gemini is
`generationConfig.maxOutputTokens`), found by reading the body without it. A path that takes nothing out is an error: such a row proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from sidecar.config.validate import near
from sidecar.errors import CallError
from sidecar.workbench import fixtures

if TYPE_CHECKING:
    from sidecar.config.documents import TestCall, TestPrincipal


class NothingThere(ValueError):
    """A path that takes nothing out; the text says what could be meant."""


def without(who: TestPrincipal, what: TestCall, paths: Sequence[str]) -> tuple[TestPrincipal, TestCall]:
    """Caller and call with these fields taken out. Raises NothingThere."""
    for path in paths:
        root, *names = path.split(".")
        if root == "principal":
            who = cast("TestPrincipal", _less(who, names, path))
        elif root == "params" and what.body is not None:
            what = replace(what, body=_bodied(what, ".".join(names), path))
        else:
            what = cast("TestCall", _less(what, [root, *names], path))
    return who, what


def _less(held: Any, names: Sequence[str], path: str) -> Any:
    """The value without what `names` lead to: an entry of a mapping, or a field back at its default."""
    first, *rest = names
    if isinstance(held, Mapping):
        if first not in held:
            raise NothingThere(f"`without: {path}` takes nothing out{_meant(first, held)}")
        return {**held, first: _less(held[first], rest, path)} if rest else {name: value for name, value in held.items() if name != first}
    if not is_dataclass(held) or not hasattr(held, first):
        raise NothingThere(f"`without: {path}` takes nothing out")
    value, empty = getattr(held, first), _default(held, first)
    if value == empty or value is None:
        raise NothingThere(f"`without: {path}` takes nothing out")
    return replace(cast("Any", held), **{first: _less(value, rest, path) if rest else empty})


def _default(held: Any, name: str) -> Any:
    field = next(each for each in fields(held) if each.name == name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _meant(name: str, known: Mapping[str, object]) -> str:
    guess = near(name, known)
    return f", {guess}" if guess else ""


def _bodied(what: TestCall, name: str, path: str) -> Mapping[str, object]:
    """The body without the field that makes this parameter."""
    codec = fixtures.codec_of(what.dialect)
    body = what.body or {}
    if name.split(".", maxsplit=1)[0] not in fixtures.read(codec, what, "test").params:
        raise NothingThere(f"`without: {path}` takes nothing out{_meant(name, fixtures.read(codec, what, 'test').params)}")
    for names in _places(body):
        less = _less(body, names, path)
        try:
            left = fixtures.read(codec, replace(what, body=less), "test").params
        except CallError:  # a field that the dialect needs
            continue
        if name not in left:
            return cast("Mapping[str, object]", less)
    raise NothingThere(f"`without: {path}` can't be taken out of this body: it is told by several fields")


def _places(body: Mapping[str, object]) -> Iterator[list[str]]:
    """The fields of a body, then those inside its objects."""
    yield from ([name] for name in body)
    yield from ([name, inner] for name, value in body.items() if isinstance(value, Mapping) for inner in value)
