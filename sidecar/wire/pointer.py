"""JSON pointers (RFC 6901): where a segment stands in a body, and how an edit gets back there.

`apply` never changes its input: it copies the containers on the way to each edit and shares all others. Knows nothing of dialects.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sidecar.errors import CannotCarry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.segment import Edit

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_BAD_ESCAPE = re.compile(r"~(?![01])")


def escape(token: str) -> str:
    """One reference token, as it stands between two slashes."""
    return token.replace("~", "~0").replace("/", "~1") if "~" in token or "/" in token else token


def parts(pointer: str) -> list[str]:
    """The reference tokens; none for the whole document. Raises CannotCarry on what is no pointer."""
    if not pointer:
        return []
    if pointer[0] != "/" or _BAD_ESCAPE.search(pointer):
        raise CannotCarry("not a JSON pointer")
    tokens = pointer[1:].split("/")
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens] if "~" in pointer else tokens


def get(body: object, pointer: str) -> Any:
    """The value there. Raises LookupError where there is none, CannotCarry on what is no pointer."""
    node: Any = body
    for token in parts(pointer):
        if type(node) is dict:
            node = node[token]
        elif type(node) is list and _INDEX.fullmatch(token):
            node = node[int(token)]
        else:
            raise LookupError(pointer)
    return node


def apply(body: Any, edits: Sequence[Edit]) -> Any:
    """A body with the edits made; `body` itself when there are none.

    Every pointer names a place in `body` as it was judged: all `set`s first, in order, then all `remove`s, later elements of an
    array before earlier ones. `set` makes missing parents as objects, replaces an element of an array or adds one at its end (`-` or
    its length); `remove` of what is not there does nothing. Raises CannotCarry where a pointer has no place (through a text, say).
    """
    if not edits:
        return body
    copy = _Copy(body)
    for edit in edits:
        if edit.op == "set":
            copy.put(parts(edit.pointer), edit.value)
        elif edit.op != "remove":
            raise CannotCarry(f"no such edit: {edit.op}")
    doomed = [parts(edit.pointer) for edit in edits if edit.op == "remove"]
    for path in sorted(doomed, key=_place, reverse=True):
        copy.drop(path)
    return copy.root


def _place(path: list[str]) -> list[tuple[int, str]]:
    """A sort key: indices by number, so that the removal of one element does not shift the next one's place."""
    return [(int(token), token) if _INDEX.fullmatch(token) else (-1, token) for token in path]


class _Copy:
    """A document under edit. `_own` holds the containers made here (by id, and alive): they may be changed in place."""

    __slots__ = ("_own", "root")

    def __init__(self, body: Any) -> None:
        self.root = body
        self._own: dict[int, object] = {}

    def put(self, path: list[str], value: object) -> None:
        if not path:
            self.root = value
            return
        node = self.root = self._mine(self.root)
        for token in path[:-1]:
            key = _key(node, token)
            child = node.get(key) if type(node) is dict else (node[key] if key < len(node) else None)
            child = self._mine({} if child is None else child)
            _store(node, key, child)
            node = child
        _store(node, _key(node, path[-1]), value)

    def drop(self, path: list[str]) -> None:
        if not path:
            raise CannotCarry("the whole body can't be taken out")
        if not self._has(path):
            return
        node = self.root = self._mine(self.root)
        for token in path[:-1]:
            key = _key(node, token)
            node[key] = self._mine(node[key])
            node = node[key]
        del node[_key(node, path[-1])]

    def _has(self, path: list[str]) -> bool:
        try:
            get(self.root, "".join("/" + escape(token) for token in path))
        except LookupError:
            return False
        return True

    def _mine(self, node: Any) -> Any:
        if id(node) in self._own:
            return node
        if type(node) is dict or type(node) is list:
            fresh = node.copy()
            self._own[id(fresh)] = fresh
            return fresh
        raise CannotCarry("a pointer goes through what is no container")


def _key(node: Any, token: str) -> Any:
    if type(node) is dict:
        return token
    if token == "-":  # noqa: S105 - RFC 6901's name for the element after the last
        return len(node)
    if _INDEX.fullmatch(token) and int(token) <= len(node):
        return int(token)
    raise CannotCarry("a pointer leaves its array")


def _store(node: Any, key: Any, value: object) -> None:
    if type(node) is list and key == len(node):
        node.append(value)
    else:
        node[key] = value
