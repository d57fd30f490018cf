"""Server certificates: the TLS context of a port, made anew when its files change.

Its user is whoever starts a `listener.Listener`, which gets `context` once and keeps it; new handshakes are moved to the
newest context, connections that stand keep theirs. It knows no port and no watcher: `reload` is called from outside.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from sidecar.config.documents import Tls


class Certificates:
    """The certificate, key and client authorities that `spec` names. Raises ConfigError where they can't be loaded."""

    def __init__(self, spec: Tls) -> None:
        self._spec = spec
        self._current = self._load()
        self.context = self._load()
        """For the port. What it does itself is hand every handshake to the newest context."""
        self.context.sni_callback = self._newest

    @property
    def files(self) -> tuple[str, ...]:
        """The files to watch."""
        return tuple(path for path in (self._spec.cert, self._spec.key, self._spec.client_ca) if path)

    def reload(self) -> None:
        """Read the files again for new connections. Raises ConfigError and changes nothing where they can't be loaded."""
        self._current = self._load()

    def _newest(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current

    def _load(self) -> ssl.SSLContext:
        spec = self._spec
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A resumed session would carry a client certificate past a change of `client_ca`.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        try:
            context.load_cert_chain(spec.cert, spec.key)
            if spec.client_ca:
                context.load_verify_locations(spec.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"the certificates of the port can't be loaded: {error.strerror or error}") from None
        if spec.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED if spec.require_client else ssl.CERT_OPTIONAL
        return context
