"""Client certificates on the wire: a TLS port, one SPIFFE name, authorities that change while it serves."""

import asyncio
import datetime as dt
import ssl
from contextlib import asynccontextmanager

import aiohttp
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.credentials import keys
from sidecar.errors import ConfigError
from sidecar.testing import CountingUpstream, document, running, write

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
SPARE = keys.make(bytes([78]) * 24)
NAME = "spiffe://example.org/ns/prod/sa/agent"
SERVERS, CLIENTS, STRANGERS = trustme.CA(), trustme.CA(), trustme.CA()


def certificate(folder, *uris, authority=CLIENTS, days=(-1, 1), signer=False):
    """A client's certificate and key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "spiffe://example.org/admin")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=signer, path_length=None), critical=True)
    )
    if uris:
        built = built.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris]), critical=False)
    signed = built.sign(serialization.load_pem_private_key(authority.private_key_pem.bytes(), None), hashes.SHA256())
    file = folder / f"client-{signed.serial_number}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


def server(folder, authority=SERVERS, clients=CLIENTS):
    """(Re)write the port's files."""
    folder.mkdir(exist_ok=True)
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    clients.cert_pem.write_to_path(folder / "clients.pem")


@asynccontextmanager
async def port(tmp_path, *methods, require=False, when="true", broken=None):
    """A sidecar with a TLS data port; `.upstream` counts."""
    certs = tmp_path / "certs"
    server(certs)
    if broken is not None:
        (certs / broken).write_text("junk")
    tls = {"cert": str(certs / "cert.pem"), "key": str(certs / "key.pem"), "clientCa": str(certs / "clients.pem"), "requireClient": require}
    ports = {name: {"host": "127.0.0.1", "port": 0} for name in ("admin", "health")}
    async with CountingUpstream().running() as up:
        made = [
            document("Settings", "s", listen={"host": "127.0.0.1", "port": 0, "tls": tls}, **ports),
            document("Identity", "i", methods=[{"mtls": {"trustDomains": ["example.org"]}}, *methods]),
            document("Upstream", "up", protocol="llm", dialect="openai", url=up.url, models=[{"name": "gpt-4o"}]),
            document("Policy", "p", match={}, rules=[{"name": "yes", "when": when, "effect": "allow"}]),
        ]
        async with running(write(tmp_path / "policies", *made), state=tmp_path / "state") as app:
            app.upstream = up
            yield app


async def ask(app, client=None, headers=(), authority=SERVERS):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        context.load_cert_chain(client)
    url = f"https://127.0.0.1:{app.ports['data']}/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json=CHAT, headers=list(headers), ssl=context) as answer:
        return answer.status


CONDITION = f'principal.id == "{NAME.replace("spiffe://", "spiffe:")}" && principal.kind == "spiffe"'


@pytest.mark.parametrize("require", [True, False])
async def test_a_certificate_with_one_spiffe_name_is_that_workload(tmp_path, require):
    async with port(tmp_path, require=require, when=CONDITION) as app:
        assert await ask(app, certificate(tmp_path, NAME)) == 200
        assert await ask(app, certificate(tmp_path, "spiffe://example.org/other")) == 403
        assert app.upstream.count == 1


NOBODY = {
    "no name": ((), {}),
    "two names": ((NAME, "spiffe://example.org/other"), {}),
    "a name and a web address": ((NAME, "https://example.org/"), {}),
    "another trust domain": (("spiffe://evil.org/ns/prod/sa/agent",), {}),
    "a longer trust domain": (("spiffe://example.org.evil.org/agent",), {}),
    "a web address": (("https://example.org/agent",), {}),
    "the trust domain itself": (("spiffe://example.org",), {}),
    "a climbing path": (("spiffe://example.org/a/../b",), {}),
    "a port": (("spiffe://example.org:443/agent",), {}),
}


@pytest.mark.parametrize("case", NOBODY)
async def test_a_certificate_that_names_nobody_is_a_401(tmp_path, case):
    uris, options = NOBODY[case]
    async with port(tmp_path, require=True) as app:
        assert await ask(app, certificate(tmp_path, *uris, **options)) == 401
        assert app.upstream.count == 0


@pytest.mark.parametrize("case", ["a stranger's", "expired", "not yet valid", "none"])
async def test_a_certificate_that_does_not_verify_gets_no_connection(tmp_path, case):
    options = {"a stranger's": {"authority": STRANGERS}, "expired": {"days": (-2, -1)}, "not yet valid": {"days": (1, 2)}}
    client = certificate(tmp_path, NAME, **options[case]) if case != "none" else None
    async with port(tmp_path, require=True) as app:
        with pytest.raises(aiohttp.ClientError):
            await ask(app, client)
        assert app.upstream.count == 0


async def test_without_a_certificate_only_another_credential_helps(tmp_path):
    method = {"apiKey": {"keys": [{"id": "dev", "sha256": keys.digest(SPARE)}]}}
    bearer = [("authorization", f"Bearer {SPARE}")]
    forwarded = [("x-forwarded-client-cert", f"URI={NAME}"), ("x-client-cert", "MII"), ("x-spiffe-id", NAME)]
    async with port(tmp_path, method) as app:
        assert await ask(app) == 401
        assert await ask(app, headers=forwarded) == 401
        assert await ask(app, headers=bearer) == 200
        assert await ask(app, certificate(tmp_path, NAME)) == 200
        assert await ask(app, certificate(tmp_path, NAME), bearer) == 401, "two different credentials"
        assert await ask(app, certificate(tmp_path, NAME), [("authorization", "Bearer sidecar-placeholder")]) == 200
        assert app.upstream.count == 3


async def test_new_certificates_and_authorities_are_taken_up_while_serving(tmp_path):
    other, partners = trustme.CA(), trustme.CA()
    async with port(tmp_path, require=True) as app:
        old, new = certificate(tmp_path, NAME), certificate(tmp_path, NAME, authority=partners)
        assert await ask(app, old) == 200
        server(tmp_path / "certs", other, partners)
        async with asyncio.timeout(10):
            while not await served(app, new, other):  # noqa: ASYNC110  a watcher tells nobody
                await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ClientError):
            await ask(app, old, authority=other)
        (tmp_path / "certs" / "key.pem").write_text("junk")
        assert await ask(app, new, authority=other) == 200


async def served(app, client, authority):
    try:
        return await ask(app, client, authority=authority) == 200
    except aiohttp.ClientError:
        return False


@pytest.mark.parametrize("broken", ["key.pem", "cert.pem", "clients.pem"])
async def test_a_port_whose_files_cannot_be_loaded_does_not_open(tmp_path, broken):
    with pytest.raises(ConfigError, match="certificates"):
        async with port(tmp_path, broken=broken):
            pass
