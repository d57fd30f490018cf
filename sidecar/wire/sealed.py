"""Where edits must not go: inside what a provider signed or encrypted (thinking, reasoning), for it would not verify again.

A sealed block may be taken out or replaced whole. Each dialect says what is sealed; this walks the pointers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.errors import CannotCarry
from sidecar.wire import pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.segment import Edit


def refuse(body: Any, edits: Sequence[Edit], sealed: Callable[[dict[str, Any]], bool]) -> None:
    """Raises CannotCarry where an edit's pointer goes through an object that is sealed."""
    for edit in edits:
        if any(type(node) is dict and sealed(node) for node in _above(body, pointer.parts(edit.pointer))):
            raise CannotCarry("an edit inside a signed or encrypted part would break it")


def _above(body: Any, parts: Sequence[str]) -> Iterator[Any]:
    """The containers on the way to a pointer's place, without what stands there; fewer where the way ends early."""
    for part in parts:
        yield body
        if type(body) is dict:
            body = body.get(part)
        elif type(body) is list and part.isdecimal() and int(part) < len(body):
            body = body[int(part)]
        else:
            return
