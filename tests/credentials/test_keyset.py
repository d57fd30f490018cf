"""Keys rotate, issuers go away, and neither lets anybody in or hammers the issuer."""

from __future__ import annotations

import asyncio
import json

import pytest

from sidecar.config.documents import Jwt, Method
from sidecar.need import Unauthenticated, Unavailable
from sidecar.principal import Principal

NOW = 1_790_000_000.0
ISSUER = "https://id.example.com"


async def test_keys_are_fetched_at_start_and_then_nothing_waits(door, issuer, rsa_signer):
    assert await door.authenticator.warm() == ()
    assert isinstance(await door(rsa_signer.token()), Principal)
    assert (issuer.fetched, door.waited) == (1, 0)


async def test_an_issuer_that_is_away_at_start_is_named_and_asked_again_later(door, issuer, rsa_signer):
    issuer.down = True
    assert await door.authenticator.warm() == (Unavailable("keys of issuer https://id.example.com"),)
    assert isinstance(await door(rsa_signer.token()), Unavailable)
    issuer.down = False
    assert isinstance(await door(rsa_signer.token(), now=NOW + 29), Unavailable)
    assert isinstance(await door(rsa_signer.token(), now=NOW + 30), Principal)
    assert issuer.fetched == 2


async def test_a_new_key_is_fetched_when_a_token_names_it(door, issuer, rsa_signer, ec_signer):
    issuer.keys = [rsa_signer.jwk()]
    await door.authenticator.warm()
    issuer.keys = [ec_signer.jwk()]
    assert isinstance(await door(ec_signer.token(), now=NOW + 31), Principal)
    assert issuer.fetched == 2


async def test_unknown_keys_are_asked_for_at_most_twice_a_minute(door, issuer, rsa_signer):
    await door.authenticator.warm()
    for n in range(200):
        assert isinstance(await door(rsa_signer.token({"kid": f"x{n}"}), now=NOW + n * 0.5), Unauthenticated)
    assert issuer.fetched <= 4


async def test_many_who_wait_share_one_fetch(door, issuer, rsa_signer):
    issuer.gate = asyncio.Event()
    waiting = [asyncio.ensure_future(door(rsa_signer.token(sub=f"u{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    issuer.gate.set()
    assert [answer.id for answer in await asyncio.gather(*waiting)] == [f"user:u{n}" for n in range(20)]
    assert issuer.fetched == 1


async def test_a_caller_that_leaves_does_not_take_the_keys_away(door, issuer, rsa_signer):
    issuer.gate = asyncio.Event()
    leaves, stays = asyncio.ensure_future(door(rsa_signer.token())), asyncio.ensure_future(door(rsa_signer.token(sub="u2")))
    await asyncio.sleep(0)
    leaves.cancel()
    await asyncio.sleep(0)
    issuer.gate.set()
    assert (await stays).id == "user:u2"
    assert issuer.fetched == 1


async def test_a_withdrawn_key_no_longer_verifies_not_even_a_remembered_token(door, issuer, rsa_signer, ec_signer):
    await door.authenticator.warm()
    token = rsa_signer.token()
    assert isinstance(await door(token), Principal)
    issuer.keys = [ec_signer.jwk()]
    assert isinstance(await door(ec_signer.token({"kid": "new"}), now=NOW + 31), Unauthenticated)
    assert isinstance(await door(token, now=NOW + 32), Unauthenticated)


async def test_old_keys_are_fetched_again_in_the_background(door, issuer, rsa_signer, ec_signer):
    await door.authenticator.warm()
    issuer.keys = [ec_signer.jwk()]
    token = rsa_signer.token()
    assert isinstance(await door(token, now=NOW + 700), Principal)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert isinstance(await door(token, now=NOW + 701), Unauthenticated)
    assert issuer.fetched == 2


async def test_after_a_long_rest_the_first_call_waits_for_fresh_keys(door, issuer, rsa_signer, ec_signer):
    await door.authenticator.warm()
    issuer.keys = [ec_signer.jwk()]
    assert isinstance(await door(rsa_signer.token(), now=NOW + 3000), Unauthenticated)


async def test_stale_keys_stay_while_the_issuer_is_away(door, issuer, rsa_signer):
    await door.authenticator.warm()
    issuer.down = True
    for hour in range(1, 20):
        assert isinstance(await door(rsa_signer.token(exp=NOW + 10**6), now=NOW + hour * 3600), Principal)
    assert isinstance(await door(rsa_signer.token({"kid": "new"}), now=NOW + 60), Unauthenticated)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"keys": {}}', b'{"keys": [], "keys": []}', b'{"keys": [' + b"{}," * 200 + b"{}]}", b" " * 300_000])
async def test_an_answer_that_is_no_key_set_changes_nothing(door, issuer, rsa_signer, body):
    await door.authenticator.warm()
    issuer.body = body
    assert isinstance(await door(rsa_signer.token({"kid": "new"}), now=NOW + 31), Unauthenticated)
    assert isinstance(await door(rsa_signer.token(), now=NOW + 32), Principal)


async def test_an_issuer_without_any_key_lets_nobody_in_and_is_no_outage(door, issuer, rsa_signer):
    issuer.keys = []
    await door.authenticator.warm()
    assert isinstance(await door(rsa_signer.token()), Unauthenticated)


async def test_a_clock_that_steps_back_does_not_stop_fetching(door, issuer, rsa_signer, ec_signer):
    issuer.keys = [rsa_signer.jwk()]
    await door.authenticator.warm()
    issuer.keys = [ec_signer.jwk()]
    assert isinstance(await door(ec_signer.token(), now=NOW - 5), Principal)


async def test_closing_stops_a_fetch_that_runs(door, issuer, rsa_signer):
    issuer.gate = asyncio.Event()
    waiting = asyncio.ensure_future(door(rsa_signer.token()))
    await asyncio.sleep(0)
    await door.authenticator.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


# ------------------------------------------------------------ files


def from_file(path):
    return Method(jwt=Jwt(issuer=ISSUER, audience="sidecar", jwks=str(path)))


def write(path, *keys):
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": list(keys)}))
    fresh.replace(path)


async def test_a_file_is_read_again_when_it_changes(doors, tmp_path, rsa_signer, ec_signer):
    path = tmp_path / "keys.json"
    write(path, rsa_signer.jwk())
    door = doors(from_file(path))
    token = rsa_signer.token()
    assert isinstance(await door(token), Principal)
    write(path, ec_signer.jwk())
    assert isinstance(await door(token, now=NOW + 2), Unauthenticated)
    assert isinstance(await door(ec_signer.token(), now=NOW + 2), Principal)


async def test_a_file_that_is_gone_or_broken_leaves_the_keys_as_they_were(doors, tmp_path, rsa_signer):
    path = tmp_path / "keys.json"
    write(path, rsa_signer.jwk())
    door = doors(from_file(f"file://{path}"))
    assert isinstance(await door(rsa_signer.token()), Principal)
    path.write_text("{")
    assert isinstance(await door(rsa_signer.token(sub="u2"), now=NOW + 2), Principal)
    path.unlink()
    assert isinstance(await door(rsa_signer.token(sub="u3"), now=NOW + 4), Principal)


async def test_a_file_that_is_not_there_yet_is_an_outage(doors, tmp_path, rsa_signer):
    path = tmp_path / "keys.json"
    door = doors(from_file(path))
    assert isinstance(await door(rsa_signer.token()), Unavailable)
    write(path, rsa_signer.jwk())
    assert isinstance(await door(rsa_signer.token()), Principal)
