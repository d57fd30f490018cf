"""Recorded calls decided again under other documents: what changes, what stays, and what cannot be told."""

import dataclasses

import orjson
import pytest

from sidecar.call import Tool
from sidecar.evaluate import inputs, reply
from sidecar.need import Exhausted, Level, Owned, OwnerOf, Reserve, Unavailable
from sidecar.principal import Principal
from sidecar.telemetry import record
from sidecar.workbench.compare import compare
from sidecar.workbench.recorded import Reader
from sidecar.workbench.replay import Decider
from sidecar.workbench.traffic import Traffic, as_recorded, code, text

OPEN = {"name": "all", "effect": "allow"}


def quota(kit, name="q", **spec):
    return kit.document("Quota", name, **{"key": ["principal.id"], "limits": [{"metric": "requests", "max": 5, "per": "1m"}], **spec})


def recorded(kit, snapshot, call=None, *, kept="facts", script=None, who=None, **more):
    """The line of a call that was decided, as the sidecar writes it."""
    decision = kit.asked(snapshot, call or kit.call(bytes=9), who or kit.DEV, script=script, **more)
    held = None
    if kept == "facts" and decision.principal is not None:
        paths = inputs.wanted(snapshot, decision.call, decision.principal)
        held = inputs.facts(paths, decision.call, decision.principal, None)
    elif kept == "all":
        held = inputs.everything(decision.call, decision.principal, None, body=True)
    return record.Writer().line(decision, snapshot=snapshot.digest, request="r", inputs=held)


def again(snapshot, line):
    """(what changed, the answer now)."""
    made = Reader().read(record.read(line))
    answer = Decider(snapshot).decide(made)
    return compare(made.answer, answer if made.settled else as_recorded(answer)), answer


def policies(kit, *rules, name="p"):
    return kit.policy(name, OPEN, *rules, operation=["*"])


def test_under_the_same_documents_nothing_changes(kit):
    snapshot = kit.built(policies(kit, kit.rule("hot", "deny", "call.params.?temperature.orValue(0.0) > 1.0")), quota(kit))
    for params in ({}, {"temperature": 2.0}):
        assert again(snapshot, recorded(kit, snapshot, kit.call(params=params, bytes=9)))[0].kind == "same"


def test_a_stricter_rule_denies_by_its_name_and_a_lifted_one_allows(kit):
    loose, strict = (kit.built(policies(kit, kit.rule("hot", "deny", f"call.params.?temperature.orValue(0.0) > {most}"))) for most in (1.5, 1.0))
    line = recorded(kit, loose, kit.call(params={"temperature": 1.2}, bytes=9))
    assert again(strict, line)[0] == ("newly_denied", ("p/hot",))
    assert again(loose, recorded(kit, strict, kit.call(params={"temperature": 1.2}, bytes=9)))[0] == ("newly_allowed", ("p/hot",))


def test_a_parameter_that_was_not_kept_is_named(kit):
    snapshot = kit.built(policies(kit, kit.rule("hot", "deny", "call.params.?temperature.orValue(0.0) > 1.0")))
    line = recorded(kit, snapshot, kept="tuple")
    assert again(snapshot, line)[0] == ("undecidable", ("call.params.temperature",))


def test_only_the_paths_of_conditions_that_could_not_be_told_are_named(kit):
    rules = [kit.rule("a", "deny", "call.stream && call.params.x == 1"), kit.rule("b", "deny", "call.params.y == 1")]
    line = recorded(kit, kit.built(policies(kit)))
    assert again(kit.built(policies(kit, *rules)), line)[0] == ("undecidable", ("call.params.y",))


def test_a_rule_that_decides_whatever_was_not_kept_is_sure(kit):
    line = recorded(kit, kit.built(policies(kit)))
    strict = kit.built(policies(kit, kit.rule("no", "deny"), kit.rule("hot", "allow", "call.params.x == 1")))
    assert again(strict, line)[0] == ("newly_denied", ("p/no",))


