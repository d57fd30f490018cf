"""Which models a caller is shown: hidden only if never allowed."""

from sidecar.evaluate.listing import models
from sidecar.principal import Principal

ALL = ("gpt-4o", "gpt-4o-mini", "smart", "text-embed")


def shown(kit, *documents, who=None, family="openai"):
    return models(kit.built(*documents), who or kit.DEV, family, kit.NOW)


def test_nothing_without_an_allow(kit):
    assert shown(kit) == ()


def test_models_aliases_and_routes(kit):
    route = kit.document("Route", "r", match={"target": ["fast", "x-*"]}, to=[{"upstream": "openai", "model": "gpt-4o"}])
    assert shown(kit, kit.upstream(), route, kit.ALLOW) == ("fast", *ALL)


def test_only_what_some_operation_may_use(kit):
    assert shown(kit, kit.policy("p", kit.rule("e", "allow"), operation=["embeddings"], target=["text-*"])) == ("text-embed",)
    assert shown(kit, kit.policy("p", kit.rule("e", "allow"), operation=["count_tokens"])) == ()


def test_perhaps_is_shown_and_never_is_not(kit):
    assert shown(kit, kit.policy("p", kit.rule("few", "allow", "call.tokens < 10"))) == ALL
    assert shown(kit, kit.policy("p", kit.rule("few", "allow", 'principal.team == "x"'))) == ()
    assert shown(kit, kit.ALLOW, kit.policy("p", kit.rule("no", "deny", "call.?params.?depth.orValue(0) > 1"))) == ALL
    assert shown(kit, kit.ALLOW, kit.policy("p", kit.rule("no", "deny", 'principal.team == "core"'))) == ()


def test_what_a_list_cannot_know_never_hides_and_never_denies(kit):
    for when in ('call.dialect == "openai_chat"', "call.stream", "!call.stream"):
        assert shown(kit, kit.policy("p", kit.rule("few", "allow", when))) == ALL
        assert shown(kit, kit.ALLOW, kit.policy("p", kit.rule("no", "deny", when))) == ALL
    assert shown(kit, kit.policy("p", kit.rule("few", "allow", 'call.stream && principal.team == "x"'))) == ()


def test_a_deny_of_one_model_hides_it_and_its_alias(kit):
    assert shown(kit, kit.ALLOW, kit.policy("p", kit.rule("no", "deny"), target=["gpt-4o"])) == ("gpt-4o-mini", "text-embed")


def test_each_caller_sees_their_own(kit):
    documents = (kit.policy("p", kit.rule("mini", "allow"), target=["gpt-4o-mini"], subjects=["group:eng"]),)
    assert shown(kit, *documents) == ("gpt-4o-mini",)
    assert shown(kit, *documents, who=Principal.of("user:x")) == ()


def test_a_label_that_no_upstream_has_hides(kit):
    assert shown(kit, kit.ALLOW, kit.policy("p", kit.rule("eu", "require", then={"route": {"region": "eu"}}), target=["gpt-*"], operation=["*"])) == (
        "text-embed",
    )


def test_other_families_are_not_shown(kit):
    claude = kit.upstream("anthropic", dialect="anthropic", models=[{"name": "claude"}])
    assert shown(kit, kit.upstream(), claude, kit.ALLOW, family="anthropic") == ("claude",)


def test_layers_and_default_allow(kit):
    settings = kit.document("Settings", "s", default={"effect": "allow"})
    later = [kit.policy("t", kit.rule("mini", "allow"), target=["gpt-4o-mini"])]
    assert models(kit.built(settings), kit.DEV, "openai", kit.NOW) == ALL
    assert models(kit.built(settings, kit.upstream(), later=[later]), kit.DEV, "openai", kit.NOW) == ("gpt-4o-mini",)


def test_an_error_in_one_part_does_not_hide_where_another_part_is_not_known(kit):
    document = kit.policy("p", kit.rule("no", "deny", "call.tokens > 10"), when="1 / (principal.claims.level - 2) == 1")
    assert shown(kit, kit.ALLOW, document) == ALL
    sure = kit.policy("p", kit.rule("no", "deny"), when="1 / (principal.claims.level - 2) == 1")
    assert shown(kit, kit.ALLOW, sure) == ()
