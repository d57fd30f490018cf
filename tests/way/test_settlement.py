"""What a call cost in the end: what was reserved too much comes back, whichever way the call ended, and the request stays counted."""

import asyncio
from dataclasses import replace

import pytest

from sidecar.errors import RecordsDown
from sidecar.need import Unavailable
from sidecar.testing import EPOCH, FrozenClock, document, write

INPUT, OUTPUT = 1e-6, 2e-6
"""Dollars per token of the stage's models."""


def quota(*limits, name="q", **more):
    return document("Quota", name, match={"subjects": ["key:dev"]}, limits=list(limits), **more)


def per(metric, most, window="1h"):
    return {"metric": metric, "max": most, **({"per": window} if window else {})}


WIDE = quota(per("tokens", 100_000), per("requests", 1000))
TOKENS, REQUESTS = "x-ratelimit-remaining-tokens", "x-ratelimit-remaining-requests"


@pytest.fixture
def counted(make_stage):
    """A stage under a frozen clock with these documents beside the usual ones, all upstreams tried `attempts` times."""
    return lambda *more, **options: make_stage(lambda stage: [*stage.documents(), *more], clock=FrozenClock(EPOCH + 0.25), **options)


def left(answer, name=TOKENS):
    return int(answer.headers[name])


async def test_after_a_reply_its_true_usage_counts_and_not_the_bound(counted, ask):
    async with counted(WIDE) as stage:
        first, second = await ask(stage, max_tokens=5000), await ask(stage, max_tokens=5000)
        bound = 100_000 - left(first)
        assert bound >= 5000, "the caller's own cap was reserved"
        assert left(first) - left(second) == first.json["usage"]["total_tokens"] < 50
        assert left(second, REQUESTS) == 998


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1beta/models/gemini-2.5-flash:generateContent"])
async def test_every_dialect_settles_with_the_usage_it_tells(counted, ask, path, ended):
    shapes = {
        "/v1/responses": {"messages": None, "max_tokens": None, "input": "hello there"},
        "/v1/messages": {},
    }
    gemini = {"messages": None, "max_tokens": None, "model": None, "contents": [{"parts": [{"text": "hello there"}]}]}
    async with counted(WIDE, on_finished=ended) as stage:
        answer = await ask(stage, "dev", path, **shapes.get(path, gemini))
        assert answer.status == 200
        _, settlement = await ended.one(200)
        told = answer.json.get("usage") or answer.json["usageMetadata"]
        into = told.get("input_tokens") or told["promptTokenCount"]
        out = told.get("output_tokens") or told["candidatesTokenCount"]
        assert (settlement.usage.input_tokens, settlement.usage.output_tokens, settlement.usage.estimated) == (into, out, False)
        assert settlement.cost == pytest.approx(into * INPUT + out * OUTPUT)


