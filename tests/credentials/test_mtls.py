"""Client certificates: one SPIFFE ID of a listed trust domain, in its time, and of no authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.documents import ApiKeys, Claim, Identity, Key, Method, Mtls
from sidecar.credentials import Authenticator, keys
from sidecar.credentials.mtls import is_spiffe
from sidecar.need import Unauthenticated
from sidecar.principal import Presented, Principal, Source

# a serial number of zero, which a changed certificate may have; cryptography will refuse it in a later release
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

NOW = 1_790_000_000.0
CI = keys.make(b"c" * 20)
SIGNER = ec.generate_private_key(ec.SECP256R1())
GOOD = "spiffe://example.org/ns/prod/sa/agent"


def certificate(*uris, dns=(), start=-60.0, end=3600.0, extensions=()):
    at = datetime.fromtimestamp(NOW, UTC)
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(SIGNER.public_key()).serial_number(1)
    builder = builder.not_valid_before(at + timedelta(seconds=start)).not_valid_after(at + timedelta(seconds=end))
    names = [*(x509.UniformResourceIdentifier(uri) for uri in uris), *(x509.DNSName(host) for host in dns)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(SIGNER, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def usage(**on):
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: on.get(name, False) for name in names})


def authenticator():
    methods = (Method(mtls=Mtls(trust_domains=("example.org", "other.org"))), Method(api_key=ApiKeys(keys=(Key(id="ci", sha256=keys.digest(CI)),))))
    return Authenticator(Identity(methods=methods, claims={"mfa": Claim(type="bool")}))


def present(der, *values, now=NOW, auth=None):
    shown = (Presented("certificate", der), *(Presented("bearer", value) for value in values))
    return (auth or authenticator()).verify(shown, Source(), now)


def test_a_certificate_is_its_spiffe_id():
    who = present(certificate(GOOD, dns=("agent.example.org",)))
    assert isinstance(who, Principal)
    assert (who.id, who.kind, who.subjects) == ("spiffe:example.org/ns/prod/sa/agent", "spiffe", {"spiffe:example.org/ns/prod/sa/agent"})
    assert who.claims == {"mfa": False}
    assert who.expires == NOW + 3600


def test_one_certificate_is_one_object_until_it_ends():
    auth, der = authenticator(), certificate(GOOD)
    assert present(der, auth=auth) is present(der, auth=auth)
    assert isinstance(present(der, auth=auth, now=NOW + 3600), Unauthenticated)


@pytest.mark.parametrize(
    "uris",
    [
        (),
        (GOOD, "spiffe://example.org/other"),
        (GOOD, "https://example.org/"),
        ("https://example.org/ns",),
        ("spiffe://example.org",),
        ("spiffe://example.org/",),
        ("spiffe://example.org//a",),
        ("spiffe://example.org/a/",),
        ("spiffe://example.org/a/../b",),
        ("spiffe://example.org/./b",),
        ("spiffe://example.org/a%2Fb",),
        ("spiffe://example.org/a?x=1",),
        ("spiffe://example.org/a#x",),
        ("spiffe://example.org:443/a",),
        ("spiffe://user@example.org/a",),
        ("SPIFFE://example.org/a",),
        ("spiffe://Example.org/a",),
        ("spiffe:///a",),
        ("spiffe://evil.org/a",),
        ("spiffe://example.org.evil.org/a",),
        ("spiffe://sub.example.org/a",),
        ("spiffe://example.org/" + "a" * 2100,),
    ],
)
def test_anything_but_one_spiffe_id_of_a_listed_domain_is_refused(uris):
    assert isinstance(present(certificate(*uris)), Unauthenticated)


@pytest.mark.parametrize(("start", "end"), [(1.0, 60.0), (-60.0, 0.0), (-60.0, -1.0)])
def test_a_certificate_out_of_its_time_is_refused(start, end):
    assert present(certificate(GOOD, start=start, end=end)) == Unauthenticated("the certificate is not valid now")


@pytest.mark.parametrize(
    "extension", [x509.BasicConstraints(ca=True, path_length=None), usage(key_cert_sign=True), usage(digital_signature=True, crl_sign=True)]
)
def test_an_authority_identifies_nobody(extension):
    assert present(certificate(GOOD, extensions=(extension,))) == Unauthenticated("a certificate that signs others identifies nobody")


def test_a_leaf_that_says_so_is_accepted():
    leaf = (x509.BasicConstraints(ca=False, path_length=None), usage(digital_signature=True))
    assert isinstance(present(certificate(GOOD, extensions=leaf)), Principal)


def test_a_certificate_and_a_key_are_two_different_credentials():
    assert present(certificate(GOOD), CI) == Unauthenticated("two different credentials")
    assert isinstance(present(certificate(GOOD), "sidecar-placeholder"), Principal)


@given(st.binary(max_size=300))
def test_garbage_is_no_certificate(der):
    assert isinstance(present(der), Unauthenticated)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_certificate_never_raises(place, byte):
    der = bytearray(certificate(GOOD))
    der[place % len(der)] = byte
    assert isinstance(present(bytes(der)), Principal | Unauthenticated)


@given(st.text())
def test_a_spiffe_id_has_no_odd_characters(name):
    assert not is_spiffe(name) or (name.isascii() and "//" not in name and " " not in name)
