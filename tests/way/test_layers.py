"""Two layers on the wire: each decides alone, the strictest answer wins. A team can tighten what the platform says, never widen it."""

from datetime import UTC, datetime

import pytest

from sidecar.errors import ConfigError
from sidecar.testing import EPOCH, FrozenClock, document

MINI = {"model": "gpt-4o-mini"}
HOT = {"temperature": 2.0}


def policy(name, *rules, **match):
    return document("Policy", name, match=match, rules=[{"name": f"r{index}", **rule} for index, rule in enumerate(rules)])


def exception(*lifts, name="ir-1", who="key:dev"):
    ends = datetime.fromtimestamp(EPOCH + 10 * 86_400, UTC).isoformat()
    return document("Exception", name, lifts=list(lifts), match={"subjects": [who]}, reason="IR-1", approvedBy="ciso@example.com", expires=ends)


async def status(ask, stage, who="dev", **body):
    return (await ask(stage, who, **body)).status


async def test_a_teams_deny_holds_over_the_bases_allow(make_stage, ask):
    async with make_stage(layers=[[policy("team", {"effect": "deny", "message": "Not here."}, target=["gpt-4o"])]]) as stage:
        no = await ask(stage)
        assert (no.status, no.code) == (403, "policy_denied")
        assert "Not here." in no.text
        row = stage.records()[-1]
        assert row["by"] == ["team/r0"]
        assert [reason["layer"].rpartition("/")[2] for reason in row["reasons"] if reason["rule"] == "team/r0"] == ["layer1"]
        assert await status(ask, stage, **MINI) == 200
        assert stage.upstream.count == 1


@pytest.mark.parametrize("target", ["**", "gpt-4o"])
async def test_a_teams_allow_grants_nothing_the_base_does_not(make_stage, ask, target):
    wide = policy("team", {"effect": "allow"}, target=[target], subjects=["key:poor", "key:dev"])
    roles = document("Roles", "team", roles={"all": {"allow": ["llm:*:**"]}}, bindings=[{"role": "all", "subjects": ["key:poor"]}])
    async with make_stage(layers=[[wide, roles]]) as stage:
        assert await status(ask, stage, "poor") == 403
        assert await status(ask, stage, **HOT) == 403
        assert await status(ask, stage) == 200
        assert stage.upstream.count == 1


async def test_a_layer_that_holds_an_allow_is_an_allow_list(make_stage, ask):
    async with make_stage(layers=[[policy("team", {"effect": "allow"}, target=["gpt-4o-mini"])]]) as stage:
        assert await status(ask, stage, **MINI) == 200
        assert await status(ask, stage) == 403
        assert await status(ask, stage, "poor", **MINI) == 403
        assert [seen.json["model"] for seen in stage.upstream.requests] == ["gpt-4o-mini"]
        listed = await ask(stage, "dev", "/v1/models", method="GET")
        assert [model["id"] for model in listed.json["data"]] == ["gpt-4o-mini"], "and its list says so"


async def test_a_layer_without_an_allow_only_takes_away(make_stage, ask):
    async with make_stage(layers=[[policy("team", {"effect": "deny", "when": "call.stream"})]]) as stage:
        assert await status(ask, stage) == 200
        assert await status(ask, stage, stream=True) == 403


async def test_without_an_allow_in_the_base_nothing_a_team_writes_helps(make_stage, ask):
    def bare(stage):
        return [one for one in stage.documents() if one["metadata"]["name"] != "base"]

    async with make_stage(bare, layers=[[policy("team", {"effect": "allow"})]]) as stage:
        assert await status(ask, stage) == 403
        assert stage.upstream.count == 0


async def test_three_layers_must_all_agree(make_stage, ask):
    one = [policy("a", {"effect": "allow"}, target=["gpt-4o", "gpt-4o-mini"])]
    two = [policy("a", {"effect": "allow"}, target=["gpt-4o-mini", "text-*"])]
    async with make_stage(layers=[one, two]) as stage:
        assert await status(ask, stage, **MINI) == 200
        assert await status(ask, stage) == 403
        embed = {"path": "/v1/embeddings", "model": "text-embedding-3-small", "messages": None, "max_tokens": None, "input": "x"}
        assert await status(ask, stage, **embed) == 403


async def test_obligations_of_both_layers_add_up(make_stage, ask):
    def cap(most):
        return policy("caps", {"effect": "require", "then": {"cap": {"max_tokens": most}}})

    for base, team in ((30, 20), (20, 30)):
        async with make_stage(lambda stage, base=base: [*stage.documents(), cap(base)], layers=[[cap(team)]]) as stage:
            assert await status(ask, stage) == 200
            assert stage.upstream.requests[0].json["max_tokens"] == 20


