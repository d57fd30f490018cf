"""API keys are known by their hash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.documents import ApiKeys, Claim, Identity, Key, Method
from sidecar.credentials import Authenticator, apikey, keys
from sidecar.credentials.claims import Claims
from sidecar.errors import ConfigError
from sidecar.need import Unauthenticated
from sidecar.principal import Presented, Principal, Source

NOW = 1_790_000_000.0
CI = keys.make(b"c" * 20)
OPS = keys.make(b"o" * 20)


def authenticator(*documents, claims=None):
    return Authenticator(Identity(methods=(Method(api_key=ApiKeys(keys=documents)),), claims=claims or {}))


def key(secret=CI, id="ci-bot", **options):
    return Key(id=id, sha256=keys.digest(secret), **options)


def present(auth, *values, now=NOW):
    return auth.verify(tuple(Presented("bearer", value) for value in values), Source(), now)


def test_a_known_key_is_its_owner_with_team_groups_and_claims():
    auth = authenticator(key(team="build", groups=("eng",), claims={"mfa": True}), claims={"mfa": Claim(type="bool"), "tier": Claim(default="free")})
    who = present(auth, CI)
    assert isinstance(who, Principal)
    assert (who.id, who.kind, who.team, who.groups) == ("key:ci-bot", "key", "build", ("eng",))
    assert who.subjects == {"key:ci-bot", "team:build", "group:eng"}
    assert who.claims == {"mfa": True, "tier": "free"}


def test_one_key_is_one_object():
    auth = authenticator(key(), key(OPS, "ops"))
    assert present(auth, CI) is present(auth, CI)
    assert present(auth, CI) is not present(auth, OPS)


def test_a_key_is_void_after_its_day():
    auth = authenticator(key(not_after=NOW))
    assert isinstance(present(auth, CI, now=NOW - 1), Principal)
    assert present(auth, CI, now=NOW) == Unauthenticated("the API key has expired")


@given(st.text(), st.text())
def test_garbage_is_never_anybody(one, other):
    auth = authenticator(key())
    assert isinstance(present(auth, one), Unauthenticated)
    assert isinstance(present(auth, one, other), Unauthenticated)
    assert isinstance(present(auth, CI, "x" + one), Unauthenticated)


def test_a_mistyped_key_is_told_from_an_unknown_one():
    auth = authenticator(key())
    assert present(auth, CI[:-1] + ("a" if CI[-1] != "a" else "b")) == apikey.MISTYPED
    assert present(auth, OPS) == apikey.UNKNOWN
    assert present(auth, "sk-something") == apikey.UNKNOWN


@pytest.mark.parametrize("value", ["", "sidecar-placeholder"])
def test_the_placeholder_counts_as_no_credential(value):
    auth = authenticator(key())
    assert present(auth, value) == Unauthenticated("no credential")
    assert isinstance(present(auth, value, CI), Principal)


def test_nothing_presented_is_nobody():
    assert present(authenticator(key())) == Unauthenticated("no credential")


def test_two_different_credentials_are_refused_and_the_same_twice_is_one():
    auth = authenticator(key(), key(OPS, "ops"))
    assert present(auth, CI, OPS) == Unauthenticated("two different credentials")
    assert present(auth, CI, "anything") == Unauthenticated("two different credentials")
    assert isinstance(present(auth, CI, CI), Principal)


def test_a_certificate_is_no_credential_where_mtls_is_no_method():
    auth = authenticator(key())
    certificate = Presented("certificate", b"der")
    assert auth.verify((certificate,), Source(), NOW) == Unauthenticated("no credential")
    assert isinstance(auth.verify((Presented("bearer", CI), certificate), Source(), NOW), Principal)


def test_a_form_nobody_knows_is_refused():
    assert isinstance(authenticator(key()).verify((Presented("cookie", CI),), Source(), NOW), Unauthenticated)


def test_an_endless_credential_is_refused_unread():
    assert present(authenticator(key()), "x" * 20_000) == Unauthenticated("the credential is too long or not ASCII")


def test_the_table_is_entered_by_a_part_of_the_hash_and_the_rest_decides():
    true = keys.digest(CI)
    twin = Key(id="twin", sha256=true[:16] + "0" * 48)
    method = apikey.ApiKeyMethod((ApiKeys(keys=(twin, key())),), Claims({}))
    who = method.verify(CI, NOW)
    assert isinstance(who, Principal)
    assert who.id == "key:ci-bot"
    assert list(method._table) == [bytes.fromhex(true)[: apikey.HEAD]]
    assert apikey.ApiKeyMethod((ApiKeys(keys=(twin,)),), Claims({})).verify(CI, NOW) == apikey.UNKNOWN


def test_a_token_is_refused_where_only_keys_are_known():
    header = "eyJhbGciOiJub25lIn0"
    assert present(authenticator(key()), f"{header}.e30.") == Unauthenticated("this kind of credential is not accepted here")


@pytest.mark.parametrize(
    ("documents", "claims", "says"),
    [
        ((Key(id="a", sha256="beef"),), {}, "64 hex"),
        ((Key(id="a", sha256="z" * 64),), {}, "64 hex"),
        ((key(id="a"), key(id="b")), {}, "same sha256"),
        ((key(claims={"mfa": True}),), {}, "not declared"),
        ((key(claims={"mfa": "yes"}),), {"mfa": Claim(type="bool")}, "wrong type"),
        ((key(),), {"mfa": Claim(type="bool", default="no")}, "no bool"),
    ],
)
def test_an_identity_that_contradicts_itself_does_not_load(documents, claims, says):
    with pytest.raises(ConfigError, match=says):
        authenticator(*documents, claims=claims)
