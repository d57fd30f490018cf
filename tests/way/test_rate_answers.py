"""What a quota tells: rate headers on every answer, warnings in the record, refusals that are not free, and what the SDKs make of a no."""

import asyncio
from datetime import UTC, datetime, timedelta

import anthropic
import openai
import pytest

from sidecar.testing import EPOCH, FrozenClock, document


def quota(*limits, name="q", who="dev", **more):
    return document("Quota", name, match={"subjects": [f"key:{who}"]}, limits=list(limits), **more)


def per(metric, most, window="1m", **more):
    return {"metric": metric, "max": most, **({"per": window} if window else {}), **more}


@pytest.fixture
def clock():
    return FrozenClock(EPOCH + 0.25)


@pytest.fixture
def counted(make_stage, clock):
    def make(*more, settings=None, **options):
        return make_stage(lambda stage: [*stage.documents(**(settings or {})), *more], **{"clock": clock, **options})

    return make


BOTH = quota(per("requests", 2), per("tokens", 9000, "1h"))


async def test_openai_rate_headers_stand_on_yes_and_no(counted, ask):
    async with counted(BOTH) as stage:
        first, second, no = [await ask(stage) for _ in range(3)]
        assert [answer.status for answer in (first, second, no)] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-limit-requests"] for answer in (first, second, no)] == ["2"] * 3
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in (first, second, no)] == ["1", "0", "0"]
        assert all(answer.headers["x-ratelimit-limit-tokens"] == "9000" for answer in (first, no))
        assert first.headers["x-ratelimit-reset-requests"].startswith("1m0."), "a Go duration: a minute and the rest of its slice"
        assert not any(name.startswith("anthropic-") for name in first.headers)


async def test_anthropic_rate_headers_stand_on_yes_and_no(counted, ask, clock):
    async with counted(BOTH) as stage:
        first, _, no = [await ask(stage, "dev", "/v1/messages") for _ in range(3)]
        assert (first.status, no.status) == (200, 429)
        assert (no.json["error"]["type"], no.json["error"]["details"]["error_code"]) == ("rate_limit_error", "rate_limit_exceeded")
        for answer, left in ((first, "1"), (no, "0")):
            assert answer.headers["anthropic-ratelimit-requests-limit"] == "2"
            assert answer.headers["anthropic-ratelimit-requests-remaining"] == left
            assert not any(name.startswith("x-ratelimit") for name in answer.headers)
            reset = datetime.fromisoformat(answer.headers["anthropic-ratelimit-requests-reset"])
            assert timedelta(seconds=60) <= reset - datetime.fromtimestamp(clock.now, UTC) <= timedelta(seconds=62)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_the_ietf_pair_stands_on_yes_and_no_in_every_dialect(counted, ask, path):
    async with counted(BOTH) as stage:
        answers = [await ask(stage, "dev", path) for _ in range(3)]
        assert {answer.headers["ratelimit-policy"].split(", ")[0] for answer in answers} == {'"requests-60";q=2;w=60'}
        assert {answer.headers["ratelimit-policy"].split(", ")[1] for answer in answers} == {'"tokens-3600";q=9000;qu="tokens";w=3600'}
        assert [answer.headers["ratelimit"].split(";t=")[0] for answer in answers] == [f'"requests-60";r={left}' for left in (1, 0, 0)]


async def test_the_error_names_the_dimension_that_ran_out(counted, ask):
    async with counted(quota(per("requests", 9), per("tokens", 60))) as stage:
        assert (await ask(stage)).status == 200
        no = await ask(stage)
        assert (no.code, no.json["error"]["type"]) == ("rate_limit_exceeded", "tokens")
        assert "no tokens left" in no.json["error"]["message"]


async def test_a_stream_has_rate_headers_too_and_an_uncounted_caller_none(counted, ask):
    async with counted(BOTH) as stage:
        assert (await ask(stage, stream=True)).headers["x-ratelimit-remaining-requests"] == "1"
        assert not [name for name in (await ask(stage, "other")).headers if "ratelimit" in name]


async def test_the_upstreams_own_rate_headers_never_come_through(counted, ask):
    async with counted(BOTH) as stage:
        stage.upstream.headers = {"x-ratelimit-remaining-requests": "theirs", "anthropic-ratelimit-requests-remaining": "theirs", "ratelimit": '"theirs";r=1'}
        assert "theirs" not in str((await ask(stage)).headers)


