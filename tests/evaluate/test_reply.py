"""Proposed tool calls, tools the provider runs, and replies: released unless denied."""

import pytest

from sidecar.call import Tool
from sidecar.evaluate import reply, tools
from sidecar.evaluate.reply import ReplyFacts

TOOLS = {"operation": ["tool_call"]}


def judged(kit, snapshot, tool, made=None):
    call = snapshot.resolve(made or kit.call(), "openai")
    return reply.judge_tool(snapshot, call, kit.DEV, tool, now=kit.NOW, decision_id="t1")


def test_a_proposal_is_released_where_nothing_is_said(kit):
    decision = judged(kit, kit.built(kit.ALLOW), Tool("rm", args={}))
    assert (decision.effect, decision.refusal, decision.call.operation, decision.call.target) == ("allow", None, "tool_call", "rm")


def test_a_denied_proposal_names_its_rule(kit):
    snapshot = kit.built(
        kit.ALLOW, kit.policy("t", kit.rule("no-etc", "deny", 'has(call.args) && call.args.path.startsWith("/etc")', message="Not there."), **TOOLS)
    )
    denied = judged(kit, snapshot, Tool("read", args={"path": "/etc/passwd"}))
    assert (denied.by, denied.refusal.rule, denied.refusal.message, denied.id) == (("t/no-etc",), "t/no-etc", "Not there.", "t1")
    assert judged(kit, snapshot, Tool("read", args={"path": "/srv"})).effect == "allow"


@pytest.mark.parametrize(
    "when", ['has(call.args) && call.args.path.startsWith("/etc")', 'call.?args.?path.orValue("") == "/etc"', "has(call.args) && has(call.args.path)"]
)
def test_arguments_that_are_not_known_count_as_matched_by_a_deny_that_reads_them(kit, when):
    snapshot = kit.built(kit.ALLOW, kit.policy("t", kit.rule("no", "deny", when), **TOOLS))
    decision = judged(kit, snapshot, Tool("read", args=None))
    assert decision.effect == "deny"
    assert decision.reasons[0].result == "error"


def test_rules_for_other_operations_do_not_judge_proposals(kit):
    assert judged(kit, kit.built(kit.ALLOW, kit.policy("p", kit.rule("no", "deny"))), Tool("rm")).effect == "allow"


def test_an_allow_list_of_tools(kit):
    settings = kit.document("Settings", "s", default={"toolCall": "deny"})
    snapshot = kit.built(settings, kit.ALLOW, kit.policy("t", kit.rule("reads", "allow"), target=["read_*", "fs/**"], **TOOLS))
    assert judged(kit, snapshot, Tool("read_file", args={})).by == ("t/reads",)
    assert judged(kit, snapshot, Tool("any", server="fs", args={})).effect == "allow"
    assert judged(kit, snapshot, Tool("write_file", args={})).effect == "deny"


def test_a_later_layer_with_allows_is_no_allow_list_of_tools_unless_tools_are_listed(kit):
    later = [kit.policy("t", kit.rule("all", "allow"))]
    assert judged(kit, kit.built(kit.upstream(), kit.ALLOW, later=[later]), Tool("rm", args={})).effect == "allow"


def test_every_model_that_may_propose_must_be_allowed_to(kit):
    settings = kit.document("Settings", "s", default={"toolCall": "deny"})
    route = kit.document(
        "Route", "r", match={"target": ["fast"]}, to=[{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "openai", "model": "gpt-4o-mini"}]
    )
    snapshot = kit.built(settings, kit.upstream(), route, kit.ALLOW, kit.policy("t", kit.rule("mini", "allow", 'call.model == "gpt-4o-mini"'), **TOOLS))
    assert judged(kit, snapshot, Tool("x", args={}), kit.call("fast")).effect == "deny"
    assert judged(kit, snapshot, Tool("x", args={}), kit.call("gpt-4o-mini")).effect == "allow"


def test_conditions_see_the_tool_and_the_model(kit):
    when = 'has(call.tool) && call.tool.name == "Run" && call.tool.destructive && call.model == "gpt-4o" && call.requested_model == "smart" && call.target == "run"'
    snapshot = kit.built(kit.ALLOW, kit.policy("t", kit.rule("no", "deny", when), **TOOLS))
    assert judged(kit, snapshot, Tool("Run", args={}), kit.call("smart")).by == ("t/no",)


def test_a_demand_that_a_proposal_cannot_meet_is_a_no(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("t", kit.rule("must", "require", then={"cap": {"n": 1}}), **TOOLS))
    assert judged(kit, snapshot, Tool("x", args={})).by == ("t/must",)
    labelled = kit.built(kit.ALLOW, kit.policy("t", kit.rule("must", "require", then={"label": ["seen"]}), **TOOLS))
    assert judged(kit, labelled, Tool("x", args={})).obligations.label == ("seen",)


