"""Who calls, on the wire: keys in every place a client may put them, nobody at all, and nothing taken from what an application can set."""

import asyncio
import json

import aiohttp
import pytest

from sidecar.credentials import PLACEHOLDER, keys
from sidecar.testing import EPOCH, FrozenClock, document

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
SPARE = keys.make(bytes([77]) * 24)


async def ask(stage, headers=(), query="", body=CHAT):
    """One chat call with these headers alone; returns (status, headers, parsed body)."""
    url = f"{stage.base}/v1/chat/completions{query}"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=list(headers)) as answer:
        return answer.status, answer.headers, await answer.json(content_type=None)


def identity(*methods, claims=None):
    return document("Identity", "way", methods=list(methods), claims=claims or {})


def key(name, token, **more):
    return {"apiKey": {"keys": [{"id": name, "sha256": keys.digest(token), **more}]}}


def only(stage, *others):
    """The usual documents without their Identity, policies or quotas; and these."""
    return [made for made in stage.documents() if made["kind"] in {"Settings", "Upstream"}] + list(others)


def allow(when="true", **match):
    return document("Policy", "p", match=match, rules=[{"name": "yes", "when": when, "effect": "allow"}])


PLACES = {
    "bearer": (lambda token: [("authorization", f"Bearer {token}")], ""),
    "bearer in lower case": (lambda token: [("authorization", f"bearer {token}")], ""),
    "x-api-key": (lambda token: [("x-api-key", token)], ""),
    "x-goog-api-key": (lambda token: [("x-goog-api-key", token)], ""),
    "api-key": (lambda token: [("api-key", token)], ""),
    "query": (lambda token: [], "?key={}"),
    "the same twice": (lambda token: [("authorization", f"Bearer {token}"), ("x-api-key", token)], "?key={}"),
    "beside the placeholder": (lambda token: [("authorization", f"Bearer {PLACEHOLDER}"), ("x-api-key", token)], ""),
}


@pytest.mark.parametrize("place", PLACES)
async def test_a_key_is_known_wherever_a_client_puts_it_and_goes_nowhere(stage, capfd, place):
    token = stage.tokens["dev"]
    headers, query = PLACES[place]
    status, answered, said = await ask(stage, headers(token), query.format(token))
    assert status == 200
    assert stage.records()[0]["principal"]["id"] == "key:dev"
    assert stage.upstream.count == 1
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{stage.port('health')}/metrics") as scrape:
        metrics = await scrape.text()
    shown = "".join(capfd.readouterr())
    for where in (str(stage.upstream.requests), json.dumps(stage.records()), metrics, shown, str(answered), json.dumps(said)):
        assert token not in where
        assert keys.digest(token) not in where


TWO = {
    "two headers": ([("authorization", "Bearer {dev}"), ("x-api-key", "{other}")], ""),
    "the second of two fields": ([("x-api-key", "{dev}"), ("x-api-key", "{other}")], ""),
    "header and query": ([("authorization", "Bearer {dev}")], "?key={other}"),
    "two in the query": ([], "?key={dev}&key={other}"),
    "a good and a bad one": ([("authorization", "Bearer {dev}"), ("x-goog-api-key", "sk-unknown")], ""),
    "two spellings of the query": ([], "?key={dev}&api_key={other}"),
}
NOBODY = {
    "none": ([], ""),
    "unknown": ([("authorization", "Bearer sk-unknown")], ""),
    "the placeholder": ([("authorization", f"Bearer {PLACEHOLDER}")], ""),
    "empty": ([("authorization", "Bearer ")], ""),
    "a scheme nobody knows": ([("authorization", "Negotiate {dev}")], ""),
    "no scheme and more": ([("authorization", "x {dev}")], ""),
    "with something behind": ([("authorization", "Bearer {dev} {dev}")], ""),
    "a list": ([("x-api-key", "{dev},{other}")], ""),
    "in a cookie": ([("cookie", "authorization={dev}")], ""),
    "for a proxy": ([("proxy-authorization", "Bearer {dev}")], ""),
    "its hash": ([("authorization", "Bearer {hash}")], ""),
    "in other letters": ([("authorization", "Bearer {swapped}")], ""),
    "with a NUL escaped": ([], "?key={dev}%00"),
}


@pytest.mark.parametrize("case", [*TWO, *NOBODY])
async def test_two_credentials_or_none_that_is_good_are_a_401_and_nothing_is_sent(stage, capfd, case):
    headers, query = {**TWO, **NOBODY}[case]
    dev = stage.tokens["dev"]
    fill = {**stage.tokens, "hash": keys.digest(dev), "swapped": dev.swapcase()}
    status, _, said = await ask(stage, [(name, value.format(**fill)) for name, value in headers], query.format(**fill))
    assert status == (400 if "NUL" in case else 401)
    assert stage.upstream.count == 0
    if status == 401:
        assert said["error"]["code"] == "invalid_api_key"
    rows = stage.records()
    assert [(row["effect"], row["principal"]) for row in rows] == [("deny", None)]
    for where in (json.dumps(rows), "".join(capfd.readouterr()), json.dumps(said)):
        assert dev not in where
        assert stage.tokens["other"] not in where