async def test_a_warning_is_recorded_from_its_share_on(counted, ask):
    async with counted(quota(per("requests", 4, warnAt="75%"))) as stage:
        for _ in range(4):
            await ask(stage)
        warned = [("q", "warned") in [(reason["rule"], reason["result"]) for reason in row["reasons"]] for row in stage.records()]
        assert warned == [False, False, True, True]
        assert (await ask(stage)).status == 429
        shown = stage.sidecar.metrics.render().decode()
        assert 'sidecar_quota_warnings_total{rule="q"} 2.0' in shown
        assert 'sidecar_quota_exhausted_total{metric="requests",rule="q"} 1.0' in shown


async def test_an_audit_quota_refuses_nobody_and_takes_nothing(counted, ask):
    async with counted(quota(per("requests", 1), mode="audit"), quota(per("requests", 3), name="live")) as stage:
        answers = [await ask(stage) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["ratelimit-policy"] == '"requests-60";q=3;w=60'
        assert stage.records()[-1]["by"] == ["live"]


async def test_probing_becomes_a_429_with_a_true_retry_after(counted, ask, clock):
    async with counted(settings={"limits": {"refusals": 3}}) as stage:
        assert [(await ask(stage, temperature=2.0)).status for _ in range(3)] == [403] * 3
        no = await ask(stage, temperature=2.0)
        assert (no.status, no.code) == (429, "rate_limit_exceeded")
        assert "Keep it cool" not in no.text, "and tells nothing any more"
        assert stage.records()[-1]["refusal"] == {"kind": "quota", "code": "rate_limit_exceeded", "status": 429, "rule": ""}
        assert stage.records()[-1]["by"] == ["base/cool"], "but the record does"
        assert (await ask(stage)).status == 200, "what is allowed is not held up"
        assert (await ask(stage, "other", temperature=2.0)).status == 403, "nor is another caller"
        wait = int(no.headers["retry-after"])
        clock.move(wait - 1)
        assert (await ask(stage, temperature=2.0)).status == 429
        clock.move(1)
        assert (await ask(stage, temperature=2.0)).status == 403
        assert stage.upstream.count == 1


@pytest.mark.parametrize("who", ["sk-nobody", "poor"])
async def test_whoever_is_unknown_or_may_nothing_is_counted_as_well(counted, ask, who):
    async with counted(settings={"limits": {"refusals": 2}}) as stage:
        statuses = [(await ask(stage, who, model=model)).status for model in ("gpt-4o", "no-such-model", "gpt-4o")]
        assert statuses[-1] == 429
        assert 429 not in statuses[:-1]
        assert stage.upstream.count == 0


def openai_client(stage, who="dev", **more):
    return openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=stage.tokens[who], **more)


async def openai_asks(client):
    return await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello there"}])


def anthropic_client(stage, who="dev", **more):
    return anthropic.AsyncAnthropic(base_url=stage.base, api_key=stage.tokens[who], **more)


async def anthropic_asks(client):
    return await client.messages.create(model="claude-sonnet-5-5", max_tokens=50, messages=[{"role": "user", "content": "hello there"}])


SDKS = pytest.mark.parametrize(
    ("client", "asks", "error"),
    [(openai_client, openai_asks, openai.RateLimitError), (anthropic_client, anthropic_asks, anthropic.RateLimitError)],
    ids=["openai", "anthropic"],
)


@SDKS
async def test_an_sdk_waits_out_a_rate_limit_and_each_attempt_is_a_decision(make_stage, until, client, asks, error):
    async with make_stage(lambda stage: [*stage.documents(), quota(per("concurrency", 1, None))]) as stage, client(stage) as api:
        stage.upstream.delay = 0.3
        first = asyncio.ensure_future(asks(api))
        await until(lambda: stage.upstream.count)
        answer = await asks(api)
        await first
        assert answer.usage
        rows = stage.records()
        assert sorted(row["effect"] for row in rows) == ["allow", "allow", "deny"]
        assert len({row["id"] for row in rows}) == 3
        assert stage.upstream.count == 2


@SDKS
@pytest.mark.parametrize("limit", [per("requests", 1, "day"), per("cost_usd", 0.0000001, "month"), per("tokens", 1)], ids=lambda limit: limit["metric"])
async def test_an_sdk_does_not_retry_a_budget_that_is_gone(counted, client, asks, error, limit):
    async with counted(quota(limit)) as stage, client(stage) as api:
        if limit["metric"] == "requests":
            await asks(api)
        before = len(stage.records())
        with pytest.raises(error) as caught:
            await asks(api)
        assert caught.value.response.headers["x-should-retry"] == "false"
        assert "insufficient_quota" in str(caught.value.body)
        assert len(stage.records()) == before + 1
