"""What a reading gathers, in reading order, and the walk over values of any shape: nothing goes out unseen.

Used where arguments and results are JSON values (Anthropic, Gemini), not JSON in strings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sidecar.segment import Segment
from sidecar.wire.pointer import escape

if TYPE_CHECKING:
    from sidecar.call import Tool

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
"""A key or an id that can't carry a message."""


class Found:
    """What the reading gathers, in reading order."""

    __slots__ = ("refs", "segments", "tools")

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.tools: list[Tool] = []
        self.refs: list[tuple[str, str]] = []

    def leaves(self, value: Any, pointer: str, role: str, origin: str) -> None:
        """Each text and number of a value of any shape, and each key that is no plain name."""
        kind = type(value)
        if kind is str:
            self.segments.append(Segment(pointer, role, origin, value))
        elif kind is dict:
            for name, item in value.items():
                if not NAME.fullmatch(name):
                    self.segments.append(Segment(pointer, role, origin, name))
                self.leaves(item, f"{pointer}/{escape(name)}", role, origin)
        elif kind is list:
            for index, item in enumerate(value):
                self.leaves(item, f"{pointer}/{index}", role, origin)
        elif kind is int or kind is float:
            self.segments.append(Segment(pointer, role, origin, str(value)))