async def test_dollars_are_tokens_times_price_to_the_last_digit(make_stage, ask):
    """The limit is made so tight that one wrong digit in either the reservation or the settlement changes who is refused."""
    async with make_stage() as stage:
        told = (await ask(stage, "other")).json["usage"]
        true = told["prompt_tokens"] * INPUT + told["completion_tokens"] * OUTPUT
        bound = stage.records()[-1]["call"]["tokens"] * INPUT + 50 * OUTPUT
        assert true < bound / 2
        write(stage.directory, *stage.documents(), quota(per("cost_usd", round(2 * true + bound, 12), "month")))
        assert await stage.sidecar.live.reload()
        statuses = [(await ask(stage)).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        write(stage.directory, *stage.documents(), quota(per("cost_usd", round(3 * true + bound, 12) - 1e-6, "month")))
        assert await stage.sidecar.live.reload()
        assert (await ask(stage)).code == "insufficient_quota", "a millionth of a dollar is too little"


def fails(stage, mode):
    stage.upstream.mode, stage.upstream.status = ("status", int(mode)) if mode.isdigit() else (mode, 500)


@pytest.mark.parametrize("mode", ["500", "429", "401", "400", "garbage", "redirect", "hang", "bomb"])
async def test_a_failed_upstream_gives_tokens_and_slot_back_but_not_the_request(counted, ask, mode):
    async with counted(quota(per("tokens", 1200), per("requests", 1000), per("concurrency", 1, None))) as stage:
        fails(stage, mode)
        no = [await ask(stage, max_tokens=1000) for _ in range(2)]
        assert [answer.status >= 400 for answer in no] == [True, True]
        assert [answer.status for answer in no] == [no[0].status] * 2, "the second was not over any limit"
        stage.upstream.mode = "ok"
        answer = await ask(stage, max_tokens=1000)
        assert (answer.status, left(answer, REQUESTS)) == (200, 997)


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_upstream_that_is_gone_gives_dollars_back(counted, ask, streamed):
    async with counted(quota(per("cost_usd", 0.0025, "day"), per("concurrency", 1, None))) as stage:
        await stage.upstream.stop()
        statuses = [(await ask(stage, max_tokens=1000, stream=streamed)).status for _ in range(3)]
        assert statuses == [502] * 3


UNCARRIED = document(
    "Policy",
    "bounds",
    match={"operation": ["embeddings"], "subjects": ["key:dev"]},
    rules=[{"name": "short", "effect": "require", "then": {"cap": {"max_tokens": 5}}}],
)


async def test_a_call_refused_after_the_reservation_gives_all_but_the_request_back(counted, ask):
    async with counted(UNCARRIED, quota(per("requests", 1000), per("concurrency", 1, None), per("input_tokens", 40))) as stage:
        embed = {"path": "/v1/embeddings", "model": "text-embedding-3-small", "messages": None, "max_tokens": None, "input": "a few words " * 5}
        refused = [await ask(stage, **embed) for _ in range(3)]
        assert [answer.code for answer in refused] == ["policy_denied"] * 3, "and none is over a limit"
        answer = await ask(stage)
        assert (answer.status, left(answer, REQUESTS)) == (200, 996)
        assert stage.upstream.count == 1


async def test_a_record_that_cannot_be_written_gives_the_slot_back(counted, ask, monkeypatch):
    async with counted(quota(per("concurrency", 1, None))) as stage:
        recorder = stage.sidecar.services.recorder

        def down(*_args, **_more):
            raise RecordsDown("no sink")

        with monkeypatch.context() as patch:
            patch.setattr(type(recorder), "write", down)
            assert [(await ask(stage)).status for _ in range(2)] == [503, 503]
        assert stage.upstream.count == 0
        assert (await ask(stage)).status == 200


async def test_a_stream_that_ends_settles_with_the_usage_it_told(counted, ask, ended):
    async with counted(WIDE, on_finished=ended) as stage:
        first = await ask(stage, stream=True, stream_options={"include_usage": True}, max_tokens=5000)
        _, settlement = await ended.one(200)
        second = await ask(stage, stream=True, stream_options={"include_usage": True}, max_tokens=5000)
        assert left(first) - left(second) == settlement.usage.input_tokens + settlement.usage.output_tokens
        assert '"usage"' in first.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("mode", ["cut", "stall"])
async def test_a_stream_that_is_cut_settles_with_what_came_and_frees_its_slot(counted, ask, ended, path, mode):
    async with counted(quota(per("tokens", 5100), per("concurrency", 1, None)), on_finished=ended) as stage:
        stage.upstream.mode, stage.upstream.after = mode, 3
        said = await ask(stage, "dev", path, stream=True, max_tokens=5000)
        assert "error" in said.text
        (settlement,) = [one for *_, one in ended.seen]
        assert settlement.usage.estimated
        assert 0 < settlement.usage.input_tokens + settlement.usage.output_tokens < 100
        stage.upstream.mode = "ok"
        name = TOKENS if path.endswith("completions") else "anthropic-ratelimit-tokens-remaining"
        answer = await ask(stage, "dev", path, max_tokens=5000 - 100)
        assert answer.status == 200, "neither the slot nor the tokens were kept"
        assert int(answer.headers[name]) < 200, "but what came was counted"


class Down:
    """Counters that do not answer."""

    def reserve(self, need):
        return Unavailable("quota counters")

    def settle(self, token, actual, now):
        raise AssertionError("nothing was reserved")


@pytest.mark.parametrize("mode", ["deny", "allow"])
async def test_counters_that_are_down_are_a_503_or_pass_as_the_quota_says(counted, ask, mode):
    async with counted(quota(per("requests", 1), onError=mode)) as stage:
        active = stage.sidecar.live.current
        active.gate = replace(active.gate, counters=Down())
        answers = [await ask(stage) for _ in range(2)]
        row = stage.records()[-1]
        assert row["facts"] == {"quota": "unavailable"}
        assert ("q", "unavailable") in [(reason["rule"], reason["result"]) for reason in row["reasons"]]
        if mode == "allow":
            assert [answer.status for answer in answers] == [200, 200]
        else:
            assert [(answer.status, answer.code, answer.headers["x-should-retry"]) for answer in answers] == [(503, "quota_unavailable", "false")] * 2
            assert stage.upstream.count == 0


async def test_with_two_quotas_the_closed_one_decides_when_counters_are_down(counted, ask):
    async with counted(quota(per("requests", 9), name="open", onError="allow"), quota(per("requests", 9), name="shut")) as stage:
        active = stage.sidecar.live.current
        active.gate = replace(active.gate, counters=Down())
        assert (await ask(stage)).code == "quota_unavailable"
        assert stage.records()[-1]["by"] == ["shut"]


@pytest.mark.parametrize(("mode", "status"), [("deny", 503), ("allow", 200)])
async def test_a_missing_price_under_a_dollar_limit_follows_on_error(make_stage, ask, mode, status):
    def documents(stage):
        made = [*stage.documents(), quota(per("cost_usd", 5, "day"), onError=mode)]
        for one in made:
            if one["kind"] == "Upstream":
                for model in one["spec"]["models"]:
                    model.pop("price")
        return made

    async with make_stage(documents) as stage:
        answer = await ask(stage)
        assert answer.status == status
        assert stage.upstream.count == (mode == "allow")
        if mode == "deny":
            assert answer.code == "quota_unavailable"
        else:
            assert ("q", "skipped") in [(reason["rule"], reason["result"]) for reason in stage.records()[-1]["reasons"]]


async def test_many_at_once_never_get_more_than_the_limit(counted, ask):
    async with counted(quota(per("requests", 5))) as stage:
        stage.upstream.delay = 0.02
        answers = await asyncio.gather(*(ask(stage) for _ in range(20)))
        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 15
        assert stage.upstream.count == 5
