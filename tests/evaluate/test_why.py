"""A decision as a tree that can be printed."""

import json

from sidecar.evaluate.why import tree


def test_every_candidate_is_told_with_its_place_and_result(kit):
    snapshot = kit.built(
        kit.ALLOW,
        kit.policy("p", kit.rule("no", "deny", "call.stream"), kit.rule("quiet", "deny", "call.tokens > 5")),
        kit.policy("other", kit.rule("elsewhere", "deny"), target=["gpt-4o-mini"]),
    )
    told = tree(snapshot, kit.asked(snapshot, kit.call(stream=True)))
    assert told["effect"] == "deny"
    assert told["by"] == ["p/no"]
    assert [(rule["rule"], rule["result"]) for rule in told["rules"]] == [("p/no", "true"), ("p/quiet", "false"), ("open/all", "unread")]
    assert all(rule["where"].startswith("layer0/all.yaml:") for rule in told["rules"])
    assert told["refusal"]["status"] == 403
    assert json.loads(json.dumps(told)) == told


def test_obligations_and_survivors_are_told(kit):
    must = kit.policy("p", kit.rule("must", "require", then={"cap": {"n": 1}, "label": ["x"]}))
    snapshot = kit.built(kit.ALLOW, must)
    told = tree(snapshot, kit.asked(snapshot))
    assert told["obligations"] == {"cap": {"n": 1.0}, "label": ["x"]}
    assert told["survivors"] == ["openai/gpt-4o"]


def test_a_refusal_before_anyone_is_known_can_be_told(kit):
    from sidecar.need import Unauthenticated

    snapshot = kit.built(kit.ALLOW)
    told = tree(snapshot, kit.asked(snapshot, script=kit.Script(Unauthenticated("no"))))
    assert (told["principal"], told["rules"]) == (None, [])