def test_an_error_in_one_part_of_a_condition_does_not_hide_that_another_is_not_known(kit):
    """A false part would decide; an error that counted as matched would be a wrong no."""
    document = kit.policy("q", kit.rule("odd", "deny", "principal.claims.level == 2"), when="call.params.x > 1", operation=["*"])
    line = recorded(kit, kit.built(policies(kit)), kept="all")
    value = orjson.loads(line)
    del value["inputs"]["values"]["principal.claims"]
    assert again(kit.built(policies(kit), document), orjson.dumps(value))[0].kind == "undecidable"


def test_settings_in_audit_mode_are_compared_by_what_they_would_do(kit):
    audit = kit.document("Settings", "s", mode="audit")
    rule = kit.rule("no", "deny")
    enforced, audited = kit.built(kit.upstream(), policies(kit, rule)), kit.built(kit.upstream(), audit, policies(kit, rule))
    assert again(enforced, recorded(kit, audited))[0].kind == "same"
    assert again(audited, recorded(kit, enforced))[0].kind == "same"


def test_other_obligations_are_told_by_name(kit):
    one, other = (kit.built(policies(kit, kit.rule("c", "require", then={"cap": {"max_tokens": most}}))) for most in (10, 20))
    line = recorded(kit, one)
    assert again(one, line)[0].kind == "same"
    assert again(other, line)[0] == ("obligations", ("cap",))


# ---------------------------------------------------------------- names


def test_names_are_resolved_by_the_new_documents(kit):
    old = kit.built(policies(kit))
    line = recorded(kit, old, kit.call("smart", bytes=9))
    gone = kit.built(kit.upstream(models=[{"name": "gpt-4o-mini", "price": kit.PRICE}]), policies(kit))
    assert again(gone, line)[1].effect == "deny"
    assert again(old, recorded(kit, gone, kit.call("smart", bytes=9)))[0].kind == "newly_allowed"


def test_a_name_that_was_cut_short_cannot_be_resolved(kit):
    snapshot = kit.built(policies(kit))
    assert again(snapshot, recorded(kit, snapshot, kit.call("m" * 300, bytes=9)))[0] == ("undecidable", ("call.target",))


def test_an_id_that_a_provider_minted_stays_where_it_lives(kit):
    script = kit.Script(by={OwnerOf: Owned(kit.DEV.id, "azure")})
    documents = [kit.upstream(), kit.upstream("azure"), policies(kit)]
    snapshot = kit.built(*documents)
    line = recorded(kit, snapshot, kit.call(refs=(("response", "resp_1"),), bytes=9), script=script)
    assert b"resp_1" not in line
    assert record.read(line).call["members"] == ["azure/gpt-4o"]
    assert again(snapshot, line)[0].kind == "same"
    elsewhere = kit.built(*documents, kit.policy("q", kit.rule("no", "deny"), target=["azure/*"], operation=["*"]))
    assert again(elsewhere, line)[0] == ("newly_denied", ("q/no",))
    other = kit.built(*documents, kit.policy("q", kit.rule("no", "deny"), target=["openai/*"], operation=["*"]))
    assert again(other, line)[0].kind == "same"


def test_what_no_policy_decided_stays_as_it_was(kit):
    snapshot = kit.built(policies(kit))
    script = kit.Script(by={OwnerOf: Owned("somebody", "openai")})
    line = recorded(kit, snapshot, kit.call(refs=(("response", "r"),), bytes=9), script=script)
    change, answer = again(kit.built(policies(kit, kit.rule("no", "deny"))), line)
    assert (change.kind, answer.effect, answer.by) == ("same", "deny", ())


# ---------------------------------------------------------------- quotas


def out(kit, name="q"):
    def answer(need):
        item = next(item for item in need.items if item.rule == name)
        return Exhausted(Level(item.counter, item.metric, item.limit, 0.0, 1.0, 60.0, name), 1.0)

    return kit.Script(by={Reserve: answer})


def test_what_the_store_said_holds_for_the_same_quota(kit):
    snapshot = kit.built(policies(kit), quota(kit))
    assert again(snapshot, recorded(kit, snapshot))[0].kind == "same"
    change, answer = again(snapshot, recorded(kit, snapshot, script=out(kit)))
    assert (change.kind, answer.effect, answer.by) == ("same", "deny", ("q",))


