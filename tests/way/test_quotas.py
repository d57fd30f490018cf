"""Quotas on the wire: who is counted with whom, when a counter frees itself, and what a `Retry-After` is worth."""

import aiohttp
import pytest

from sidecar.testing import EPOCH, FrozenClock, document


def quota(name, *limits, who="dev", **more):
    subjects = {"match": {"subjects": [f"key:{one}" for one in who.split()]}} if who else {}
    return document("Quota", name, **{**subjects, "limits": list(limits), **more})


def per(metric, most, window="1m", **more):
    return {"metric": metric, "max": most, **({"per": window} if window else {}), **more}


@pytest.fixture
def clock():
    return FrozenClock(EPOCH + 0.25)


@pytest.fixture
def counted(make_stage, clock):
    """A stage under a frozen clock with these quotas beside the usual documents."""

    def make(*quotas, change=None, **options):
        def documents(stage):
            made = [*stage.documents(), *quotas]
            if change is not None:
                change(made)
            return made

        return make_stage(documents, clock=clock, **options)

    return make


async def asked(ask, stage, times, who="dev", **body):
    return [(await ask(stage, who, **body)).status for _ in range(times)]


@pytest.mark.parametrize(("window", "most"), [("1m", 1), ("1m", 3), ("30s", 2)])
async def test_the_call_over_the_limit_is_a_429_whose_retry_after_is_true(counted, ask, clock, window, most):
    async with counted(quota("q", per("requests", most, window))) as stage:
        assert await asked(ask, stage, most) == [200] * most
        no = await ask(stage)
        assert (no.status, no.code) == (429, "rate_limit_exceeded")
        assert "x-should-retry" not in no.headers
        wait = int(no.headers["retry-after"])
        clock.move(wait - 1)
        again = await ask(stage)
        assert (again.status, again.headers["retry-after"]) == (429, "1"), "a second before it, it is still a no"
        assert stage.upstream.count == most
        clock.move(1)
        assert await asked(ask, stage, most) == [200] * most
        assert stage.upstream.count == 2 * most


async def test_the_wait_is_for_the_oldest_of_the_calls_that_are_in_the_way(counted, ask, clock):
    async with counted(quota("q", per("requests", 2))) as stage:
        await asked(ask, stage, 1)
        clock.move(40)
        await asked(ask, stage, 1)
        wait = int((await ask(stage)).headers["retry-after"])
        assert 19 <= wait <= 21, "the first of the two ends, not the second"
        clock.move(wait)
        assert await asked(ask, stage, 2) == [200, 429]


async def test_a_refused_call_takes_nothing_from_any_counter(counted, ask):
    async with counted(quota("narrow", per("requests", 1)), quota("wide", per("requests", 3), who="dev other", key=["call.operation"])) as stage:
        assert await asked(ask, stage, 3) == [200, 429, 429]
        assert await asked(ask, stage, 3, "other") == [200, 200, 429], "the wide one counted one call of dev's"
        assert await asked(ask, stage, 1, temperature=2.0) == [403], "a policy's no comes first"


async def test_two_limits_never_share_a_counter(counted, ask, clock):
    same = [per("requests", 4, "1m"), per("requests", 6, "1h"), per("requests", 5, "1m")]
    async with counted(quota("a", *same), quota("b", per("requests", 9, "1m"))) as stage:
        assert await asked(ask, stage, 5) == [200] * 4 + [429]
        clock.move(61)
        assert await asked(ask, stage, 3) == [200, 200, 429], "four of the hour's six were gone, and each call counted once"


async def test_quotas_of_one_name_in_two_layers_count_apart(make_stage, ask, clock, tmp_path):
    async with make_stage(lambda stage: [*stage.documents(), quota("q", per("requests", 3))], clock=clock, layers=[[quota("q", per("requests", 2))]]) as stage:
        assert await asked(ask, stage, 3) == [200, 200, 429]
        assert stage.records()[-1]["reasons"][0]["layer"].endswith("layer1")


async def test_keys_are_counted_apart_and_what_shares_a_key_together(counted, ask):
    async with counted(quota("team", per("requests", 1), who="dev other", key=["principal.team"])) as stage:
        assert await asked(ask, stage, 2) == [200, 429]
        assert await asked(ask, stage, 2, "other") == [200, 429]
    async with counted(quota("both", per("requests", 3), who="dev other", key=["call.protocol"])) as stage:
        assert await asked(ask, stage, 2) + await asked(ask, stage, 2, "other") == [200, 200, 200, 429]


