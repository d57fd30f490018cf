"""What the health port tells Prometheus of real calls: each is counted once, under names from the documents and no others."""

import asyncio

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.testing import document, write


async def scraped(stage):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{stage.port('health')}/metrics") as answer:
        text = await answer.text()
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return text


async def samples(stage):
    """(name, label values in the order of their names) to value."""
    families = text_string_to_metric_families(await scraped(stage))
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


def risen(before, after):
    """What changed, by how much."""
    return {key: after[key] - before.get(key, 0.0) for key in after if after[key] != before.get(key, 0.0)}


def named(samples, name):
    return {key[1:]: value for key, value in samples.items() if key[0] == name}


async def test_one_denial_is_one_more_under_its_rule_and_nothing_else(stage, ask):
    await ask(stage)
    before = await samples(stage)
    await ask(stage, temperature=2.0)
    change = risen(before, await samples(stage))
    assert named(change, "sidecar_decisions_total") == {("deny", "chat", "llm", "base/cool"): 1.0}
    assert named(change, "sidecar_refusals_total") == {("policy",): 1.0}
    assert named(change, "sidecar_answers_total") == {("chat", "403"): 1.0}
    assert named(change, "sidecar_upstream_requests_total") == {}


async def test_an_allowed_call_is_counted_with_its_tokens_dollars_and_times(stage, ask):
    usage = (await ask(stage)).json["usage"]
    got = await samples(stage)
    assert named(got, "sidecar_decisions_total") == {("allow", "chat", "llm", "base/known"): 1.0}
    assert named(got, "sidecar_upstream_requests_total") == {("ok", "up-openai"): 1.0}
    assert named(got, "sidecar_tokens_total") == {
        ("input", "gpt-4o", "up-openai"): usage["prompt_tokens"],
        ("output", "gpt-4o", "up-openai"): usage["completion_tokens"],
    }
    dollars = (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6
    assert named(got, "sidecar_cost_usd_total") == {("gpt-4o", "up-openai"): pytest.approx(dollars)}
    assert got["sidecar_overhead_seconds_count",] == 1
    assert got["sidecar_first_byte_seconds_count", "up-openai"] == 1
    assert got["sidecar_call_seconds_count", "chat", "llm"] == 1
    assert 0 < got["sidecar_overhead_seconds_sum",] < got["sidecar_call_seconds_sum", "chat", "llm"]


async def test_the_first_decision_and_then_a_sample_is_timed_by_stage(stage, ask):
    for _ in range(17):
        await ask(stage)
    got = named(await samples(stage), "sidecar_stage_seconds_count")
    assert got == {(name,): 2.0 for name in ("identify", "own", "authorize", "apply_policies", "reserve_quota", "screen_call")}
    timed = [set(row["timings"]) for row in stage.records() if row["timings"]]
    assert len(timed) == 2


async def test_names_that_callers_choose_never_become_labels(stage, ask):
    for number in range(5):
        await ask(stage, model=f"made-up-{number}")
        await ask(stage, f"sk-made-up-{number}")
        await ask(stage, path=f"/v1/made-up-{number}")
        await ask(stage, method=f"MADE{number}")
        await ask(stage, "tiny")
    text = await scraped(stage)
    for word in ("made-up", "MADE", "tiny", "dev", "127.0.0.1"):
        assert word not in text.replace("/dev/", ""), word
    got = named(await samples(stage), "sidecar_decisions_total")
    assert {rule for *_, rule in got} <= {"none", "base/known", "base/cool", "one-a-minute", "other"}


async def test_a_model_that_only_a_glob_admits_is_other(make_stage, ask):
    def globbed(stage):
        made = stage.documents()
        made[2]["spec"]["models"].append({"name": "ft-*", "price": {"input": 1.0, "output": 2.0, "per": "1M"}})
        return made

    async with make_stage(globbed) as stage:
        for number in range(3):
            assert (await ask(stage, model=f"ft-{number}")).status == 200
        got = await samples(stage)
    assert {model for _, model, _ in named(got, "sidecar_tokens_total")} == {"other"}


async def test_a_call_under_way_is_in_flight_until_it_ends(stage, ask):
    stage.upstream.mode = "hang"
    asking = asyncio.ensure_future(ask(stage))
    await asyncio.wait_for(stage.upstream.reached.wait(), 5)
    during = await samples(stage)
    assert (during["sidecar_inflight",], during["sidecar_inflight_bytes",] > 50) == (1, True)
    assert (await asking).status == 504
    after = await samples(stage)
    assert (after["sidecar_inflight",], after["sidecar_inflight_bytes",]) == (0, 0)
    assert named(after, "sidecar_upstream_requests_total") == {("timeout", "up-openai"): 1.0}


async def test_quotas_are_counted_reserved_settled_warned_and_exhausted(make_stage, ask):
    limits = [{"metric": "requests", "max": 2, "per": "1h", "warnAt": "50%"}, {"metric": "tokens", "max": 100000, "per": "1h"}]
    quota = document("Quota", "two", match={"subjects": ["key:dev"]}, limits=limits)
    async with make_stage(lambda stage: [*stage.documents(), quota]) as stage:
        used = (await ask(stage)).json["usage"]["total_tokens"]
        got = await samples(stage)
        assert named(got, "sidecar_quota_reserved_total")["requests",] == 1
        assert named(got, "sidecar_quota_reserved_total")["tokens",] >= 50 > used
        assert named(got, "sidecar_quota_settled_total") == {("requests",): 1.0, ("tokens",): used}
        assert named(got, "sidecar_quota_warnings_total") == {("two",): 1.0}
        await ask(stage)
        assert (await ask(stage)).status == 429
        got = await samples(stage)
        assert named(got, "sidecar_quota_exhausted_total") == {("requests", "two"): 1.0}
        assert named(got, "sidecar_quota_reserved_total")["requests",] == 2


async def test_an_upstream_that_fails_is_seen_to_be_left_alone(make_stage, ask):
    def fragile(stage):
        made = stage.documents()
        made[2]["spec"]["breaker"] = {"failures": 2, "openFor": "60s"}
        return made

    async with make_stage(fragile) as stage:
        assert named(await samples(stage), "sidecar_upstream_state")["closed", "up-openai"] == 1
        stage.upstream.mode = "status"
        for _ in range(2):
            await ask(stage)
        got = await samples(stage)
    assert named(got, "sidecar_upstream_state")["open", "up-openai"] == 1
    assert ("closed", "up-openai") not in named(got, "sidecar_upstream_state")
    assert named(got, "sidecar_upstream_requests_total") == {("status", "up-openai"): 2.0}


async def test_a_streams_first_event_and_its_bytes_are_counted(stage, ask):
    text = (await ask(stage, stream=True)).text
    got = await samples(stage)
    assert named(got, "sidecar_stream_first_event_seconds_count") == {("up-openai",): 1.0}
    assert got["sidecar_streamed_bytes_total",] == len(text.encode())


async def test_generation_and_digest_follow_a_reload_and_a_broken_one_shows(stage):
    before = await samples(stage)
    (digest,) = named(before, "sidecar_config_generation_info")
    assert (before["sidecar_config_generation",], before["sidecar_config_healthy",]) == (1, 1)
    assert digest == (stage.sidecar.services.active().snapshot.digest,)
    write(stage.directory, *stage.documents(), document("Policy", "more", rules=[{"name": "r", "effect": "warn", "message": "w"}]))
    assert await stage.sidecar.live.reload()
    after = await samples(stage)
    assert (after["sidecar_config_generation",], list(named(after, "sidecar_config_generation_info"))) != (1, [digest])
    assert len(named(after, "sidecar_config_generation_info")) == 1
    (stage.directory / "all.yaml").write_text("kind: Nothing")
    assert not await stage.sidecar.live.reload()
    broken = await samples(stage)
    assert (broken["sidecar_config_healthy",], broken["sidecar_config_generation",]) == (0, after["sidecar_config_generation",])
    assert named(broken, "sidecar_config_reload_total")["failure",] >= 1


async def test_what_audit_documents_would_have_done_is_counted_apart(make_stage, ask):
    trial = document("Policy", "trial", mode="audit", rules=[{"name": "no", "effect": "deny", "message": "no"}])
    async with make_stage(lambda stage: [*stage.documents(), trial]) as stage:
        assert (await ask(stage)).status == 200
        got = await samples(stage)
    assert named(got, "sidecar_would_decisions_total") == {("deny", "trial/no"): 1.0}
    assert named(got, "sidecar_decisions_total") == {("allow", "chat", "llm", "base/known"): 1.0}
