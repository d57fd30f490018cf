"""What a yes demands is carried out on the very bytes that leave, in every dialect; what a dialect cannot carry is a no."""

import aiohttp
import pytest

from sidecar.testing import CountingUpstream, document

TURN = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
PATH = "/v1beta/models/gemini-2.5-flash:generateContent"
CALLS = {
    "chat": ("/v1/chat/completions", {"model": "gpt-4o", "messages": TURN}),
    "completions": ("/v1/completions", {"model": "gpt-4o", "prompt": "hi"}),
    "responses": ("/v1/responses", {"model": "gpt-4o", "input": "hi"}),
    "messages": ("/v1/messages", {"model": "claude-sonnet-5-5", "messages": TURN[1:], "max_tokens": 900}),
    "gemini": (PATH, GEMINI),
}
LIMIT = {
    "chat": ("max_tokens",),
    "completions": ("max_tokens",),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
    "gemini": ("generationConfig", "maxOutputTokens"),
}


def owing(effect="require", match=None, when="true", **then):
    rule = {"name": "owes", "effect": effect, "when": when, "then": then}

    def documents(stage):
        return [*stage.documents(), document("Policy", "must", match={"protocol": ["llm"], **(match or {"operation": ["*"]})}, rules=[rule])]

    return documents


async def post(stage, path, body):
    headers = {"authorization": f"Bearer {stage.tokens['dev']}"}
    async with aiohttp.ClientSession() as session, session.post(stage.base + path, json=body, headers=headers) as answer:
        return answer.status, answer.headers, await answer.json(content_type=None)


def placed(body, place, value):
    """A body with a value at a path of keys."""
    head, *rest = place
    return {**body, head: placed(body.get(head, {}), rest, value) if rest else value}


def found(body, place):
    for key in place:
        body = body[key]
    return body


# ---------------------------------------------------------------- cap, set


@pytest.mark.parametrize(("asked", "sent"), [(None, 200), (5000, 200), (7, 7)], ids=["absent", "larger", "smaller"])
@pytest.mark.parametrize("dialect", CALLS)
async def test_a_cap_holds_the_output_down_in_every_dialect(make_stage, dialect, asked, sent):
    path, body = CALLS[dialect]
    if asked is not None:
        body = placed(body, LIMIT[dialect], asked)
    async with make_stage(owing(cap={"max_tokens": 200})) as stage:
        status, _, _ = await post(stage, path, body)
        assert status == 200
        seen = stage.upstream.requests[0].json
        assert found(seen, LIMIT[dialect]) == sent
        assert stage.records()[0]["obligations"] == {"cap": {"max_tokens": 200.0}}


async def test_every_spelling_of_the_same_number_is_held_down(make_stage):
    async with make_stage(owing(cap={"max_tokens": 200})) as stage:
        await post(stage, "/v1/chat/completions", {**CALLS["chat"][1], "max_tokens": 900, "max_completion_tokens": 901})
        seen = stage.upstream.requests[0].json
        assert (seen["max_tokens"], seen["max_completion_tokens"]) == (200, 200)


async def test_the_smallest_of_several_caps_wins_and_a_float_stays_one(make_stage):
    def documents(stage):
        more = [{"name": f"owes{most}", "effect": "require", "then": {"cap": {"max_tokens": most, "temperature": most / 1000}}} for most in (300, 100, 200)]
        return [*stage.documents(), document("Policy", "must", match={"operation": ["chat"]}, rules=more)]

    async with make_stage(documents) as stage:
        await post(stage, "/v1/chat/completions", {**CALLS["chat"][1], "temperature": 1})
        seen = stage.upstream.requests[0].json
        assert (seen["max_tokens"], seen["temperature"]) == (100, 0.1)


SET = {"chat": ("top_p",), "responses": ("top_p",), "messages": ("top_p",), "gemini": ("generationConfig", "topP")}


@pytest.mark.parametrize("asked", [None, 0.9])
@pytest.mark.parametrize("dialect", SET)
async def test_a_set_parameter_is_what_the_rule_says(make_stage, dialect, asked):
    path, body = CALLS[dialect]
    if asked is not None:
        body = placed(body, SET[dialect], asked)
    async with make_stage(owing(set={"top_p": 0.25})) as stage:
        assert (await post(stage, path, body))[0] == 200
        assert found(stage.upstream.requests[0].json, SET[dialect]) == 0.25


async def test_two_rules_that_set_different_values_deny(make_stage):
    def documents(stage):
        rules = [{"name": f"r{index}", "effect": "require", "then": {"set": {"top_p": value}}} for index, value in enumerate((0.1, 0.2))]
        return [*stage.documents(), document("Policy", "must", match={"operation": ["chat"]}, rules=rules)]

    async with make_stage(documents) as stage:
        status, _, told = await post(stage, *CALLS["chat"])
        assert (status, told["error"]["code"]) == (403, "policy_denied")
        assert stage.upstream.count == 0


# ---------------------------------------------------------------- redact, label, warn

REDACTED = {
    "chat": ("/messages/1/content", ("messages", 1, "content")),
    "responses": ("/input", ("input",)),
    "messages": ("/messages/0/content", ("messages", 0, "content")),
    "gemini": ("/contents/0/parts/0/text", ("contents", 0, "parts", 0, "text")),
}


