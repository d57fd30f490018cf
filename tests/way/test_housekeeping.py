"""Lists and token counts: allowed to whoever may use anything, judged all the same, and never telling of what nobody would get."""

import pytest

from sidecar.testing import document

COUNT = {"path": "/v1/messages/count_tokens", "max_tokens": None}


def policy(name, *rules, **match):
    return document("Policy", name, match=match, rules=[{"name": f"r{index}", **rule} for index, rule in enumerate(rules)])


@pytest.fixture
def beside(make_stage):
    """A stage with these documents beside the usual ones."""
    return lambda *more, **options: make_stage(lambda stage: [*stage.documents(), *more], **options)


async def names(ask, stage, who="dev", **options):
    answer = await ask(stage, who, "/v1/models", method="GET", **options)
    assert answer.status == 200
    return [model["id"] for model in answer.json["data"]]


OPENAI = ["gpt-4o", "gpt-4o-mini", "omni-moderation-latest", "text-embedding-3-small"]


async def test_a_list_is_ours_and_no_upstream_is_asked(stage, ask):
    assert await names(ask, stage) == OPENAI
    assert await names(ask, stage, headers={"anthropic-version": "2023-06-01"}) == ["claude-sonnet-5-5"]
    assert stage.upstream.count == 0
    assert [(row["call"]["operation"], row["effect"]) for row in stage.records()] == [("models", "allow")] * 2


async def test_who_is_nobody_gets_no_list(stage, ask):
    assert (await ask(stage, "sk-nobody", "/v1/models", method="GET")).status == 401


async def test_a_list_shows_what_perhaps_and_hides_what_never(beside, ask):
    rules = [
        policy("never", {"effect": "deny"}, target=["gpt-4o"]),
        policy("nor-this", {"effect": "deny", "when": 'principal.id == "key:dev"'}, target=["omni-*"]),
        policy("perhaps", {"effect": "deny", "when": "call.params.?temperature.orValue(0) > 1"}, target=["gpt-4o-mini"]),
    ]
    async with beside(*rules) as stage:
        assert await names(ask, stage) == ["gpt-4o-mini", "text-embedding-3-small"]
        assert "omni-moderation-latest" in await names(ask, stage, "other")


async def test_one_model_is_told_of_to_whom_it_is_listed(beside, ask):
    async with beside(
        policy("never", {"effect": "deny", "when": 'principal.id == "key:dev"'}, target=["gpt-4o"], operation=["chat", "embeddings", "moderation"])
    ) as stage:
        for who, model in (("dev", "gpt-4o"), ("dev", "no-such-model"), ("poor", "gpt-4o")):
            no = await ask(stage, who, f"/v1/models/{model}", method="GET")
            assert (no.status, no.code) == (404, "model_not_found")
            assert no.json["error"]["message"].split("(")[0] == "the model does not exist, or you do not have access to it "
        assert (await ask(stage, "other", "/v1/models/gpt-4o", method="GET")).json["id"] == "gpt-4o"


async def test_what_rules_demand_of_calls_is_not_demanded_of_a_list(beside, ask):
    owed = {"effect": "require", "then": {"cap": {"max_tokens": 5}, "route": {"region": "eu"}, "set": {"user": "x"}}}
    async with beside(policy("eu", owed)) as stage:
        assert await names(ask, stage) == [], "no upstream is there"


async def test_a_list_can_be_denied_by_its_own_name(beside, ask):
    async with beside(policy("no-lists", {"effect": "deny"}, operation=["models"])) as stage:
        assert (await ask(stage, "dev", "/v1/models", method="GET")).status == 403


async def test_what_is_listed_can_be_used_and_what_is_not_can_not(beside, ask):
    grant = policy("little", {"effect": "allow"}, subjects=["key:poor"], target=["gpt-4o-mini"], operation=["chat"])
    async with beside(grant) as stage:
        assert await names(ask, stage, "poor") == ["gpt-4o-mini"]
        statuses = {model: (await ask(stage, "poor", model=model)).status for model in ("gpt-4o", "gpt-4o-mini")}
        assert statuses == {"gpt-4o": 403, "gpt-4o-mini": 200}


async def test_aliases_and_routes_are_listed_too(make_stage, ask):
    def documents(stage):
        made = stage.documents()
        next(one for one in made if one["metadata"]["name"] == "up-openai")["spec"]["models"][0]["aliases"] = ["smart"]
        return [*made, document("Route", "r", match={"target": ["best"]}, to=[{"upstream": "up-openai", "model": "gpt-4o"}])]

    async with make_stage(documents) as stage:
        assert {"smart", "best"} < set(await names(ask, stage))
        assert (await ask(stage, model="best")).status == 200
        assert stage.upstream.requests[0].json["model"] == "gpt-4o"