def test_mode_audit_releases_and_says_so(kit):
    snapshot = kit.built(kit.document("Settings", "s", mode="audit"), kit.ALLOW, kit.policy("t", kit.rule("no", "deny"), **TOOLS))
    decision = judged(kit, snapshot, Tool("x", args={}))
    assert (decision.effect, decision.audited, [reason.rule for reason in decision.would]) == ("allow", True, ["t/no"])


@pytest.mark.parametrize(
    ("name", "target"), [("fs__read", "fs/read"), ("mcp__fs__read", "fs/read"), ("other__read", "other__read"), ("fs__", "fs__"), ("read", "read")]
)
def test_names_of_mcp_tools_are_read_where_the_server_is_known(name, target):
    assert tools.of_server(Tool(name), frozenset({"fs"})).target == target


# ---------------------------------------------------------------- tools in the request


def test_a_denied_provider_side_tool_denies_the_request(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("t", kit.rule("no-search", "deny"), target=["web_search"], **TOOLS))
    decision = kit.asked(snapshot, kit.call(tools=(Tool("calculator"), Tool("web_search", kind="web_search"))))
    assert (decision.effect, decision.by, decision.refusal.rule) == ("deny", ("t/no-search",), "t/no-search")
    assert kit.asked(snapshot, kit.call(tools=(Tool("calculator"),))).effect == "allow"


def test_the_grant_of_a_tool_is_no_reason_of_a_no(kit):
    snapshot = kit.built(kit.policy("p", kit.rule("s", "allow", "call.stream")), kit.policy("t", kit.rule("all", "allow"), **TOOLS))
    decision = kit.asked(snapshot, kit.call(tools=(Tool("web_search"),)))
    assert (decision.effect, decision.by) == ("deny", ())


def test_what_a_provider_side_tool_demands_the_request_owes(kit):
    snapshot = kit.built(kit.ALLOW, kit.policy("t", kit.rule("must", "require", then={"cap": {"max_tokens": 9}}), **TOOLS))
    assert kit.asked(snapshot, kit.call(tools=(Tool("web_search"),))).obligations.cap == (("max_tokens", 9.0),)
    assert kit.asked(snapshot).obligations.cap == ()


# ---------------------------------------------------------------- replies


def response(kit, when="true", effect="deny", mode="enforce", **more):
    return kit.policy("r", kit.rule("no", effect, when, **more), phase="response", operation=["chat"], mode=mode)


def answer(kit, snapshot, facts, *, complete=True):
    call = snapshot.resolve(kit.call(stream=True), "openai")
    return reply.judge_reply(snapshot, call, kit.DEV, facts, now=kit.NOW, decision_id="r1", complete=complete)


def test_a_reply_is_released_unless_denied(kit):
    snapshot = kit.built(kit.ALLOW, response(kit, "reply.tokens > 100", buffer=True))
    assert answer(kit, snapshot, ReplyFacts(200, "stop", 5)).effect == "allow"
    assert answer(kit, snapshot, ReplyFacts(200, "stop", 500)).by == ("r/no",)


def test_the_head_of_a_stream_is_judged_by_what_it_tells(kit):
    snapshot = kit.built(
        kit.ALLOW,
        response(kit, "reply.tokens > 100", buffer=True),
        kit.policy("h", kit.rule("odd", "deny", "reply.status != 200"), phase="response", operation=["chat"]),
    )
    assert answer(kit, snapshot, ReplyFacts(200, tokens=500), complete=False).effect == "allow"
    assert answer(kit, snapshot, ReplyFacts(206), complete=False).by == ("h/odd",)


def test_streams_are_held_for_rules_that_say_so_and_for_no_audit(kit):
    call = kit.call(stream=True)

    def needs(*documents):
        snapshot = kit.built(kit.ALLOW, *documents)
        resolved = snapshot.resolve(call, "openai")
        return reply.has_rules(snapshot, resolved, kit.DEV), reply.needs_buffer(snapshot, resolved, kit.DEV)

    assert needs() == (False, False)
    assert needs(response(kit, "reply.status != 200")) == (True, False)
    assert needs(response(kit, "reply.tokens > 1", buffer=True)) == (True, True)
    assert needs(response(kit, "reply.tokens > 1", buffer=True, mode="audit")) == (True, False)


def test_response_rules_do_not_judge_requests(kit):
    assert kit.asked(kit.built(kit.ALLOW, response(kit))).effect == "allow"


def test_an_audit_response_rule_is_noted(kit):
    decision = answer(kit, kit.built(kit.ALLOW, response(kit, mode="audit")), ReplyFacts(200))
    assert (decision.effect, [reason.rule for reason in decision.would]) == ("allow", ["r/no"])


def test_tools_of_a_reply_are_seen(kit):
    snapshot = kit.built(kit.ALLOW, response(kit, 'reply.tool_calls.exists(t, t == "rm")', buffer=True))
    assert answer(kit, snapshot, ReplyFacts(200, tool_calls=("ls", "rm"))).effect == "deny"