async def test_a_key_of_the_model_counts_each_model_apart(counted, ask):
    async with counted(quota("model", per("requests", 1), key=["principal.id", "call.model"])) as stage:
        assert await asked(ask, stage, 2) == [200, 429]
        assert await asked(ask, stage, 2, model="gpt-4o-mini") == [200, 429]
        assert await asked(ask, stage, 1, model="GPT-4O") == [429], "another spelling is no other model"


async def test_keys_whose_parts_run_together_are_still_apart(counted, ask):
    def teams(made):
        keys = next(one for one in made if one["kind"] == "Identity")["spec"]["methods"][0]["apiKey"]["keys"]
        for entry, team, group in zip(keys, ("a", "a|1=b", *"cde"), ("1=b|1=c", "c", *"cde"), strict=True):
            entry |= {"team": team, "groups": [group]}

    both = quota("q", per("requests", 1), who="dev poor", key=["principal.team", "principal.groups[0]"])
    async with counted(both, document("Policy", "poor", rules=[{"name": "too", "effect": "allow"}]), change=teams) as stage:
        assert await asked(ask, stage, 1) + await asked(ask, stage, 1, "poor") == [200, 200]


async def test_a_part_of_the_key_that_is_missing_follows_on_error(counted, ask):
    def teamless(made):
        keys = next(one for one in made if one["kind"] == "Identity")["spec"]["methods"][0]["apiKey"]["keys"]
        keys[0].pop("team")

    for mode, status in (("deny", 503), ("allow", 200)):
        async with counted(quota("q", per("requests", 1), key=["principal.team"], onError=mode), change=teamless) as stage:
            assert await asked(ask, stage, 2) == [status] * 2
            assert stage.upstream.count == (2 if mode == "allow" else 0)


MIDNIGHT = 28_000
"""Seconds from the test kit's now (14:13:20Z) to midnight in Berlin (22:00Z in September)."""


async def test_a_day_ends_at_midnight_of_its_zone(counted, ask, clock):
    clock.now = EPOCH
    async with counted(quota("day", per("requests", 2, "day", timezone="Europe/Berlin"))) as stage:
        assert await asked(ask, stage, 2) == [200, 200]
        no = await ask(stage)
        assert (no.status, no.code, no.headers["x-should-retry"]) == (429, "insufficient_quota", "false")
        assert int(no.headers["retry-after"]) in {MIDNIGHT, MIDNIGHT + 1}
        clock.move(MIDNIGHT - 1)
        assert await asked(ask, stage, 1) == [429]
        clock.move(1)
        assert await asked(ask, stage, 3) == [200, 200, 429]


async def test_a_month_ends_with_its_last_day(counted, ask, clock):
    async with counted(quota("month", per("requests", 1, "month", timezone="Europe/Berlin"))) as stage:
        assert await asked(ask, stage, 2) == [200, 429]
        clock.now = EPOCH + MIDNIGHT + 9 * 86_400 - 1  # 30 September, 23:59:59 in Berlin
        assert await asked(ask, stage, 1) == [429]
        clock.move(1)
        assert await asked(ask, stage, 2) == [200, 429]


async def test_an_hour_slides_and_a_day_written_in_hours_too(counted, ask, clock):
    clock.now = EPOCH + MIDNIGHT - 60
    async with counted(quota("slides", per("requests", 1, "1d"))) as stage:
        assert await asked(ask, stage, 1) == [200]
        clock.move(120)
        assert await asked(ask, stage, 1) == [429], "midnight means nothing to `1d`"


async def held(session, stage):
    """A stream that has begun."""
    body = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "hello there"}]}
    answer = await session.post(f"{stage.base}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {stage.tokens['dev']}"})
    await answer.content.readany()
    return answer


async def test_a_held_stream_holds_a_slot_until_its_client_leaves(counted, ask, ended):
    def patient(made):
        for one in made:
            if one["kind"] == "Upstream":
                one["spec"]["timeouts"] = {"idle": "20s"}

    async with counted(quota("two", per("concurrency", 2, None)), change=patient, on_finished=ended) as stage, aiohttp.ClientSession() as session:
        stage.upstream.mode = "stall"
        first, second = await held(session, stage), await held(session, stage)
        no = await ask(stage)
        assert (no.status, no.code, no.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
        assert stage.upstream.count == 2
        stage.upstream.mode = "ok"
        assert await asked(ask, stage, 1, "other") == [200], "another caller has slots of its own"
        first.close()
        await ended.one(499)
        assert await asked(ask, stage, 3) == [200, 200, 200], "one slot is free, and each call gives it back"
        second.close()