async def test_a_key_is_void_after_its_day_while_running(make_stage):
    clock = FrozenClock()

    def documents(stage):
        return only(stage, identity(key("dated", SPARE, notAfter="2026-09-22")), allow())

    async with make_stage(documents, clock=clock) as stage:
        headers = [("authorization", f"Bearer {SPARE}")]
        assert (await ask(stage, headers))[0] == 200
        clock.now = EPOCH + 86400 * 2
        status, _, said = await ask(stage, headers)
        assert (status, said["error"]["code"]) == (401, "invalid_api_key")
        assert stage.upstream.count == 1


SPOOFS = [
    ("x-team-id", "admins"),
    ("x-user", "root"),
    ("x-user-id", "root"),
    ("x-groups", "admins"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-user", "root"),
    ("x-forwarded-client-cert", "URI=spiffe://example.org/admin"),
    ("x-real-ip", "203.0.113.7"),
    ("forwarded", "for=203.0.113.7"),
    ("true-client-ip", "203.0.113.7"),
    ("via", "1.1 proxy"),
    ("openai-organization", "org-admins"),
]


@pytest.mark.parametrize("when", ['principal.team == "admins"', '"admins" in principal.groups', 'principal.id == "user:root"', "!source.loopback", 'source.ip == "203.0.113.7"', 'principal.kind == "spiffe"'])  # fmt: skip
async def test_nothing_that_an_application_can_set_makes_it_somebody_else(make_stage, when):
    async with make_stage(lambda stage: only(stage, identity(key("dev", SPARE, team="plain")), allow(when))) as stage:
        body = {**CHAT, "user": "root", "metadata": {"team": "admins"}}
        status, _, _ = await ask(stage, [("authorization", f"Bearer {SPARE}"), *SPOOFS], body=body)
        assert status == 403
        assert stage.upstream.count == 0
        row = stage.records()[0]
        assert (row["principal"]["id"], row["principal"]["team"], row["call"]["source"]) == ("key:dev", "plain", "127.0.0.1")


FORWARDED = {
    "one hop": ([("x-forwarded-for", "203.0.113.7")], "203.0.113.7"),
    "the right-most that is no proxy": ([("x-forwarded-for", "198.51.100.1, 203.0.113.7, 127.0.0.9")], "203.0.113.7"),
    "over several fields": ([("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7"),
    "no address": ([("x-forwarded-for", "203.0.113.7, unknown")], "127.0.0.1"),
    "no address in the middle": ([("x-forwarded-for", "203.0.113.7, unknown, 127.0.0.3")], "127.0.0.1"),
    "with a port": ([("x-forwarded-for", "198.51.100.1, 203.0.113.7:4711")], "203.0.113.7"),
    "IPv6 with a port": ([("x-forwarded-for", "198.51.100.1, [2001:DB8:0::1]:4711")], "2001:db8::1"),
    "proxies alone": ([("x-forwarded-for", "127.0.0.3")], "127.0.0.1"),
    "another field": ([("x-real-ip", "203.0.113.7"), ("forwarded", "for=203.0.113.7")], "127.0.0.1"),
}


@pytest.mark.parametrize("case", FORWARDED)
async def test_a_trusted_proxy_alone_may_say_where_a_call_came_from(make_stage, case):
    def documents(stage):
        settings = stage.documents(trust={"proxies": ["127.0.0.0/8"]})[0]
        return [settings, *only(stage, identity(key("dev", SPARE)), allow())[1:]]

    headers, expected = FORWARDED[case]
    async with make_stage(documents) as stage:
        assert (await ask(stage, [("authorization", f"Bearer {SPARE}"), *headers]))[0] == 200
        assert stage.records()[0]["call"]["source"] == expected
        sent = {name.lower() for name in stage.upstream.requests[0].headers}
        assert not sent & {"x-forwarded-for", "x-real-ip", "forwarded", "via"}


@pytest.mark.parametrize("headers", [[], [("authorization", f"Bearer {SPARE}")], [("authorization", "Bearer a.b.c"), ("x-api-key", "other")]])
async def test_an_anonymous_listener_makes_everybody_the_same_nobody(make_stage, headers):
    def documents(stage):
        return only(stage, identity({"anonymous": {"team": "guests"}}), allow(subjects=["anonymous"]))

    async with make_stage(documents) as stage:
        assert (await ask(stage, headers))[0] == 200
        row = stage.records()[0]
        assert (row["principal"]["id"], row["principal"]["team"]) == ("anonymous", "guests")
        assert SPARE not in str(stage.upstream.requests)


async def test_anonymous_beside_another_method_does_not_start(make_stage):
    from sidecar.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        async with make_stage(lambda stage: only(stage, identity({"anonymous": {}}, key("dev", SPARE)), allow())):
            pass
    assert "anonymous" in str(caught.value.diagnostics)


async def test_every_probe_of_unknown_keys_is_counted_and_soon_costs_a_wait(make_stage):
    async with make_stage(lambda stage: stage.documents(limits={"refusals": 3})) as stage:
        answers = await asyncio.gather(*(ask(stage, [("authorization", f"Bearer sk-{number}")]) for number in range(6)))
        assert sorted(status for status, _, _ in answers) == [401, 401, 401, 429, 429, 429]
        assert all(int(headers["retry-after"]) > 0 for status, headers, _ in answers if status == 429)
        assert (await ask(stage, [("authorization", f"Bearer {stage.tokens['dev']}")]))[0] == 200, "who is known is not held up by them"
        assert stage.upstream.count == 1