@pytest.mark.parametrize(
    "changed",
    [
        {"limits": [{"metric": "requests", "max": 4, "per": "1m"}]}, {"limits": [{"metric": "requests", "max": 5, "per": "1h"}]}, {"key": ["principal.team"]},
        {"limits": [{"metric": "requests", "max": 5, "per": "1m"}, {"metric": "concurrency", "max": 1}]},
    ],
)  # fmt: skip
def test_another_key_or_limit_is_another_question(kit, changed):
    line = recorded(kit, kit.built(policies(kit), quota(kit)))
    assert again(kit.built(policies(kit), quota(kit, **changed)), line)[0] == ("undecidable", ("quota q",))


def test_a_quota_that_was_not_asked_has_no_answer_unless_the_call_is_denied_anyway(kit):
    line = recorded(kit, kit.built(policies(kit)))
    assert again(kit.built(policies(kit), quota(kit)), line)[0] == ("undecidable", ("quota q",))
    assert again(kit.built(policies(kit, kit.rule("no", "deny")), quota(kit)), line)[0] == ("newly_denied", ("p/no",))


def test_a_quota_that_is_gone_asks_nothing(kit):
    line = recorded(kit, kit.built(policies(kit), quota(kit)), script=out(kit))
    assert again(kit.built(policies(kit)), line)[0] == ("newly_allowed", ("q",))


def test_of_several_quotas_those_that_did_not_run_out_have_no_answer(kit):
    line = recorded(kit, kit.built(policies(kit), quota(kit), quota(kit, "other")), script=out(kit))
    assert again(kit.built(policies(kit), quota(kit, "other")), line)[0] == ("undecidable", ("quota other",))


@pytest.mark.parametrize(("most", "kind"), [(100, "obligations"), (900, "undecidable"), (400, "same")])
def test_granted_tokens_are_granted_for_less_and_not_for_more(kit, most, kind):
    metered = quota(kit, limits=[{"metric": "tokens", "max": 5000, "per": "1m"}])
    old, new = (kit.built(policies(kit, kit.rule("c", "require", then={"cap": {"max_tokens": n}})), metered) for n in (400, most))
    line = recorded(kit, old, kit.call(tokens=10, body={"model": "x"}, bytes=9))
    assert record.read(line).facts["bill"]["tokens"] == 410
    assert again(new, line)[0].kind == kind


def test_a_store_that_was_down_was_down_for_every_quota(kit):
    line = recorded(kit, kit.built(policies(kit), quota(kit)), script=kit.Script(by={Reserve: Unavailable("store")}))
    assert again(kit.built(policies(kit), quota(kit)), line)[0].kind == "same"
    assert again(kit.built(policies(kit), quota(kit, onError="allow")), line)[0].kind == "newly_allowed"
    assert again(kit.built(policies(kit), quota(kit, "new", onError="allow")), line)[0].kind == "newly_allowed"


def test_a_key_that_was_not_kept_does_not_matter_where_the_answer_is_on_record(kit):
    snapshot = kit.built(policies(kit), quota(kit, key=["string(principal.claims.level)"]))
    assert again(snapshot, recorded(kit, snapshot, kept="tuple"))[0].kind == "same"


def test_a_call_that_was_decided_without_spending_is_again(kit):
    snapshot = kit.built(policies(kit), quota(kit))
    line = recorded(kit, snapshot, reserve=False)
    assert record.read(line).facts == {"quota": "spared"}
    assert again(snapshot, line)[0].kind == "same"


# ---------------------------------------------------------------- what must be carried


def test_a_demand_that_the_dialect_has_no_place_for_denies(kit):
    line = recorded(kit, kit.built(policies(kit)))
    strict = kit.built(policies(kit, kit.rule("c", "require", then={"cap": {"nonsense": 1}})))
    assert again(strict, line)[0] == ("newly_denied", ("p/c",))


@pytest.mark.parametrize(("kept", "kind"), [("all", "obligations"), ("tuple", "undecidable")])
def test_whether_a_new_cap_has_its_number_must_be_on_record(kit, kept, kind):
    line = recorded(kit, kit.built(policies(kit)), kit.call(params={"temperature": 1.0}, bytes=9), kept=kept)
    strict = kit.built(policies(kit, kit.rule("c", "require", then={"cap": {"temperature": 0.5}})))
    assert again(strict, line)[0].kind == kind


