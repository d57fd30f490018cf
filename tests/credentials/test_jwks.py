"""Which keys of a set may verify what."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import get_default_algorithms

from sidecar.credentials import jwks


def parse(*entries):
    return jwks.parse(json.dumps({"keys": list(entries)}).encode())


def public(algorithm, key):
    return json.loads(get_default_algorithms()[algorithm].to_jwk(key.public_key()))


def test_a_key_is_for_the_algorithms_of_its_type_and_curve(rsa_signer, ec_signer, ed_signer):
    found = parse(*(signer.jwk(alg=...) for signer in (rsa_signer, ec_signer, ed_signer)))
    assert [key.algorithms for key in found] == [jwks.RSA_ALGORITHMS, {"ES256"}, {"EdDSA"}]
    assert [key.kid for key in found] == ["rsa", "ec", "ed"]


@pytest.mark.parametrize(("curve", "algorithm"), [(ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")])
def test_a_curve_has_one_algorithm(curve, algorithm):
    assert parse(public(algorithm, ec.generate_private_key(curve)))[0].algorithms == {algorithm}


def test_ed448_is_eddsa_too():
    assert parse(public("EdDSA", ed448.Ed448PrivateKey.generate()))[0].algorithms == {"EdDSA"}


def test_the_keys_own_alg_narrows_it(rsa_signer):
    assert parse(rsa_signer.jwk(alg="PS384"))[0].algorithms == {"PS384"}


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"use": None},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"key_ops": []},
        {"alg": "ES256"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["RS256"]},
        {"kid": 7},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC"},
        {"kty": ...},
        {"n": ...},
        {"n": ""},
        {"n": 7},
        {"n": "!!!"},
        {"e": "AQ"},
        {"e": "Ag"},
        {"e": "AQAAAAAAAAAB"},
        {"d": "AQAB"},
        {"n": "AQAB"},
    ],
)
def test_a_key_that_is_of_no_use_is_left_out_and_the_others_stay(rsa_signer, ec_signer, changes):
    assert [key.kid for key in parse(rsa_signer.jwk(**changes), ec_signer.jwk())] == ["ec"]


def test_a_weak_or_a_monstrous_rsa_key_is_left_out():
    weak = public("RS256", rsa.generate_private_key(65537, 1024))
    assert parse(weak) == ()
    assert parse({**weak, "n": weak["n"] * 20}) == ()


def test_a_published_private_key_is_no_key(rsa_signer):
    assert parse(json.loads(get_default_algorithms()["RS256"].to_jwk(rsa_signer.key))) == ()


def test_other_curves_are_left_out():
    x = x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()
    assert parse({"kty": "OKP", "crv": "X25519", "x": x.hex()}, public("ES256", ec.generate_private_key(ec.SECP256K1()))) == ()


def test_a_point_off_the_curve_is_left_out(ec_signer):
    assert parse({**ec_signer.jwk(), "x": ec_signer.jwk()["y"]}) == ()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB"]),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.lists(st.dictionaries(st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "x", "y", "crv", "key_ops"]), values), max_size=4))
def test_garbage_keys_are_left_out(entries):
    assert parse(*entries) == ()


@given(st.binary())
def test_garbage_is_no_key_set(data):
    with pytest.raises(jwks.BadKeySet):
        jwks.parse(data)