async def test_two_layers_that_set_a_field_to_different_values_deny(make_stage, ask):
    def put(value):
        return policy("puts", {"effect": "require", "then": {"set": {"user": value}}})

    async with make_stage(lambda stage: [*stage.documents(), put("a")], layers=[[put("b")]]) as stage:
        assert await status(ask, stage) == 403
        assert stage.upstream.count == 0


async def test_an_exception_lifts_the_rule_of_its_own_layer_for_whom_it_names(make_stage, ask):
    clock = FrozenClock()
    async with make_stage(lambda stage: [*stage.documents(), exception("Policy/base/cool")], clock=clock) as stage:
        assert await status(ask, stage, **HOT) == 200
        lifted = {reason["rule"]: reason.get("lifted") for reason in stage.records()[-1]["reasons"]}
        assert lifted["base/cool"] == "ir-1"
        assert await status(ask, stage, "other", **HOT) == 403
        clock.move(10 * 86_400)
        assert await status(ask, stage, **HOT) == 403, "it has expired"


async def test_an_exception_of_the_base_leaves_a_teams_rule_of_the_same_name(make_stage, ask):
    team = document(
        "Policy", "base", rules=[{"name": "cool", "when": "call.params.?temperature.orValue(0) > 1.5", "effect": "deny", "message": "Team says no."}]
    )
    async with make_stage(lambda stage: [*stage.documents(), exception("Policy/base/cool")], clock=FrozenClock(), layers=[[team]]) as stage:
        no = await ask(stage, **HOT)
        assert no.status == 403
        assert "Team says no." in no.text


async def test_a_teams_exception_leaves_the_bases_rule_of_the_same_name(make_stage, ask):
    team = document(
        "Policy", "base", rules=[{"name": "cool", "when": "call.params.?temperature.orValue(0) > 1.5", "effect": "deny", "message": "Team says no."}]
    )
    async with make_stage(clock=FrozenClock(), layers=[[team, exception("Policy/base/cool")]]) as stage:
        no = await ask(stage, **HOT)
        assert no.status == 403
        assert "Keep it cool." in no.text


async def test_a_teams_exception_cannot_even_name_a_rule_of_the_base(make_stage):
    with pytest.raises(ConfigError) as caught:
        async with make_stage(clock=FrozenClock(), layers=[[exception("Policy/base/cool")]]):
            pass
    (error,) = [one for one in caught.value.diagnostics if one.severity == "error"]
    assert error.message == "no Policy `base` in this layer"
    assert "own layer" in error.hint


async def test_an_exception_makes_no_yes(make_stage, ask):
    lifted = [policy("never", {"effect": "deny"}, subjects=["key:poor"]), exception("Policy/never/r0", who="key:poor")]
    async with make_stage(lambda stage: [*stage.documents(), *lifted], clock=FrozenClock()) as stage:
        assert await status(ask, stage, "poor") == 403
        assert stage.upstream.count == 0


@pytest.mark.parametrize("kind", ["Settings", "Identity", "Upstream", "Route"])
async def test_what_belongs_to_the_platform_is_no_teams_to_write(make_stage, kind):
    specs = {
        "Settings": {"mode": "audit"},
        "Identity": {"methods": [{"anonymous": {}}]},
        "Upstream": {"protocol": "llm", "url": "echo:", "models": [{"name": "x"}]},
        "Route": {"to": [{"upstream": "up-openai"}]},
    }
    with pytest.raises(ConfigError) as caught:
        async with make_stage(layers=[[document(kind, "mine", **specs[kind])]]):
            pass
    assert any(kind in one.message and one.severity == "error" for one in caught.value.diagnostics)


async def test_a_teams_rule_on_proposed_tools_holds_in_the_reply(make_stage, ask):
    team = policy("team", {"effect": "deny", "message": "Team keeps files."}, operation=["tool_call"], target=["unlink"])
    body = {"messages": [{"role": "user", "content": "call unlink {}"}], "tools": [{"type": "function", "function": {"name": "unlink", "parameters": {}}}]}
    async with make_stage(layers=[[team]]) as stage:
        assert "Team keeps files." in (await ask(stage, **body)).text
    async with make_stage() as stage:
        assert (await ask(stage, **body)).json["choices"][0]["message"]["tool_calls"]