def test_whether_a_new_redaction_has_its_place_takes_the_body(kit):
    strict = kit.built(policies(kit, kit.rule("c", "require", then={"redact": ["/user"]})))
    assert again(strict, recorded(kit, kit.built(policies(kit)), kept="facts"))[0] == ("undecidable", ("call.body",))
    assert again(strict, recorded(kit, kit.built(policies(kit)), kit.call(params={"user": "u"}, bytes=9), kept="all"))[0].kind == "obligations"
    assert again(strict, recorded(kit, strict, kept="facts"))[0].kind == "same"


# ---------------------------------------------------------------- tools and replies


def tool_line(kit, snapshot, tool, call=None):
    call = snapshot.resolve(call or kit.call(bytes=9), "openai")
    decision = reply.judge_tool(snapshot, call, kit.DEV, tool, now=kit.NOW, decision_id="t1")
    paths = inputs.wanted(snapshot, decision.call, kit.DEV)
    return record.Writer().line(decision, snapshot=snapshot.digest, inputs=inputs.facts(paths, decision.call, kit.DEV, None))


def test_a_proposed_tool_is_judged_again_with_its_arguments_and_the_model_that_was_asked(kit):
    def documents(place):
        rules = [kit.rule("out", "deny", f'!call.args.path.startsWith("{place}") && call.requested_model == "smart"')]
        return kit.built(policies(kit), kit.policy("t", *rules, operation=["tool_call"]))

    line = tool_line(kit, documents("/srv"), Tool("rm", args={"path": "/srv/a"}), kit.call("smart", bytes=9))
    assert again(documents("/srv"), line)[0].kind == "same"
    assert again(documents("/srv/b"), line)[0] == ("newly_denied", ("t/out",))


def test_tools_that_the_provider_would_run_are_judged_again_with_theirs(kit):
    def documents(most):
        rule = kit.rule("many", "deny", f"call.args.?max_uses.orValue(0) > {most}")
        return kit.built(policies(kit), kit.policy("t", rule, operation=["tool_call"], target=["web_*"]))

    call = kit.call(tools=(Tool("other"), Tool("web_search", kind="web_search", args={"max_uses": 3})), bytes=9)
    line = recorded(kit, documents(5), call)
    assert record.read(line).call["tools"] == ["other", "web_search"]
    assert record.read(line).inputs["values"] == {"call.tools.1.args.max_uses": 3}
    assert again(documents(5), line)[0].kind == "same"
    assert again(documents(2), line)[0] == ("newly_denied", ("t/many",))
    assert again(documents(2), recorded(kit, documents(5), call, kept="tuple"))[0].kind == "undecidable"


def reply_line(kit, snapshot, facts, *, complete=True, kept=True):
    call = snapshot.resolve(kit.call(bytes=9), "openai")
    decision = reply.judge_reply(snapshot, call, kit.DEV, facts, now=kit.NOW, decision_id="r1", complete=complete)
    paths = inputs.wanted(snapshot, call, kit.DEV, "response")
    held = inputs.facts(paths, call, kit.DEV, facts) if kept else None
    return record.Writer().line(decision, snapshot=snapshot.digest, phase="response" if complete else "head", inputs=held)


def test_a_reply_is_judged_again_by_response_rules_and_the_head_of_one_without_those_of_its_end(kit):
    def documents(tokens):
        rule = kit.rule("long", "deny", f"reply.tokens > {tokens}", buffer=True)
        return kit.built(policies(kit), kit.policy("r", rule, phase="response", operation=["*"]))

    facts = reply.ReplyFacts(200, "stop", 30, ())
    assert again(documents(40), reply_line(kit, documents(40), facts))[0].kind == "same"
    assert again(documents(20), reply_line(kit, documents(40), facts))[0] == ("newly_denied", ("r/long",))
    assert again(documents(20), reply_line(kit, documents(40), facts, kept=False))[0] == ("undecidable", ("reply.tokens",))
    assert again(documents(20), reply_line(kit, documents(40), facts, complete=False))[0].kind == "same"


