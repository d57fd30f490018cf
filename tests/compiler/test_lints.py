"""Lints: what they must not say, and that what they do say is so. What they say is in tests/diagnostics."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.compiler.index import Matcher
from sidecar.compiler.lints import LINTS, facts, lint
from sidecar.compiler.lints.patterns import anchored, branches
from sidecar.compiler.lints.reach import meet
from sidecar.compiler.lints.shadows import contains, covers
from sidecar.compiler.patterns import compile_pattern
from sidecar.expr import BOOL as TRUTH
from sidecar.expr import INT, STRING, Declarations
from sidecar.expr import compile as compiled
from sidecar.expr.parser import parse

JWT = {"jwt": {"issuer": "https://id.example.com", "audience": "a", "jwks": "keys.json"}}


def found(kit, *documents, whole=None):
    compilation = kit.compiled(list(documents) if whole else [kit.upstream(), *documents])
    assert compilation.snapshot is not None, compilation.diagnostics
    return [item.code for item in lint(compilation.whole)]


def of(kit, when, effect="deny", operation="tool_call", **more):
    return found(kit, kit.policy("p", kit.rule("r", effect, when), operation=[operation], **more))


# ---------------------------------------------------------------- near misses


@pytest.mark.parametrize(
    "when",
    [
        'call.model == "gpt-4o" || call.model == "gpt-4o-mini"',
        "call.tokens > 3 && call.tokens < 5",
        "call.tokens >= 5 && call.tokens <= 5",
        'principal.team != "a" && principal.team != "b"',
        'principal.id.startsWith("user:") && principal.id.startsWith("user:a")',
        'principal.id.startsWith("user:") && principal.id == "user:a"',
        'principal.team in ["a", "b"] && principal.team in ["b", "c"]',
        "call.stream || principal.claims.mfa",
        "principal.claims.mfa ? call.stream : call.tokens > 5",
        'call.params.?n.orValue(1) == 1 || call.params.?n.orValue(1) == "1"',
        'principal.groups.exists(g, g == "a") && principal.groups.exists(g, g == "b")',
        "!(call.stream && principal.claims.mfa)",
        'call.model.matches("^gpt-")',
        'call.model.matches("mini$")',
        'call.model.matches("^(gpt-4o|b)$")',
        'call.model.matches("^gpt|^b")',
        'call.target == "gpt-4o"',
        'call.target.matches("(?i)^GPT")',
        'call.target.matches("^[A-Za-z]\\\\S")',
        'principal.team == "Größe"',
        'principal.team == "команда"',
    ],
)
def test_a_plain_condition_says_nothing(kit, when):
    assert of(kit, when, operation="chat") == []


@pytest.mark.parametrize(
    "when",
    [
        'path.within(string(call.args.path), "/srv")',
        'path.clean(string(call.args.path)).startsWith("/srv/")',
        'url.host(string(call.args.url)) == "example.com"',
        'url.host(string(call.args.url)).endsWith(".example.com")',
        'string(call.args.url).startsWith("https://")',
        'string(call.args.text).contains("example.com")',
        'string(call.args.command).startsWith("git ")',
        'string(call.args.q).matches("^[a-z]+/[a-z]+$")',
        'call.tool.name.matches("delete|drop")',
        'string(call.args.x).matches("v1.2")',
        'call.tool.name.startsWith("/x")',
    ],
)
def test_what_is_right_about_arguments_is_left_alone(kit, when):
    assert of(kit, when) == []


def test_a_condition_on_a_model_that_alone_is_served_today_is_not_superfluous(kit):
    assert of(kit, 'call.model.startsWith("gpt-") || call.model.startsWith("text-")', operation="chat") == []
    assert of(kit, 'call.model == "gpt-4o"', operation="chat", target=["gpt-4o"]) == ["always-true"]


def test_what_a_glob_serves_is_not_called_unreachable(kit):
    upstream = kit.upstream(models=[{"name": "gpt-*"}])
    for target in ("gpt-9", "gpt-*", "openai/gpt-9", "*-mini", "g*9", "openai/*"):
        assert found(kit, upstream, kit.policy("p", kit.rule("r", "deny"), operation=["chat"], target=[target]), whole=True) == [], target
    assert found(kit, upstream, kit.policy("p", kit.rule("r", "deny"), operation=["chat"], target=["claude-*"]), whole=True) == ["unreachable"]


def test_without_an_upstream_nobody_knows_what_is_served(kit):
    assert found(kit, kit.policy("p", kit.rule("r", "deny"), operation=["chat"], target=["x"]), whole=True) == []


def test_a_tool_is_not_looked_for_among_models(kit):
    assert found(kit, kit.policy("p", kit.rule("r", "deny"), operation=["chat", "tool_call"], target=["shell"])) == []


def test_a_deny_of_an_alias_and_its_model_is_whole(kit):
    assert found(kit, kit.policy("p", kit.rule("r", "deny"), operation=["chat"], target=["smart", "gpt-4o"])) == []
    assert found(kit, kit.policy("p", kit.rule("r", "deny"), operation=["chat"], target=["gpt-4o"])) == []
    assert found(kit, kit.policy("p", kit.rule("r", "deny"), operation=["chat"], target=["smart"])) == ["partial-deny"]


def identified(kit, methods, *subjects):
    identity = kit.document("Identity", "id", methods=methods)
    import yaml

    from sidecar.compiler import compile_layers
    from sidecar.config.load import load

    documents = [identity, kit.upstream(), kit.policy("p", kit.rule("r", "deny"), operation=["chat"], subjects=list(subjects))]
    loaded = load([("a", [("a.yaml", yaml.safe_dump_all(documents).encode())])], {}, kit.NOW)
    return [item.code for item in lint(compile_layers(loaded.layers, now=kit.NOW).whole)]


def test_who_a_token_says_he_is_can_be_anyone(kit):
    assert identified(kit, [JWT], "group:any", "team:any", "user:u", "user:*") == []


def test_keys_that_are_yet_to_be_made_can_be_in_any_group(kit):
    assert identified(kit, [{"apiKey": {"keys": []}}], "group:any", "key:any", "key:local") == []


def test_what_no_key_is_in_is_nobody(kit):
    keys = {"apiKey": {"keys": [{"id": "a", "sha256": "0" * 64, "groups": ["eng"]}]}}
    assert identified(kit, [keys], "group:eng", "group:e*", "key:a", "key:local") == []
    assert identified(kit, [keys], "group:ops") == ["unknown-subject"]


def test_a_deny_that_an_exception_lifts_shadows_nothing(kit):
    allow = kit.policy("a", kit.rule("r", "allow"), operation=["chat"], subjects=["group:x"])
    deny = kit.policy("b", kit.rule("r", "deny"), operation=["chat"])
    lifts = kit.document("Exception", "e", lifts=["Policy/b/r"], reason="x", approvedBy="y", expires="2026-10-30T00:00:00Z")
    assert found(kit, allow, deny) == ["shadowed"]
    assert found(kit, allow, deny, lifts) == []


def test_a_deny_with_a_condition_or_in_audit_shadows_nothing(kit):
    allow = kit.policy("a", kit.rule("r", "allow"), operation=["chat"], subjects=["group:x"])
    assert found(kit, allow, kit.policy("b", kit.rule("r", "deny", "call.stream"), operation=["chat"])) == []
    assert found(kit, allow, kit.policy("b", kit.rule("r", "deny"), operation=["chat"], mode="audit")) == ["audit"]
    assert found(kit, allow, kit.policy("b", kit.rule("r", "deny"), operation=["embeddings"])) == []


def test_a_deny_with_the_same_condition_shadows(kit):
    allow = kit.policy("a", kit.rule("r", "allow", "call.stream && call.tokens > 5"), operation=["chat"])
    assert found(kit, allow, kit.policy("b", kit.rule("r", "deny", "call.stream && (call.tokens > 5)"), operation=["chat"])) == ["shadowed"]


def test_two_rules_that_differ_in_anything_are_two(kit):
    one = kit.policy("a", kit.rule("r", "deny", "call.stream"), operation=["chat"])
    for other in (
        kit.policy("b", kit.rule("r", "deny", "!call.stream"), operation=["chat"]),
        kit.policy("b", kit.rule("r", "deny", "call.stream"), operation=["embeddings"]),
        kit.policy("b", kit.rule("r", "warn", "call.stream"), operation=["chat"]),
        kit.policy("b", kit.rule("r", "deny", "call.stream", message="other words"), operation=["chat"]),
        kit.policy("b", kit.rule("r", "deny", "call.stream"), operation=["chat"], subjects=["group:x"]),
    ):
        assert found(kit, one, other) == []
    assert found(kit, one, kit.policy("b", kit.rule("r", "deny", "call.stream"), operation=["chat"])) == ["duplicate-rule"]


@pytest.mark.parametrize("lint_", LINTS, ids=lambda each: each.__name__)
def test_a_lint_says_what_it_looks_for(lint_):
    assert lint_.__doc__


@pytest.mark.parametrize(
    "when",
    [
        "!(call.tokens >= 5) && call.tokens >= 5",
        "!(call.tokens < 5) && call.tokens < 5",
        "5 > call.tokens && call.tokens >= 5",
        "call.tokens == 3 && (call.tokens > 3 || call.stream && !call.stream)",
        "call.stream && !(call.stream || principal.claims.mfa)",
        'principal.team in ["a", "b"] && principal.team in ["c"]',
        "call.stream ? call.tokens > 5 && call.tokens < 3 : false",
    ],
)
def test_a_contradiction_is_found_however_it_is_written(kit, when):
    assert of(kit, when, operation="chat") == ["always-false"]


# ---------------------------------------------------------------- what they rest on


@pytest.mark.parametrize(
    ("pattern", "held"),
    [("^a", True), ("a$", True), ("a", False), (".*a", False), ("^.*a", False), ("a.*$", False), ("a\\$", False), ("(?i)^a", True), ("\\Aa", True)],
)
def test_a_pattern_is_anchored_at_one_end_at_least(pattern, held):
    assert anchored(pattern) is held


@pytest.mark.parametrize(("pattern", "count"), [("a|b", 2), ("(a|b)", 1), ("[|]", 1), ("a\\|b", 1), ("a|(b|c)|[(]|d", 4)])
def test_branches_are_those_at_the_top(pattern, count):
    assert len(branches(pattern)) == count


NAMES = st.text("ab/", min_size=1, max_size=5).filter(lambda text: "" not in text.split("/"))
PATTERNS = (
    st.lists(st.sampled_from(["a", "b", "/", "*", "**"]), min_size=1, max_size=5)
    .map("".join)
    .filter(lambda text: "***" not in text and "" not in text.split("/"))
)


@given(PATTERNS, PATTERNS, NAMES)
def test_what_contains_a_pattern_has_all_its_names(outer, inner, name):
    one, other = (compile_pattern(text, fold=True) for text in (outer, inner))
    if contains(one, other) and other.test(name):
        assert one.test(name)


@given(PATTERNS, PATTERNS, NAMES)
def test_two_patterns_of_one_name_meet(first, second, name):
    one, other = (compile_pattern(text, fold=True) for text in (first, second))
    if one.test(name) and other.test(name):
        assert meet(one, other)


@given(st.lists(PATTERNS, max_size=3), st.lists(PATTERNS, max_size=3), st.lists(NAMES, min_size=1, max_size=3))
def test_a_matcher_that_covers_another_matches_whatever_that_does(wide, narrow, names):
    one, other = (Matcher(frozenset({"chat"}), tuple(compile_pattern(text, fold=True) for text in texts)) for texts in (wide, narrow))
    if covers(one, other) and other.covers(names):
        assert one.covers(names)


ATOMS = [
    "a", "b", "n > 3", "n >= 3", "n < 3", "n == 3", "n != 3", "n <= 5", "5 > n", "n in [1, 3]", "n in [4]", 's == "x"', 's != "x"', 's in ["x", "y"]',
    's.startsWith("x")', 's.startsWith("y")', "a == true", "a != b", "n + 1 > 3", "true", "false",
]  # fmt: skip
CONDITIONS = st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.one_of(
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} && {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} || {two[1]})"),
        st.tuples(inner, inner, inner).map(lambda three: f"({three[0]} ? {three[1]} : {three[2]})"),
    ),
    max_leaves=8,
)
DECLARED = Declarations({"a": TRUTH, "b": TRUTH, "n": INT, "s": STRING})
VALUES = st.fixed_dictionaries({"a": st.booleans(), "b": st.booleans(), "n": st.integers(0, 6), "s": st.sampled_from(["", "x", "xy", "y"])})


@settings(max_examples=400)
@given(CONDITIONS, VALUES, st.booleans())
def test_what_cannot_be_so_is_never_so(source, values, want):
    if facts.narrowed(parse(source), want, {}) is None:
        assert compiled(source, DECLARED)(values) is not want


@settings(max_examples=300)
@given(CONDITIONS, CONDITIONS, VALUES)
def test_what_one_condition_excludes_is_never_so_beside_it(first, second, values):
    known = facts.narrowed(parse(first), True, {})
    if known is not None and facts.narrowed(parse(second), True, known) is None:
        assert not (compiled(first, DECLARED)(values) is True and compiled(second, DECLARED)(values) is True)
