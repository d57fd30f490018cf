"""Nobody in particular: every caller of the listener is the same principal, whatever it presents.

Clients such as the openai SDK always send some key, so a bearer value is not refused here; it is not looked at either, and can
never make its sender somebody. Alone on its listener, because beside another method a bad credential would become a good one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.principal import Principal

if TYPE_CHECKING:
    from sidecar.config.documents import Anonymous
    from sidecar.credentials.claims import Claims


def principal(document: Anonymous, claims: Claims) -> Principal:
    """The one principal of an anonymous listener."""
    return Principal.of("anonymous", "anonymous", team=document.team, groups=document.groups, claims=dict(claims.defaults))