def test_housekeeping_that_other_grants_allow_takes_the_claims(kit):
    def documents(claim):
        return kit.built(kit.policy("p", kit.rule("use", "allow", claim), operation=["chat"]))

    call = kit.call(operation="count_tokens", bytes=9)
    line = recorded(kit, documents("principal.claims.mfa"), call)
    assert record.read(line).effect == "allow"
    assert again(documents("principal.claims.mfa"), line)[0].kind == "same"
    assert again(documents("!principal.claims.mfa"), line)[0].kind == "newly_denied"
    assert again(documents("principal.claims.mfa"), recorded(kit, documents("principal.claims.mfa"), call, kept="tuple"))[0].kind == "undecidable"


# ---------------------------------------------------------------- traffic


def traffic(new, lines, old=None, **more):
    made = Traffic(Decider(new), Reader(), Decider(old) if old is not None else None, **more)
    made.take([line + b"\n" for line in lines], "f.jsonl")
    return made.report()


def test_two_configurations_are_compared_with_one_another_and_not_with_what_was_recorded(kit):
    no = kit.built(policies(kit, kit.rule("no", "deny")))
    yes = kit.built(policies(kit))
    report = traffic(no, [recorded(kit, yes)] * 3, old=no)
    assert (report["counts"]["same"], code(report)) == (3, "same")
    assert traffic(yes, [recorded(kit, yes)], old=no)["counts"]["newly_allowed"] == 1


def test_changes_are_grouped_by_rule_with_examples_and_places_on_both_sides(kit):
    old = kit.built(policies(kit, kit.rule("no", "deny", "call.tokens > 5000")))
    new = kit.built(policies(kit, kit.rule("first", "warn"), kit.rule("no", "deny")))
    report = traffic(new, [recorded(kit, old)] * 7)
    (group,) = report["groups"]
    assert (group["kind"], group["rules"], group["count"], group["examples"]) == ("newly_denied", ["p/no"], 7, ["d1"] * 5)
    (before,), (after,) = group["old"]["p/no"], group["new"]["p/no"]
    assert before.startswith("layer0/all.yaml:")
    assert after != before
    assert (report["elsewhere"], code(report)) == (7, "changed")
    told = "\n".join(text(report))
    assert f"newly denied 7: p/no\n    p/no: {before} -> {after}" in told


def test_what_cannot_be_read_is_counted_and_told_and_is_not_the_same(kit):
    snapshot = kit.built(policies(kit))
    good, checkpoint = recorded(kit, snapshot), b'{"v":1,"type":"checkpoint"}'
    report = traffic(snapshot, [good, b"{", checkpoint, b"", b'{"v":9}', good.replace(b'"now":', b'"never":')])
    assert (report["decisions"], report["broken"], report["counts"]["same"], code(report)) == (1, 3, 1, "undecidable")
    assert [line.split(": ")[0] for line in report["first_broken"]] == ["f.jsonl:2", "f.jsonl:5", "f.jsonl:6"]


def test_only_decisions_of_the_time_that_was_asked_for_are_taken(kit):
    snapshot = kit.built(policies(kit))
    line = recorded(kit, snapshot)
    assert traffic(snapshot, [line], since=kit.NOW)["decisions"] == 1
    assert traffic(snapshot, [line], until=kit.NOW)["decisions"] == 0


def test_a_caller_with_other_groups_is_another_caller(kit):
    snapshot = kit.built(kit.policy("p", kit.rule("eng", "allow"), subjects=["group:eng"], operation=["*"]))
    other = dataclasses.replace(Principal.of("user:dev", team="core"))
    report = traffic(snapshot, [recorded(kit, snapshot), recorded(kit, snapshot, who=other)])
    assert report["counts"]["same"] == 2


# ---------------------------------------------------------------- replies that nobody judged then


def responses(kit, *rules):
    return kit.policy("r", *rules, operation=["chat"], phase="response")


def replied(kit, snapshot, *, about="c1", finish="stop", complete=True):
    """The line of a reply that was judged."""
    call = snapshot.resolve(kit.call(bytes=9), "openai")
    facts = reply.ReplyFacts(200, finish, 9)
    verdict = reply.judge_reply(snapshot, call, kit.DEV, facts, now=1.0, decision_id="d_r", complete=complete)
    held = inputs.facts(inputs.wanted(snapshot, call, kit.DEV, "response"), call, kit.DEV, facts)
    return record.Writer().line(verdict, snapshot=snapshot.digest, phase="response" if complete else "head", about=about, inputs=held)


