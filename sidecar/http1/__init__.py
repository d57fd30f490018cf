"""Sans-IO HTTP/1.1 over llhttp: bytes in, events out; heads out as bytes. The framing rules and limits are in `rules`.

`request` reads what callers send (its user is `server/listener.py`), `response` reads what upstreams answer (its user is
`route/channel.py`), `write` makes heads and chunks for both, `coding` undoes compression within a limit. Nothing here
opens, waits, or knows a policy.

llhttp 9 as httptools ships it, no leniency switched on, refuses bare CR and LF, obs-fold, space before the colon, both
of Content-Length and Transfer-Encoding, duplicates of either, and malformed chunks. What it lets through and we do not
(a blank line in front, runs of spaces, HTTP/0.9 and 2.0, `gzip, chunked`, duplicate Host, long chunk extensions) is
refused here; `tests/http1/test_smuggling.py` has a case for each.
"""

from sidecar.http1.coding import Decoder, decode
from sidecar.http1.request import RequestHead, RequestReader
from sidecar.http1.response import ResponseReader
from sidecar.http1.rules import RequestLimits, ResponseLimits
from sidecar.http1.write import CONTINUE, LAST_CHUNK, chunk, request_head, response_head

__all__ = [
    "CONTINUE",
    "LAST_CHUNK",
    "Decoder",
    "RequestHead",
    "RequestLimits",
    "RequestReader",
    "ResponseLimits",
    "ResponseReader",
    "chunk",
    "decode",
    "request_head",
    "response_head",
]
