"""Audit: what would have been refused is recorded, and nothing else changes. One document at a time, or the whole sidecar."""

import io

import pytest

from sidecar.cli.console import Console, noted
from sidecar.testing import document

TOOLS = {
    "messages": [{"role": "user", "content": 'call rm {"path": "/"}'}],
    "tools": [{"type": "function", "function": {"name": "rm", "parameters": {"type": "object"}}}],
}


def audit(name, *rules, **match):
    return document("Policy", name, mode="audit", match=match, rules=[{"name": f"r{index}", **rule} for index, rule in enumerate(rules)])


def would(row):
    return [reason["rule"] for reason in row["would"]]


@pytest.fixture
def beside(make_stage):
    """A stage with these documents beside the usual ones."""
    return lambda *more, settings=None, **options: make_stage(lambda stage: [*stage.documents(**(settings or {})), *more], **options)


DEEP = "call.params.?stop.orValue([])[7] == 'x'"
"""A condition that errors."""


@pytest.mark.parametrize("when", ["true", DEEP], ids=["true", "error"])
async def test_an_audit_deny_is_recorded_and_the_call_goes_through(beside, ask, when):
    async with beside(audit("try", {"effect": "deny", "when": when})) as stage:
        assert (await ask(stage)).status == 200
        row = stage.records()[-1]
        assert (row["effect"], row["audited"], would(row)) == ("allow", False, ["try/r0"])
        assert stage.upstream.count == 1
        assert 'sidecar_would_decisions_total{effect="deny",rule="try/r0"} 1.0' in stage.sidecar.metrics.render().decode()


async def test_an_audit_allow_grants_nothing(beside, ask):
    async with beside(audit("try", {"effect": "allow"})) as stage:
        assert (await ask(stage, "poor")).status == 403
        assert would(stage.records()[-1]) == ["try/r0"]
        assert stage.upstream.count == 0


async def test_an_audit_allow_makes_its_layer_no_allow_list(make_stage, ask):
    async with make_stage(layers=[[audit("try", {"effect": "allow"}, target=["gpt-4o-mini"])]]) as stage:
        assert (await ask(stage)).status == 200


async def test_audit_roles_grant_nothing(beside, ask):
    roles = document("Roles", "try", mode="audit", roles={"all": {"allow": ["llm:*:**"]}}, bindings=[{"role": "all", "subjects": ["key:poor"]}])
    async with beside(roles) as stage:
        assert (await ask(stage, "poor")).status == 403
        assert would(stage.records()[-1]) == ["try/all"]


async def test_an_audit_require_demands_nothing(beside, ask):
    owed = {"cap": {"max_tokens": 1}, "set": {"user": "x"}, "warn": ["careful"], "label": ["tried"]}
    async with beside(audit("try", {"effect": "require", "then": owed})) as stage:
        answer = await ask(stage)
        assert "x-sidecar-warning" not in answer.headers
        assert {name: stage.upstream.requests[0].json.get(name) for name in ("max_tokens", "user")} == {"max_tokens": 50, "user": None}
        row = stage.records()[-1]
        assert (row["obligations"], would(row)) == ({}, ["try/r0"])


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_audit_rule_on_proposals_leaves_the_tool_call(make_stage, ask, streamed):
    def documents(stage):
        made = stage.documents()
        next(one for one in made if one["metadata"]["name"] == "tools")["spec"]["mode"] = "audit"
        return made

    async with make_stage() as stage:
        assert "Nothing is removed here." in (await ask(stage, stream=streamed, **TOOLS)).text
    async with make_stage(documents) as stage:
        answer = await ask(stage, stream=streamed, **TOOLS)
        assert '"name":"rm"' in answer.text.replace(" ", "")
        row = stage.records()[-1]
        assert (row["call"]["operation"], row["effect"], would(row)) == ("tool_call", "allow", ["tools/no-rm"])


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_audit_rule_on_replies_leaves_the_reply(beside, ask, streamed):
    said = {"match": {"phase": "response"}, "rules": [{"name": "words", "effect": "deny", "when": "reply.tokens > 0", "buffer": True}]}
    async with beside(document("Policy", "long", **said)) as stage:
        assert (await ask(stage, stream=streamed)).status == 403
    async with beside(document("Policy", "long", mode="audit", **said)) as stage:
        assert (await ask(stage, stream=streamed)).status == 200
        assert would(stage.records()[-1]) == ["long/words"]


