"""Who is asked: each strategy chooses otherwise, with several counting upstreams; fallback, retries and the breaker."""

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from sidecar.testing import CountingUpstream, document


@dataclass
class Fleet:
    """A stage with several upstreams of one model behind one route."""

    stage: object
    ups: list

    @property
    def counts(self):
        return [up.count for up in self.ups]


@pytest.fixture
def fleet(make_stage):
    """`async with fleet(3, "weighted", weights=…, prices=…, **fields of every Upstream) as f`."""

    @asynccontextmanager
    async def make(many, strategy, *, weights=(), prices=(), more=(), **fields):
        async with AsyncExitStack() as stack:
            ups = [await stack.enter_async_context(CountingUpstream().running()) for _ in range(many)]

            def documents(stage):
                made = stage.documents()
                sample = next(one for one in made if one["metadata"]["name"] == "up-openai")
                for index, up in enumerate(ups):
                    price = prices[index] if prices else 1.0
                    models = [{"name": "shared", "aliases": ["smart"], "price": {"input": price, "output": price}, "maxOutput": 100}]
                    made.append(document("Upstream", f"u{index}", **{**sample["spec"], "url": up.url, "models": models, **fields}))
                to = [{"upstream": f"u{index}", "weight": weights[index] if weights else 1} for index in range(many)]
                return [*made, document("Route", "shared", match={"target": ["shared", "smart"]}, to=to, strategy=strategy), *more]

            yield Fleet(await stack.enter_async_context(make_stage(documents)), ups)

    return make


async def asked(ask, fleet, times, **body):
    return [(await ask(fleet.stage, **{"model": "shared", **body})).status for _ in range(times)]


async def test_weighted_spreads_by_weight_and_never_to_a_weight_of_none(fleet, ask):
    random.seed(11)  # the core draws from it
    async with fleet(3, "weighted", weights=[3, 1, 0]) as f:
        assert await asked(ask, f, 80) == [200] * 80
        heavy, light, none = f.counts
        assert (heavy + light, none) == (80, 0)
        assert heavy > light > 0


async def test_priority_takes_the_first_and_falls_back_only_when_it_fails(fleet, ask):
    async with fleet(3, "priority", retry={"attempts": 3, "budget": "100%"}) as f:
        assert await asked(ask, f, 4) == [200] * 4
        assert f.counts == [4, 0, 0]
        f.ups[0].mode = "status"
        await f.ups[1].stop()
        assert await asked(ask, f, 2) == [200] * 2
        assert f.counts == [6, 0, 2]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
async def test_another_upstream_may_better_these_answers(fleet, ask, status):
    async with fleet(2, "priority", retry={"attempts": 2}) as f:
        f.ups[0].mode, f.ups[0].status = "status", status
        assert await asked(ask, f, 1) == [200]
        assert f.counts == [1, 1]
        assert len(f.stage.records()) == 1, "one decision, two attempts"


@pytest.mark.parametrize("status", [400, 404, 422, 401])
async def test_but_not_these(fleet, ask, status):
    async with fleet(2, "priority", retry={"attempts": 2}) as f:
        f.ups[0].mode, f.ups[0].status = "status", status
        assert await asked(ask, f, 1) == [502 if status == 401 else status]
        assert f.counts == [1, 0]


async def test_least_busy_avoids_the_one_with_calls_under_way(fleet, ask, until):
    async with fleet(2, "least_busy", timeouts={"firstByte": "20s"}) as f:
        for up in f.ups:
            up.mode = "hang"
        waiting = [asyncio.ensure_future(asked(ask, f, 1)) for _ in range(2)]
        await until(lambda: sum(f.counts) == 2)
        assert f.counts == [1, 1], "the second went where the first was not"
        f.ups[1].mode = "ok"
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_least_busy_counts_a_stream_until_it_ends(fleet, ask):
    async with fleet(2, "least_busy", timeouts={"idle": "20s"}) as f, aiohttp.ClientSession() as session:
        for up in f.ups:
            up.mode = "stall"
        body = {"model": "shared", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        answer = await session.post(f"{f.stage.base}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {f.stage.tokens['dev']}"})
        await answer.content.readany()
        (busy,) = [index for index, up in enumerate(f.ups) if up.count]
        for up in f.ups:
            up.mode = "ok"
        assert await asked(ask, f, 6) == [200] * 6
        assert f.ups[busy].count == 1
        answer.close()


async def test_lowest_latency_learns_who_answers_first(fleet, ask):
    async with fleet(2, "lowest_latency") as f:
        f.ups[0].delay = 0.1
        assert await asked(ask, f, 10) == [200] * 10
        assert f.counts == [1, 9], "each is measured once, then the faster one serves"


