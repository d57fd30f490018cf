"""What of a decision's inputs its record keeps: nothing, the values that conditions read, or all of it under a public key.

Its counterparts: `evaluate/inputs.py`, which says what the values are, and `sealing.py`, which encrypts. With `inputs: tuple` there is
no keeper at all and nothing is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import orjson

from sidecar.errors import ConfigError
from sidecar.evaluate import inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.compiler.snapshot import Snapshot
    from sidecar.config import documents
    from sidecar.decision import Decision
    from sidecar.evaluate.reply import ReplyFacts
    from sidecar.telemetry.sealing import Sealer

BODY = 2**20
"""Bytes of JSON that a sealed record may have with its body; past it the body is left out. No condition reads it."""


class Keeper(Protocol):
    """Gives the record's `inputs`."""

    def keep(self, snapshot: Snapshot, decision: Decision, reply: ReplyFacts | None = None) -> Mapping[str, Any] | None:
        """None where there is nothing to be decided again: nobody was known, or no call was read. `reply`: of a decision about one."""
        ...


class Facts:
    """`inputs: facts`: the values that conditions of this decision's candidates may read."""

    def keep(self, snapshot: Snapshot, decision: Decision, reply: ReplyFacts | None = None) -> Mapping[str, Any] | None:
        """See `Keeper.keep`."""
        if decision.principal is None:
            return None
        paths = inputs.wanted(snapshot, decision.call, decision.principal, "request" if reply is None else "response")
        return inputs.facts(paths, decision.call, decision.principal, reply)


class Sealed:
    """`inputs: sealed`: the whole call, body included, readable for who holds the private key."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def keep(self, snapshot: Snapshot, decision: Decision, reply: ReplyFacts | None = None) -> Mapping[str, Any] | None:
        """See `Keeper.keep`. The body stands in the request's record alone."""
        if decision.principal is None:
            return None
        whole = inputs.everything(decision.call, decision.principal, reply, body=reply is None and decision.call.tool is None)
        return {"sealed": self._sealer.seal(_plain(whole), id=decision.id, snapshot=snapshot.digest), "key": self._sealer.key}


def _plain(whole: dict[str, Any]) -> bytes:
    values = whole["values"]
    plain = _dumps(whole)
    if len(plain) > BODY and values.pop("call.body", None) is not None:
        plain = _dumps({**whole, "left": ["call.body"]})
    return plain


def _dumps(whole: dict[str, Any]) -> bytes:
    """JSON. A value that JSON does not hold as it is, is left out and named."""
    try:
        return orjson.dumps(whole)
    except TypeError:
        held = {path: value for path, value in whole["values"].items() if _holds(value)}
        return orjson.dumps({**whole, "values": held, "left": [*whole["left"], *(path for path in whole["values"] if path not in held)]})


def _holds(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def open_keeper(records: documents.Records) -> Keeper | None:
    """The keeper that Settings ask for; None for `inputs: tuple`. Raises ConfigError for a public key that is none."""
    if records.inputs == "facts":
        return Facts()
    if records.inputs != "sealed" or records.seal is None:
        return None
    from sidecar.telemetry.sealing import Sealer, read_key  # noqa: PLC0415  (brings `cryptography`)

    try:
        return Sealed(Sealer(read_key(records.seal.public_key)))
    except OSError as error:
        raise ConfigError(f"the public key of `records.seal` can't be read: {(error.strerror or 'no reason given').lower()}") from None
    except ValueError as error:
        raise ConfigError(f"the public key of `records.seal` can't be used: {error}") from None
