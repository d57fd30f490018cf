"""What an upstream may answer and what becomes of it; and whose credential goes where."""

import asyncio
import json

import pytest

from sidecar.testing import CountingUpstream, document

PATHS = ["/v1/chat/completions", "/v1/messages"]


@pytest.fixture
def calm(make_stage):
    """A stage whose upstreams are tried once and never left alone."""

    def make(change=None, **options):
        def documents(stage):
            made = stage.documents()
            for one in made:
                if one["kind"] == "Upstream":
                    one["spec"] |= {"breaker": {"failures": 1000}}
            if change is not None:
                change(made)
            return made

        return make_stage(documents, **options)

    return make


NO_ANSWERS = {
    "garbage": (502, "upstream_garbage"),
    "redirect": (502, "upstream_garbage"),
    "bomb": (502, "upstream_garbage"),
    "cut": (502, "upstream_cut"),
    "hang": (504, "upstream_timeout"),
    "html": (502, "upstream_error"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("mode", NO_ANSWERS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_is_none_is_told_in_our_words(calm, ask, path, mode, streamed):
    async with calm() as stage:
        stage.upstream.mode = mode
        answer = await ask(stage, "dev", path, stream=streamed)
        assert stage.upstream.count == 1
        if mode == "cut" and streamed:
            assert answer.status == 200
            assert "error" in answer.text
            return
        assert (answer.status, answer.code) == NO_ANSWERS[mode]
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-sidecar-decision"] == stage.records()[-1]["id"]
        assert not [secret for secret in ("169.254", "db-7", "location") if secret in str(answer)]


async def test_a_redirect_is_not_followed_anywhere(calm, ask):
    async with calm() as stage, CountingUpstream().running() as trap:
        stage.upstream.mode, stage.upstream.location = "redirect", f"{trap.url}/chat/completions"
        assert (await ask(stage)).status == 502
        assert (stage.upstream.count, trap.count) == (1, 0)


@pytest.mark.parametrize("path", PATHS)
async def test_an_upstreams_429_is_relayed_with_its_retry_after(calm, ask, path):
    async with calm() as stage:
        stage.upstream.mode, stage.upstream.status = "status", 429
        stage.upstream.headers = {"retry-after": "7", "x-ratelimit-remaining-requests": "0", "set-cookie": "a=b"}
        answer = await ask(stage, "dev", path)
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        assert not {"x-ratelimit-remaining-requests", "set-cookie"} & set(answer.headers)


@pytest.mark.parametrize("status", [401, 403])
async def test_an_upstream_that_refuses_our_credential_is_a_502_of_ours(calm, ask, status):
    async with calm() as stage:
        stage.upstream.mode, stage.upstream.status = "status", status
        answer = await ask(stage)
        assert (answer.status, answer.code) == (502, "upstream_auth")


async def test_a_call_that_hangs_is_closed_at_the_upstream(calm, ask):
    async with calm() as stage:
        stage.upstream.mode = "hang"
        assert (await ask(stage)).status == 504
        await asyncio.wait_for(stage.upstream.closed.wait(), 5)


async def test_an_upstream_that_comes_back_serves_again(calm, ask):
    async with calm() as stage:
        await stage.upstream.stop()
        assert [(await ask(stage)).code for _ in range(3)] == ["upstream_unreachable"] * 3
        async with CountingUpstream(port=stage.upstream.port).running() as again:
            assert (await ask(stage)).status == 200
            assert again.count == 1


def credentials(seen):
    held = {name.lower(): value for name, value in seen.headers.items()}
    return {name: held[name] for name in ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie") if name in held}


WAYS = {
    "/v1/chat/completions": {"authorization": "Bearer upstream-secret"},
    "/v1/messages": {"x-api-key": "upstream-secret"},
    "/v1beta/models/gemini-2.5-flash:generateContent": {"x-goog-api-key": "upstream-secret"},
}
GEMINI = {"messages": None, "max_tokens": None, "model": None, "contents": [{"parts": [{"text": "hello there"}]}]}


@pytest.mark.parametrize("path", WAYS)
@pytest.mark.parametrize("place", ["authorization", "x-api-key", "x-goog-api-key", "api-key", "?key="])
async def test_the_callers_key_never_goes_upstream_wherever_it_was_put(calm, ask, path, place):
    async with calm() as stage:
        token = stage.tokens["dev"]
        target = f"{path}?key={token}" if place == "?key=" else path
        sends = {"authorization": ""} if place == "?key=" else {"authorization": "", place: token}
        body = GEMINI if "gemini" in path else {}
        answer = await ask(stage, "dev", target, headers={**sends, "cookie": "session=1", "x-forwarded-for": "1.2.3.4"}, **body)
        assert answer.status == 200
        (seen,) = stage.upstream.requests
        assert credentials(seen) == WAYS[path]
        assert token not in str(seen)
        assert "1.2.3.4" not in str(seen)


def passing(made):
    next(one for one in made if one["metadata"]["name"] == "up-openai")["spec"]["credential"] = {"passthrough": True}


async def test_with_passthrough_the_callers_own_login_goes_to_that_upstream_alone(calm, ask):
    async with calm(passing) as stage:
        token = stage.tokens["dev"]
        assert (await ask(stage)).status == 200
        assert (await ask(stage, "dev", "/v1/messages")).status == 200
        assert [credentials(seen) for seen in stage.upstream.requests] == [{"authorization": f"Bearer {token}"}, {"x-api-key": "upstream-secret"}]


async def test_with_passthrough_a_denied_call_still_shows_nobody_its_login(calm, ask):
    async with calm(passing) as stage:
        assert (await ask(stage, "poor")).status == 403
        assert (await ask(stage, temperature=2.0)).status == 403
        assert stage.upstream.count == 0
        assert not stage.sidecar.services._logins


@pytest.mark.parametrize("mode", ["ok", "garbage", "hang", "cut", "status"])
async def test_a_login_is_forgotten_when_its_call_ends(calm, ask, mode):
    async with calm(passing) as stage:
        stage.upstream.mode = mode
        await ask(stage)
        await ask(stage, stream=True)
        assert not stage.sidecar.services._logins


async def test_with_passthrough_an_upstreams_401_is_the_callers_own(calm, ask):
    async with calm(passing) as stage:
        stage.upstream.mode, stage.upstream.status = "status", 401
        assert (await ask(stage)).status == 401


async def test_passthrough_off_loopback_does_not_load(make_stage):
    from sidecar.errors import ConfigError

    def documents(stage):
        made = stage.documents(listen={"host": "0.0.0.0", "port": 0})
        passing(made)
        return made

    with pytest.raises(ConfigError) as caught:
        async with make_stage(documents):
            pass
    assert [one.code for one in caught.value.diagnostics if one.severity == "error"] == ["passthrough"]


async def test_fallback_never_shows_one_upstreams_credential_to_another(make_stage, ask):
    async with CountingUpstream().running() as second:

        def documents(stage):
            made = stage.documents()
            first = next(one for one in made if one["metadata"]["name"] == "up-openai")
            first["spec"] |= {"credential": {"passthrough": True}, "retry": {"attempts": 2}}
            made.append(document("Upstream", "up-other", **{**first["spec"], "url": second.url, "credential": {"env": "OTHER_KEY"}}))
            return made

        async with make_stage(documents, environ={"OTHER_KEY": "other-secret"}) as stage:
            stage.upstream.mode = "status"
            assert (await ask(stage)).status == 200
            assert credentials(stage.upstream.requests[0]) == {"authorization": f"Bearer {stage.tokens['dev']}"}
            assert credentials(second.requests[0]) == {"authorization": "Bearer other-secret"}
            assert json.loads(second.requests[0].body) == json.loads(stage.upstream.requests[0].body)