async def test_audit_documents_change_no_answer_to_anybody(beside, ask):
    """The whole table of answers, with and without a heap of audit documents."""
    heap = [
        audit("a", {"effect": "deny"}, {"effect": "allow"}, {"effect": "require", "then": {"cap": {"max_tokens": 1}}}, {"effect": "deny", "when": DEEP}),
        audit("b", {"effect": "deny"}, operation=["tool_call"]),
        document("Quota", "c", mode="audit", limits=[{"metric": "requests", "max": 0, "per": "1m"}]),
    ]
    cases = [("dev", {}), ("dev", {"temperature": 2.0}), ("poor", {}), ("broke", {}), ("tiny", {}), ("tiny", {}), ("nobody", {}), ("dev", {"model": "x"})]
    async with beside(name="plain") as plain, beside(*heap, name="heaped") as heaped:
        for who, body in cases:
            one, other = await ask(plain, who, **body), await ask(heaped, who, **body)
            assert (one.status, one.status >= 400 and one.code) == (other.status, other.status >= 400 and other.code)
        assert [seen.body for seen in plain.upstream.requests] == [seen.body for seen in heaped.upstream.requests]


AUDIT = {"settings": {"mode": "audit"}}
FORGIVEN = {"rbac": ("poor", {}, "default"), "policy": ("dev", {"temperature": 2.0}, "base/cool"), "budget": ("broke", {}, "penniless")}


@pytest.mark.parametrize("case", FORGIVEN)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_sidecar_that_audits_forwards_and_says_what_would_have_been(beside, ask, case, streamed):
    who, body, rule = FORGIVEN[case]
    out = io.StringIO()
    async with beside(**AUDIT, on_finished=Console(out, color=False).finished) as stage:
        answer = await ask(stage, who, stream=streamed, **body)
        assert answer.status == 200
        assert stage.upstream.count == 1
        row = stage.records()[-1]
        assert (row["effect"], row["audited"], row["mode"], row["refusal"]) == ("allow", True, "audit", None)
        assert rule in would(row)
    assert "would-deny" in out.getvalue()


async def test_a_sidecar_that_audits_prints_so_on_what_it_allows_too(beside, ask, fetch, admin_of):
    out = io.StringIO()

    def finished(*told):
        Console(out, color=False, note=noted(stage.sidecar.settings)).finished(*told)

    async with beside(**AUDIT, on_finished=finished) as stage:
        assert (await ask(stage)).status == 200
        assert stage.records()[-1]["mode"] == "audit"
        assert (await fetch(stage, "admin", "/api/v1/status", headers=await admin_of(stage))).json["mode"] == "audit"
    assert out.getvalue().endswith("[mode: audit]\n")


@pytest.mark.parametrize(("who", "body", "status"), [("sk-nobody", {}, 401), ("dev", {"model": "no-such-model"}, 404)])
async def test_a_sidecar_that_audits_still_knows_who_asks_and_what_exists(beside, ask, who, body, status):
    async with beside(**AUDIT) as stage:
        assert (await ask(stage, who, **body)).status == status
        assert stage.upstream.count == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_sidecar_that_audits_lets_proposals_through_and_records_them(beside, ask, streamed):
    async with beside(**AUDIT) as stage:
        answer = await ask(stage, stream=streamed, **TOOLS)
        assert "Nothing is removed here." not in answer.text
        row = next(row for row in stage.records() if row["call"]["operation"] == "tool_call")
        assert (row["effect"], row["audited"], would(row)) == ("allow", True, ["tools/no-rm"])


async def test_a_sidecar_that_audits_still_keeps_ids_apart(beside, ask):
    body = {"path": "/v1/responses", "input": "hi", "messages": None, "max_tokens": None}
    async with beside(**AUDIT) as stage:
        made = (await ask(stage, **body)).json["id"]
        assert (await ask(stage, "other", previous_response_id=made, **body)).status == 404
        assert stage.upstream.count == 1
