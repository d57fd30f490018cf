"""An issuer that signs whatever a test wants, and the sidecar's view of it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from sidecar.config.documents import Claim, Identity, Jwt, Method
from sidecar.credentials import Authenticator
from sidecar.errors import UpstreamUnreachable
from sidecar.principal import Presented, Source

if TYPE_CHECKING:
    import asyncio

NOW = 1_790_000_000.0
URL = "https://id.example.com/keys"
ISSUER = "https://id.example.com"
ALGORITHMS = get_default_algorithms()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes):
    made = {"iss": ISSUER, "aud": "sidecar", "sub": "u1", "exp": int(NOW) + 3600, "iat": int(NOW), **changes}
    return {name: value for name, value in made.items() if value is not ...}


@dataclass
class Signer:
    """One private key under a `kid`."""

    kid: str
    algorithm: str
    key: object

    def jwk(self, **changes):
        public = json.loads(ALGORITHMS[self.algorithm].to_jwk(self.key.public_key()))
        public.pop("key_ops", None)
        made = {**public, "kid": self.kid, "use": "sig", "alg": self.algorithm, **changes}
        return {name: value for name, value in made.items() if value is not ...}

    def raw(self, header: bytes, payload: bytes, *, algorithm: str = "", key: object = None) -> str:
        signed = f"{b64(header)}.{b64(payload)}"
        signature = ALGORITHMS[algorithm or self.algorithm].sign(signed.encode(), key or self.key)
        return f"{signed}.{b64(signature)}"

    def token(self, header=None, **changes):
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **(header or {})}
        head = {name: value for name, value in head.items() if value is not ...}
        return self.raw(json.dumps(head).encode(), json.dumps(claims(**changes)).encode())


@dataclass
class Issuer:
    """The other side of `Fetch`: serves what `keys` holds, counts, and can be down or slow."""

    keys: list = field(default_factory=list)
    fetched: int = 0
    down: bool = False
    gate: asyncio.Event | None = None
    body: bytes | None = None

    async def fetch(self, url: str) -> bytes:
        assert url == URL
        self.fetched += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise UpstreamUnreachable("down")
        return self.body if self.body is not None else json.dumps({"keys": self.keys}).encode()


class Door:
    """Presents credentials and waits where that is due."""

    def __init__(self, authenticator: Authenticator):
        self.authenticator = authenticator
        self.waited = 0

    async def __call__(self, *values, now=NOW):
        presented = tuple(Presented("certificate" if isinstance(value, bytes) else "bearer", value) for value in values)
        answer = self.authenticator.verify(presented, Source(ip="10.0.0.1"), now)
        if hasattr(answer, "__await__"):
            self.waited += 1
            return await answer
        return answer


@pytest.fixture(scope="session")
def rsa_signer():
    return Signer("rsa", "RS256", rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def ec_signer():
    return Signer("ec", "ES256", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture(scope="session")
def ed_signer():
    return Signer("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def issuer(rsa_signer, ec_signer, ed_signer):
    return Issuer([signer.jwk() for signer in (rsa_signer, ec_signer, ed_signer)])


@pytest.fixture
async def doors(issuer):
    """Makes a door for an Identity; closes its authenticator at the end."""
    made = []

    def make(*methods, declared=None):
        identity = Identity(methods=tuple(methods), claims=declared or {})
        made.append(Door(Authenticator(identity, fetch=issuer.fetch, clock=lambda: NOW)))
        return made[-1]

    yield make
    for door in made:
        await door.authenticator.close()


def jwt_method(**options):
    return Method(jwt=Jwt(**{"issuer": ISSUER, "audience": "sidecar", "jwks": URL, **options}))


@pytest.fixture
def method():
    return jwt_method


@pytest.fixture
def door(doors):
    """One issuer, with team, groups and a claim of each type mapped."""
    declared = {
        "mfa": Claim(type="bool"),
        "level": Claim(type="int", default=1),
        "score": Claim(type="double"),
        "mail": Claim(type="string", default="none"),
        "scopes": Claim(type="list"),
    }
    return doors(jwt_method(map={"team": "team", "groups": "realm.groups", "mail": "https://example.com/mail"}), declared=declared)