@pytest.mark.parametrize("dialect", REDACTED)
async def test_a_redacted_place_never_leaves(make_stage, dialect):
    pointer, place = REDACTED[dialect]
    async with make_stage(owing(redact=[pointer, "/not/there/at/all"])) as stage:
        status, _, answer = await post(stage, *CALLS[dialect])
        assert status == 200
        assert found(stage.upstream.requests[0].json, place) == "[redacted]"
        assert "hi" not in str(answer).replace("thinking", "")
        assert stage.upstream.requests[0].body.count(b'"hi"') == 0


@pytest.mark.parametrize("effect", ["require", "allow"])
@pytest.mark.parametrize("dialect", CALLS)
async def test_labels_are_recorded_and_warnings_are_told(make_stage, dialect, effect):
    async with make_stage(owing(effect, label=["pii", "eu"], warn=["mind the gap", "zweite Zeile: ä"])) as stage:
        status, headers, _ = await post(stage, *CALLS[dialect])
        assert status == 200
        assert headers.getall("x-sidecar-warning") == ["mind the gap", "zweite Zeile: %C3%A4"]
        assert stage.records()[0]["obligations"] == {"label": ["eu", "pii"], "warn": ["mind the gap", "zweite Zeile: ä"]}


async def test_a_rule_that_does_not_match_demands_nothing(make_stage):
    async with make_stage(owing(when="call.tokens > 100000", cap={"max_tokens": 1}, warn=["no"])) as stage:
        status, headers, _ = await post(stage, *CALLS["chat"])
        assert status == 200
        assert "x-sidecar-warning" not in headers
        assert stage.upstream.requests[0].json == CALLS["chat"][1]


async def test_a_require_whose_condition_fails_counts_as_matched(make_stage):
    failing = "[1, 2][call.tokens + 100] > 0"
    async with make_stage(owing(when=failing, cap={"max_tokens": 3})) as stage:
        assert (await post(stage, *CALLS["chat"]))[0] == 200
        assert stage.upstream.requests[0].json["max_tokens"] == 3


# ---------------------------------------------------------------- route


def regions(*owed, extra=()):
    """Two upstreams for one model, one in each region, and rules that demand one."""

    def make(second):
        def documents(stage):
            made = stage.documents()
            first = {**made[2], "metadata": {"name": "up-openai", "labels": {"region": "us", "tier": "a"}}}
            twin = {**made[2], "metadata": {"name": "up-eu", "labels": {"region": "eu", "tier": "a"}}, "spec": {**made[2]["spec"], "url": second.url}}
            rules = [{"name": f"in{index}", "effect": "require", "then": {"route": labels}} for index, labels in enumerate(owed)]
            policy = document("Policy", "must", match={"operation": ["*"]}, rules=rules)
            return [*made[:2], first, *made[3:], twin, *([policy] if rules else []), *extra]

        return documents

    return make


@pytest.mark.parametrize(("owed", "where"), [(({"region": "eu"},), (0, 4)), (({"region": "us"}, {"tier": "a"}), (4, 0)), (({"region": "eu"}, {"region": "us"}), (0, 0)), (({"region": "asia"},), (0, 0))])  # fmt: skip
async def test_a_call_goes_only_where_the_labels_are(make_stage, owed, where):
    async with CountingUpstream().running() as second, make_stage(regions(*owed)(second)) as stage:
        bodies = [CALLS["chat"], CALLS["responses"], CALLS["completions"], ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x"})]
        statuses = [(await post(stage, *call))[0] for call in bodies]
        assert statuses == [200 if any(where) else 403] * 4
        assert (stage.upstream.count, second.count) == where


async def test_an_upstream_that_is_down_is_no_way_out_of_the_region(make_stage):
    async with CountingUpstream().running() as second, make_stage(regions({"region": "eu"})(second)) as stage:
        await second.stop()
        assert (await post(stage, *CALLS["chat"]))[0] == 502
        assert stage.upstream.count == 0


# ---------------------------------------------------------------- what cannot be carried

CARRIES_NOT = {
    "embeddings have no output to cap": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "x"}, {"cap": {"max_tokens": 5}}),
    "moderations have no top_p": ("/v1/moderations", {"model": "omni-moderation-latest", "input": "x"}, {"set": {"top_p": 0}}),
    "messages have no seed": (*CALLS["messages"], {"set": {"seed": 1}}),
    "messages have no frequency penalty": (*CALLS["messages"], {"cap": {"frequency_penalty": 0}}),
    "responses have no seed": (*CALLS["responses"], {"set": {"seed": 1}}),
    "chat cannot cap what is no number": (*CALLS["chat"], {"cap": {"reasoning_effort": 1}}),
    "gemini has no parallel tool calls": (*CALLS["gemini"], {"set": {"parallel_tool_calls": False}}),
}


@pytest.mark.parametrize("case", CARRIES_NOT)
async def test_what_a_dialect_cannot_carry_denies(make_stage, case):
    path, body, then = CARRIES_NOT[case]
    async with make_stage(owing(**then)) as stage:
        status, headers, told = await post(stage, path, body)
        assert status == 403
        assert "must/owes" in str(told)
        row = stage.records()[-1]
        assert (row["effect"], row["by"], row["id"]) == ("deny", ["must/owes"], headers["x-sidecar-decision"])
        assert stage.upstream.count == 0
