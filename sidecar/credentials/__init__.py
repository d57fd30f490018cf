"""Who calls. Each method is one file; `authenticate` joins those that the Identity document names and loads no other.

Nothing outside makes a `Principal` from a request. `keys` is the form of our own API keys, `fetch` how key sets are brought.
"""

from __future__ import annotations

from sidecar.credentials.authenticate import Authenticator
from sidecar.credentials.base import PLACEHOLDER, Fetch

__all__ = ["PLACEHOLDER", "Authenticator", "Fetch"]