async def test_lowest_cost_takes_the_cheapest_that_works(fleet, ask):
    async with fleet(3, "lowest_cost", prices=[3.0, 1.0, 2.0], retry={"attempts": 2}) as f:
        assert await asked(ask, f, 3) == [200] * 3
        assert f.counts == [0, 3, 0]
        f.ups[1].mode = "status"
        assert await asked(ask, f, 1) == [200]
        assert f.counts == [0, 4, 1]


async def test_an_alias_is_served_under_the_models_own_name(fleet, ask):
    async with fleet(1, "priority") as f:
        assert await asked(ask, f, 1, model="SMART") == [200]
        assert f.ups[0].requests[0].json["model"] == "shared"
        assert f.stage.records()[-1]["call"]["target"] == "smart"


async def test_a_denied_member_is_never_asked_even_as_a_fallback(fleet, ask):
    rules = document("Policy", "one", match={"subjects": ["key:poor"], "target": ["u1/shared"]}, rules=[{"name": "only-u1", "effect": "allow"}])
    async with fleet(2, "priority", retry={"attempts": 3, "budget": "100%"}, more=[rules]) as f:
        assert (await ask(f.stage, "poor", model="shared")).status == 200
        f.ups[1].mode = "status"
        assert (await ask(f.stage, "poor", model="shared")).status == 500
        assert f.counts == [0, 4]


async def test_a_region_is_kept_through_every_strategy_and_failure(fleet, ask):
    eu = document("Policy", "eu", rules=[{"name": "stay", "effect": "require", "then": {"route": {"region": "eu"}}}])
    async with fleet(2, "weighted", weights=[1, 1000], retry={"attempts": 4, "budget": "100%"}, more=[eu]) as f:
        assert await asked(ask, f, 1) == [403], "no upstream has the label"
        assert f.counts == [0, 0]
        path = f.stage.directory / "all.yaml"
        path.write_text(path.read_text().replace("name: u0\n", "name: u0\n  labels: {region: eu}\n"))
        assert await f.stage.sidecar.live.reload()
        assert await asked(ask, f, 5) == [200] * 5
        f.ups[0].mode = "status"
        assert await asked(ask, f, 1) == [500]
        assert f.counts[1] == 0


async def test_the_same_upstream_is_tried_again_and_then_given_up(fleet, ask):
    async with fleet(1, "priority", retry={"attempts": 2, "budget": "100%"}) as f:
        f.ups[0].mode, f.ups[0].status = "status", 503
        assert await asked(ask, f, 1) == [503]
        assert f.counts == [2]


async def test_retries_end_with_their_budget(fleet, ask):
    async with fleet(2, "priority", retry={"attempts": 2, "budget": "0%"}, breaker={"failures": 1000}) as f:
        f.ups[0].mode = "status"
        statuses = await asked(ask, f, 14)
        assert statuses == [200] * 10 + [500] * 4, "the reserve of ten is used up, and nothing pays in"
        assert f.counts == [14, 10]


@pytest.mark.parametrize("streamed", [True, False])
async def test_nothing_is_retried_after_the_first_byte(fleet, ask, streamed):
    async with fleet(2, "priority", retry={"attempts": 3, "budget": "100%"}) as f:
        f.ups[0].mode = "cut"
        answer = await ask(f.stage, model="shared", stream=streamed)
        assert answer.status == (200 if streamed else 502)
        assert "error" in answer.text
        assert "[DONE]" not in answer.text
        assert f.counts == [1, 0]


async def test_the_breaker_opens_leaves_the_upstream_alone_and_tries_once(fleet, ask, until):
    async with fleet(1, "priority", breaker={"failures": 3, "openFor": "150ms"}) as f:
        f.ups[0].mode = "status"
        assert await asked(ask, f, 3) == [500] * 3
        no = await ask(f.stage, model="shared")
        assert (no.status, no.code, no.headers["x-should-retry"]) == (502, "upstream_unreachable", "false")
        assert f.counts == [3], "and the upstream was left alone"
        health = f.stage.sidecar.live.current.core.health
        assert health()["u0"] == "open"
        await until(lambda: health()["u0"] == "half_open")
        assert await asked(ask, f, 2) == [500, 502], "one trial, which failed"
        assert f.counts == [4]
        f.ups[0].mode = "ok"
        await until(lambda: health()["u0"] == "half_open")
        assert await asked(ask, f, 3) == [200] * 3
        assert f.counts == [7]


async def test_with_one_breaker_open_the_other_serves_at_once(fleet, ask):
    async with fleet(2, "priority", breaker={"failures": 2}, retry={"attempts": 2}) as f:
        f.ups[0].mode = "hang"
        assert await asked(ask, f, 2) == [504, 504], "a call that hung was perhaps carried out: it is not sent twice"
        assert await asked(ask, f, 5) == [200] * 5
        assert f.counts == [2, 5]