def own(line):
    return orjson.loads(line)["id"]


ODD = {"name": "odd", "effect": "deny", "when": 'reply.finish == "odd"', "buffer": True}
LATE = {"name": "long", "effect": "deny", "when": "reply.tokens > 5000", "buffer": True}
EARLY = {"name": "broken", "effect": "deny", "when": "reply.status > 499"}


def test_a_new_response_rule_on_calls_whose_replies_nobody_judged_is_undecidable_and_never_the_same(kit):
    old, new = kit.built(policies(kit)), kit.built(policies(kit), responses(kit, ODD))
    report = traffic(new, [recorded(kit, old)] * 3)
    assert (report["counts"]["same"], report["unheard"], code(report)) == (3, 1, "undecidable")  # one id, three lines
    assert "1 have replies that are not on record: response rules were not tried on them" in text(report)
    assert code(traffic(new, [recorded(kit, old)], old=old)) == "undecidable"


def test_a_reply_that_is_on_record_is_decided_again(kit):
    old, new = kit.built(policies(kit), responses(kit, LATE)), kit.built(policies(kit), responses(kit, ODD, LATE))
    asked = recorded(kit, old)
    for finish, kind in (("stop", "undecidable"), ("odd", "undecidable")):  # what no rule read then was not kept
        report = traffic(new, [asked, replied(kit, old, about=own(asked), finish=finish)])
        assert (report["unheard"], code(report)) == (0, kind)
    both = kit.built(policies(kit), responses(kit, LATE, {**ODD, "when": 'reply.finish == "never"'}))
    report = traffic(new, [recorded(kit, both), replied(kit, both, about=own(asked), finish="odd")])
    assert (report["unheard"], code(report), report["groups"][0]["rules"]) == (0, "changed", ["r/odd"])


def test_the_head_of_a_stream_is_enough_for_rules_that_read_no_more(kit):
    old = kit.built(policies(kit), responses(kit, {**EARLY, "when": "reply.status > 599"}))
    asked = recorded(kit, old)
    lines = [asked, replied(kit, old, about=own(asked), complete=False)]
    assert traffic(kit.built(policies(kit), responses(kit, EARLY)), lines)["unheard"] == 0
    assert traffic(kit.built(policies(kit), responses(kit, EARLY, LATE)), lines)["unheard"] == 1


def test_of_replies_two_configurations_that_say_the_same_need_none(kit):
    base = kit.built(policies(kit))
    one, other = kit.built(policies(kit), responses(kit, ODD)), kit.built(policies(kit, kit.rule("hot", "deny", "call.tokens > 99999")), responses(kit, ODD))
    report = traffic(other, [recorded(kit, base)], old=one)
    assert (report["unheard"], code(report)) == (0, "same")
    assert code(traffic(one, [recorded(kit, one)])) == "same"


def test_what_lifts_a_response_rule_is_part_of_what_is_said_of_replies(kit):
    lifts = kit.document("Exception", "x", lifts=["Policy/r/odd"], reason="X-1", approvedBy="ciso@example.com", expires="2026-10-31T00:00:00Z")
    base, one = kit.built(policies(kit)), kit.built(policies(kit), responses(kit, ODD))
    assert code(traffic(kit.built(policies(kit), responses(kit, ODD), lifts), [recorded(kit, base)], old=one)) == "undecidable"


def test_what_is_denied_has_no_reply(kit):
    old = kit.built(policies(kit))
    new = kit.built(policies(kit, kit.rule("no", "deny")), responses(kit, ODD))
    report = traffic(new, [recorded(kit, old)])
    assert (report["unheard"], code(report)) == (0, "changed")


def test_calls_that_wait_for_their_replies_are_bounded_and_stay_counted(kit, monkeypatch):
    monkeypatch.setattr("sidecar.workbench.traffic.WAITING", 2)
    old, new = kit.built(policies(kit)), kit.built(policies(kit), responses(kit, ODD))
    lines = [recorded(kit, old).replace(b'"id":"', f'"id":"{number}-'.encode(), 1) for number in range(5)]
    assert traffic(new, lines)["unheard"] == 5