async def test_lists_of_other_dialects_are_theirs(stage, ask):
    told = await ask(stage, "dev", "/v1/models", method="GET", headers={"anthropic-version": "2023-06-01"})
    assert told.json["data"][0]["type"] == "model"
    assert {"has_more", "first_id", "last_id"} <= set(told.json)


async def test_count_tokens_is_for_whoever_may_use_anything_there(make_stage, ask):
    def documents(stage):
        made = stage.documents()
        next(one for one in made if one["metadata"]["name"] == "up-anthropic")["spec"]["models"].append({"name": "claude-tiny"})
        return [*made, policy("tiny", {"effect": "allow", "when": "!call.stream"}, subjects=["key:poor"], operation=["chat"], target=["claude-tiny"])]

    async with make_stage(documents) as stage:
        assert (await ask(stage, "poor", **COUNT)).json == {"input_tokens": 3}
        assert (await ask(stage, "poor", "/v1/messages")).status == 403
        assert [seen.path for seen in stage.upstream.requests] == ["/v1/messages/count_tokens"]


async def test_count_tokens_is_not_for_whoever_may_use_nothing_there(beside, ask):
    """It sends the whole prompt to the provider, so an allow whose condition is false for this caller, or for another provider, is none."""
    other = policy("vectors", {"effect": "allow"}, subjects=["key:poor"], operation=["embeddings"], target=["text-*"])
    async with beside(other) as stage:
        assert (await ask(stage, "poor", **COUNT)).status == 403
        assert (await ask(stage, "sk-nobody", **COUNT)).status == 401
        assert stage.upstream.count == 0


@pytest.mark.parametrize(
    "match",
    [{"operation": ["count_tokens"]}, {"operation": ["*"], "target": ["claude-*"]}, {"target": ["up-anthropic/**"]}, {"subjects": ["key:dev"]}],
    ids=str,
)
async def test_a_deny_holds_on_housekeeping_as_on_all_else(beside, ask, match):
    async with beside(policy("no", {"effect": "deny"}, **match)) as stage:
        assert (await ask(stage, **COUNT)).status == 403
        assert stage.upstream.count == 0


async def test_its_content_is_still_judged(beside, ask):
    async with beside(policy("short", {"effect": "deny", "when": "call.tokens > 20"}, operation=["count_tokens"])) as stage:
        assert (await ask(stage, **COUNT)).status == 200
        assert (await ask(stage, messages=[{"role": "user", "content": "words and words " * 20}], **COUNT)).status == 403
        assert stage.upstream.count == 1


async def test_it_counts_against_a_quota_of_requests_and_of_no_output(beside, ask):
    quota = document(
        "Quota",
        "q",
        match={"subjects": ["key:dev"]},
        limits=[{"metric": "requests", "max": 2, "per": "1h"}, {"metric": "output_tokens", "max": 1, "per": "1h"}],
    )
    async with beside(quota) as stage:
        assert [(await ask(stage, **COUNT)).status for _ in range(3)] == [200, 200, 429]


async def test_every_layer_must_welcome(make_stage, ask):
    team = policy("team", {"effect": "allow"}, subjects=["key:other"], operation=["chat"], target=["claude-*"])
    async with make_stage(layers=[[team]]) as stage:
        assert (await ask(stage, "other", **COUNT)).status == 200, "it may use something in both"
        assert (await ask(stage, "dev", **COUNT)).status == 403, "and this one nothing in the team's"
        assert await names(ask, stage, "other") == []
        assert await names(ask, stage, "other", headers={"anthropic-version": "2023-06-01"}) == ["claude-sonnet-5-5"]


async def test_a_hidden_upstream_is_not_told_of(make_stage, ask):
    def documents(stage):
        made = stage.documents()
        next(one for one in made if one["metadata"]["name"] == "up-openai")["spec"]["hidden"] = True
        return made

    async with make_stage(documents) as stage:
        for who, body in (("poor", {}), ("poor", {"stream": True}), ("dev", {"model": "no-such-model"})):
            no = await ask(stage, who, **body)
            assert (no.status, no.code) == (404, "model_not_found")
            assert no.json["error"]["message"].split("(decision")[0] == "the model does not exist, or you do not have access to it "
        assert (await ask(stage, temperature=2.0)).code == "policy_denied", "who may use it is told the rule"
        assert stage.upstream.count == 0
