"""Client certificates as SPIFFE identities (X509-SVID 2 to 4). The chain was verified by TLS; who it names is read here.

Certificates come as DER. A connection presents the same one for every call, so what was read is remembered.
"""

from __future__ import annotations

import hashlib
import string
from typing import TYPE_CHECKING

from cryptography import x509

from sidecar.credentials.base import Verified
from sidecar.errors import ConfigError
from sidecar.need import Unauthenticated
from sidecar.principal import Principal

if TYPE_CHECKING:
    from sidecar.config.documents import Mtls
    from sidecar.credentials.claims import Claims

SCHEME = "spiffe://"
DOMAIN = frozenset(string.ascii_lowercase + string.digits + ".-_")
SEGMENT = frozenset(string.ascii_letters + string.digits + ".-_")
LONGEST = 2048
"""Bytes of a SPIFFE ID."""

UNREADABLE = Unauthenticated("the certificate cannot be read")
NO_ID = Unauthenticated("the certificate does not carry exactly one SPIFFE ID")
STRANGER = Unauthenticated("the certificate is of another trust domain")
NOT_NOW = Unauthenticated("the certificate is not valid now")
SIGNER = Unauthenticated("a certificate that signs others identifies nobody")


class MtlsMethod:
    """SPIFFE identities of the listed trust domains. Raises ConfigError for a domain that is none."""

    def __init__(self, documents: tuple[Mtls, ...], claims: Claims) -> None:
        self._domains = frozenset(domain for document in documents for domain in document.trust_domains)
        wrong = sorted(domain for domain in self._domains if not domain or not DOMAIN.issuperset(domain))
        if wrong:
            raise ConfigError(f"mtls: `{wrong[0]}` is no trust domain")
        self._claims = claims
        self._verified = Verified(1024)

    def verify(self, der: bytes, now: float) -> Principal | Unauthenticated:
        """Whose certificate this is. Subject: `spiffe:<trust domain>/<path>`."""
        digest = hashlib.sha256(der).digest()
        known = self._verified.get(digest, now)
        if known is not None:
            return known
        # cryptography raises the last three for versions, extensions and names that it cannot make sense of
        try:
            certificate = x509.load_der_x509_certificate(der)
            refused = _unfit(certificate, now)
            uris = _uris(certificate)
        except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return UNREADABLE
        answer = refused or self._identify(uris, certificate.not_valid_after_utc.timestamp())
        return answer if isinstance(answer, Unauthenticated) else self._verified.put(digest, answer, answer.expires or 0.0, self)

    def _identify(self, uris: list[str], expires: float) -> Principal | Unauthenticated:
        name = uris[0].removeprefix(SCHEME) if len(uris) == 1 and uris[0].startswith(SCHEME) else ""
        if not is_spiffe(name):
            return NO_ID
        if name.partition("/")[0] not in self._domains:
            return STRANGER
        return Principal.of(f"spiffe:{name}", "spiffe", claims=dict(self._claims.defaults), expires=expires)


def is_spiffe(name: str) -> bool:
    """Whether `<trust domain>/<path>` is the rest of a SPIFFE ID (SPIFFE-ID 2): no port, no query, no escapes, no dots as segments."""
    domain, *segments = name.split("/")
    return (
        0 < len(name) <= LONGEST - len(SCHEME)
        and bool(domain)
        and DOMAIN.issuperset(domain)
        and bool(segments)
        and all(segment not in {"", ".", ".."} and SEGMENT.issuperset(segment) for segment in segments)
    )


def _unfit(certificate: x509.Certificate, now: float) -> Unauthenticated | None:
    """Out of its time, or a certificate authority's own (X509-SVID 5.2: those must not authenticate)."""
    if not certificate.not_valid_before_utc.timestamp() <= now < certificate.not_valid_after_utc.timestamp():
        return NOT_NOW
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return SIGNER
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
            return SIGNER
    return None


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
