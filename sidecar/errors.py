"""The exception tree, drawn once. Each class says whose fault it is and which HTTP status hints at it.

Everything a public function may raise is here; any other exception that escapes is a bug, and the one
boundary in `server/way.py` turns it into a refusal. Outages are not exceptions: they are the value
`need.Unavailable`.

SidecarError
├── CallError               the caller's fault: 4xx, answered in the caller's dialect
│   ├── MalformedCall       400
│   ├── UnknownPath         404
│   ├── TooLarge            413
│   ├── WrongMediaType      415
│   ├── TooSlow             408
│   ├── MethodNotAllowed    405
│   ├── ForeignHost         403
│   └── OverCapacity        503  not its fault alone: too much at once
├── UpstreamError           the upstream's fault: 502/504
│   ├── UpstreamUnreachable 502
│   ├── UpstreamTimeout     504
│   │   └── ConnectTimeout  504  nothing was sent yet
│   ├── UpstreamAuth        502  it refuses our credential; never relayed as the caller's own 401
│   ├── UpstreamGarbage     502  an answer we cannot read
│   └── UpstreamCut         502  it ended in the middle
├── ConfigError             the author's fault: carries diagnostics, exit 3
├── CannotCarry             an obligation that a codec or core cannot perform: the call is denied
├── RecordsDown         503 no sink takes the record and `onError` says deny: the call is refused
│   └── SinkDown            one sink did not take a line
├── BadRecord               a record line that this version cannot read
└── PermitError             our fault: a permit used twice, late, or for bytes it does not hold
"""

from __future__ import annotations

from typing import Any


class SidecarError(Exception):
    """The root. `code` is a stable slug for machines; `status` a hint for HTTP doors."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class CallError(SidecarError):
    """The caller sent what cannot be judged. The message never echoes content."""

    status = 400
    code = "malformed"


class MalformedCall(CallError):
    """Framing, JSON or shape that has more than one reading."""


class UnknownPath(CallError):
    """Not in the table of endpoints, or an id that is not the caller's."""

    status = 404
    code = "not_found"


class TooLarge(CallError):
    """Over a declared limit."""

    status = 413
    code = "too_large"


class WrongMediaType(CallError):
    """JSON endpoints take `application/json` in UTF-8 only."""

    status = 415
    code = "unsupported_media_type"


class TooSlow(CallError):
    """The head or the body did not come in time."""

    status = 408
    code = "timeout"


class MethodNotAllowed(CallError):
    """The path is known, the method is not. `allow` names those that are (RFC 9110, 15.5.6)."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str = "", allow: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allow = allow


class ForeignHost(CallError):
    """A Host that is not configured, or an Origin that is not allowed."""

    status = 403
    code = "forbidden_host"


class OverCapacity(CallError):
    """More calls or bytes at once than the limits allow, or the process is shutting down: another attempt in a second may do."""

    status = 503
    code = "over_capacity"


class UpstreamError(SidecarError):
    """The upstream failed. `retryable` says whether another attempt may help (before the first byte only)."""

    status = 502
    code = "upstream_error"
    retryable = False


class UpstreamUnreachable(UpstreamError):
    """No connection: refused, reset, DNS failure, TLS failure, forbidden address."""

    code = "upstream_unreachable"
    retryable = True


class UpstreamTimeout(UpstreamError):
    """Connect, first byte or idle took longer than allowed."""

    status = 504
    code = "upstream_timeout"


class ConnectTimeout(UpstreamTimeout):
    """Resolving, connecting or the TLS handshake took longer than allowed: nothing was sent, so another attempt may help."""

    retryable = True


class UpstreamAuth(UpstreamError):
    """It refused the sidecar's own credential."""

    code = "upstream_auth"


class UpstreamGarbage(UpstreamError):
    """Bytes that are no HTTP, a redirect, a bomb, or JSON that is none."""

    code = "upstream_garbage"


class UpstreamCut(UpstreamError):
    """The reply ended before its end."""

    code = "upstream_cut"


class ConfigError(SidecarError):
    """Documents that do not load. `diagnostics` holds `config.diagnostics.Diagnostic` values, in reading order."""

    code = "bad_configuration"

    def __init__(self, message: str, diagnostics: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.diagnostics = diagnostics


class CannotCarry(SidecarError):
    """An obligation has no place in this dialect or core (DESIGN.md, The decision, obligations)."""

    status = 403
    code = "cannot_carry"


class RecordsDown(SidecarError):
    """The record could not be written, so nothing may leave (`records.onError: deny`)."""

    status = 503
    code = "records_unavailable"


class SinkDown(RecordsDown):
    """One sink did not take a line: disk full, no permission, a reader that does not read."""


class BadRecord(SidecarError):
    """A line that is no record, or of a schema version this release does not know."""

    code = "bad_record"


class PermitError(SidecarError):
    """A permit was used twice, after its end, or for bytes it does not hold. Always a bug or an attack."""

    code = "permit"
