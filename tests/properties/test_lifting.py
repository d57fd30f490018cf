"""Guards that were lifted into the index change no answer: decisions are those of a linear scan that lifts nothing.

Twice: against the product's own lattice over a linear scan, for everything that is asked of candidates (requests, proposals, replies,
lists, quotas); and against a lattice written out here, rule by rule and member by member, that shares no code with it.
"""

import itertools
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.call import Tool
from sidecar.compiler.candidates import HOUSEKEEPING, Layer, member_names
from sidecar.compiler.index import ANY, EXCLUDED, Matcher
from sidecar.evaluate import bindings, listing, reply, why
from sidecar.principal import Principal

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LIFTED = [
    'principal.team == "core"', '"core" == principal.team', 'principal.team in ["core", "web"]', 'principal.team == ""', '"eng" in principal.groups',
    'principal.id == "user:dev"', 'principal.kind == "key"', 'call.model == "gpt-4o"', 'call.model in ["gpt-4o-mini", "x"]', 'call.target == "fast"',
    'call.dialect == "openai_chat"', 'call.dialect in ["gemini_generate"]', "call.stream", "!call.stream", "call.stream == false", 'call.operation == "chat"',
    '"azure" in call.upstreams', '(call.model == "gpt-4o" || call.model == "text-embed")', 'has(call.tool) && call.tool.name == "rm"',
    '("eng" in principal.groups || "ops" in principal.groups)', 'has(call.tool) && !(call.tool.name == "rm")', '"second" in principal.actors',
]  # fmt: skip
OTHERS = [
    "call.tokens > 10", "call.params.depth > 1", "1000 / call.tokens > 1", "principal.claims.mfa", 'source.ip == "10.0.0.1"', "variables.big",
    '!(principal.team == "core")', 'principal.team != "core"', '(principal.team == "core" || call.stream)', 'call.model.endsWith("mini")',
    '(call.stream ? principal.team == "core" : call.tokens > 10)', "call.params.?depth.orValue(0) == 9", "variables.named",
]  # fmt: skip
TERMS = st.one_of(st.sampled_from(LIFTED), st.sampled_from(OTHERS))
WHENS = st.one_of(
    st.just("true"),
    st.lists(TERMS, min_size=1, max_size=3).map(" && ".join),
    st.tuples(TERMS, TERMS, TERMS).map(lambda terms: f"{terms[0]} && ({terms[1]} && {terms[2]})"),
    st.tuples(TERMS, TERMS).map(" || ".join),
)


def toolless(when):
    """Without a word about tools: where the match leaves proposals out, that is a load error."""
    return when.replace('!(call.tool.name == "rm")', "call.stream").replace('call.tool.name == "rm"', "call.stream").replace("has(call.tool)", "call.stream")


PLAIN = WHENS.filter(lambda when: "variables" not in when).map(toolless)
"""What documents without variables may say."""
MATCHES = st.fixed_dictionaries(
    {
        "target": st.sampled_from([[], ["**"], ["gpt-4o"], ["gpt-*"], ["azure/**", "rm"], ["fast"]]),
        "subjects": st.sampled_from([[], [], ["group:eng"], ["user:*", "key:*"]]),
        "operation": st.sampled_from([[], [], ["chat"], ["*", "tool_call"], ["tool_call"]]),
    }
).map(lambda match: {name: held for name, held in match.items() if held})
THENS = st.sampled_from([{"cap": {"n": 1}}, {"route": {"region": "eu"}}, {"label": ["x"]}, {"set": {"seed": 1}}, {"warn": ["careful"]}])


@st.composite
def rules(draw, effects):
    effect = draw(st.sampled_from(effects))
    rule = {"effect": effect, "when": draw(WHENS)}
    if effect == "require" or (effect == "allow" and draw(st.booleans())):
        rule["then"] = draw(THENS)
    return rule


@st.composite
def policies(draw):
    phase = draw(st.sampled_from(["request", "request", "request", "response"]))
    match = draw(MATCHES)
    if phase == "response":
        match = {name: held for name, held in match.items() if name != "operation"} | {"phase": phase}
    made = draw(st.lists(rules(("deny", "allow", "require", "warn") if phase == "request" else ("deny", "warn")), min_size=1, max_size=3))
    kept = str if "tool_call" in match.get("operation", ()) else toolless
    return {
        "mode": draw(st.sampled_from(["enforce", "enforce", "enforce", "audit"])),
        "match": match,
        "when": kept(draw(st.one_of(st.just("true"), st.just("true"), WHENS))),
        "variables": {"big": "call.tokens > 100 || call.params.depth > 5", "named": 'principal.team == "core"'},
        "rules": [{"name": f"r{index}", **rule, "when": kept(rule["when"])} for index, rule in enumerate(made)],
    }


BINDINGS = st.lists(st.tuples(st.sampled_from(["group:eng", "user:*", "key:bot"]), PLAIN), max_size=3)
QUOTAS = st.lists(st.tuples(PLAIN, st.sampled_from(["principal.team", "call.model"])), max_size=2)
LAYERS = st.fixed_dictionaries(
    {
        "policies": st.lists(policies(), max_size=4),
        "bindings": BINDINGS,
        "exempt": st.lists(PLAIN, max_size=2),
        "quotas": QUOTAS,
        "open": st.sampled_from([True, True, False]),
    }
)
SETS = st.lists(LAYERS, min_size=1, max_size=2)
SETTINGS = st.fixed_dictionaries({"mode": st.sampled_from(["enforce", "enforce", "audit"]), "tools": st.sampled_from(["allow", "deny"])})
WORLDS = st.tuples(SETS, SETTINGS)
CALLERS = (
    Principal.of("user:dev", team="core", groups=("eng",), claims={"mfa": True, "level": 1}),
    Principal.of("user:ops", team="web", groups=("ops", "eng"), claims={"mfa": False, "level": 0}, actors=("first", "second")),
    Principal.of("key:bot", claims={"mfa": False, "level": 0}),
)
WAYS = ({"operation": "chat"}, {"operation": "chat", "dialect": "gemini_generate"}, {"operation": "embeddings"}, {"operation": "count_tokens"})
SIZES = ({"tokens": 500, "params": {"depth": 9}}, {"tokens": 0}, {"tokens": 50, "params": {"depth": "deep"}})
"""With what conditions read, without it, and with what they can't read."""


def asked(kit, ways=WAYS):
    """Every caller with calls of every kind, the sizes in turn."""
    turns = itertools.cycle(SIZES)
    for who, target, stream, way in itertools.product(CALLERS, ("gpt-4o", "gpt-4o-mini", "fast"), (True, False), ways):
        yield who, kit.replace(kit.call(target, stream=stream, **next(turns)), **way)


def documents(kit, number, made):
    """One layer's documents; an exception lifts every deny of its first policies."""
    if made["open"]:
        yield kit.policy(f"open{number}", kit.rule("all", "allow"), operation=["*"])
    named = [(f"p{number}{index}", spec) for index, spec in enumerate(made["policies"])]
    yield from (kit.document("Policy", name, **spec) for name, spec in named)
    if made["bindings"]:
        granted = [{"role": "dev", "subjects": [subject], "when": when} for subject, when in made["bindings"]]
        yield kit.document("Roles", f"eng{number}", roles={"dev": {"allow": ["llm:chat:gpt-*", "llm:tool_call:rm"]}}, bindings=granted)
    denies = [f"Policy/{name}/{rule['name']}" for name, spec in named for rule in spec["rules"] if rule["effect"] == "deny"]
    for index, when in enumerate(made["exempt"] if denies else ()):
        words = {"reason": "X-1", "approvedBy": "ciso@example.com", "expires": "2026-10-31T00:00:00Z"}
        yield kit.document("Exception", f"x{number}{index}", lifts=denies[index:] or denies, when=when, **words)
    for index, (when, key) in enumerate(made["quotas"]):
        yield kit.document("Quota", f"q{number}{index}", when=when, key=[key], limits=[{"metric": "requests", "max": 1, "per": "1m"}])


def snapshot_of(kit, world):
    sets, said = world
    models = [{"name": "gpt-4o", "price": kit.PRICE}, {"name": "gpt-4o-mini", "price": kit.PRICE}]
    to = [{"upstream": "openai", "model": "gpt-4o"}, {"upstream": "azure", "model": "gpt-4o-mini"}]
    platform = [
        kit.upstream(),
        kit.upstream("azure", labels={"region": "eu"}, models=models),
        kit.document("Route", "fast", match={"target": ["fast"]}, to=to),
        kit.document("Settings", "s", mode=said["mode"], default={"toolCall": said["tools"]}),
    ]
    first, *later = [list(documents(kit, number, made)) for number, made in enumerate(sets)]
    return kit.built(*platform, *first, later=[layer for layer in later if layer])


# ---------------------------------------------------------------- an index that is none


@dataclass(frozen=True)
class Scan:
    """Looks at every rule and at no guard."""

    rules: tuple
    dimensions: frozenset = frozenset()

    def find(self, operation, names, subjects, facts=None):
        assert not facts
        return [rule for rule in self.rules if rule.match.admits(operation) and rule.match.covers(names) and rule.match.speaks(subjects)]


def scanned(snapshot):
    """The same snapshot without indexes."""
    return replace(
        snapshot, layers=tuple(unindexed(layer) for layer in snapshot.layers), _members=type(snapshot._members)(), _candidates=type(snapshot._candidates)()
    )


def unindexed(layer):
    allows = [rule for rule in layer.request.rules if rule.effect == "allow" and not rule.audit]
    anything = [replace(rule, match=Matcher(frozenset({ANY}), (), rule.match.subjects)) for rule in allows if rule.match.operations - EXCLUDED - HOUSEKEEPING]
    indexes = (layer.request.rules, layer.response.rules, layer.quotas.rules, layer.exemptions.rules, allows, anything)
    return Layer(layer.name, layer.first, layer.grants, *[Scan(tuple(held)) for held in indexes])


def told(decision):
    """All that an answer and a record tell, but for the candidates whose condition was false."""
    members = decision.permit.members if decision.permit is not None else ()
    return (
        decision.effect,
        decision.by,
        [(reason.rule, reason.result, reason.lifted) for reason in decision.reasons if reason.result != "false" or reason.lifted],
        [(reason.rule, reason.result, reason.lifted) for reason in decision.would],
        decision.obligations,
        decision.refusal,
        decision.audited,
        [member.name for member in members],
    )


def same_rules_are_explained(snapshot, linear, decision, other):
    lifted, whole = ([(rule["rule"], rule["where"], rule["result"]) for rule in why.tree(s, d)["rules"]] for s, d in ((snapshot, decision), (linear, other)))
    assert sorted(rule[:2] for rule in lifted) == sorted(rule[:2] for rule in whole)
    results = {}
    for *rule, result in whole:
        results.setdefault(tuple(rule), set()).add(result)
    assert all(result in results[name, where] or (result == "false" and "unread" in results[name, where]) for name, where, result in lifted)


@relaxed
@given(WORLDS)
def test_requests_are_decided_as_by_a_linear_scan(kit, world):
    snapshot = snapshot_of(kit, world)
    linear = scanned(snapshot)
    for who, call in asked(kit):
        needs, reserved = kit.Script(who), kit.Script(who)
        decision, other = kit.asked(snapshot, call, script=needs), kit.asked(linear, call, script=reserved)
        assert told(decision) == told(other)
        assert needs.needs == reserved.needs
        same_rules_are_explained(snapshot, linear, decision, other)


@relaxed
@given(WORLDS)
def test_proposals_and_replies_are_judged_as_by_a_linear_scan(kit, world):
    snapshot = snapshot_of(kit, world)
    linear = scanned(snapshot)
    facts = reply.ReplyFacts(200, "stop", 5, ("rm",))
    for who, call in asked(kit, WAYS[:1]):
        decided = snapshot.resolve(call, "openai")
        for tool in (Tool("rm", args={}), Tool("read", kind="custom", args=None)):
            one, other = [reply.judge_tool(each, decided, who, tool, now=kit.NOW, decision_id="t") for each in (snapshot, linear)]
            assert told(one) == told(other)
        for complete in (True, False):
            one, other = [reply.judge_reply(each, decided, who, facts, now=kit.NOW, decision_id="r", complete=complete) for each in (snapshot, linear)]
            assert told(one) == told(other)


@relaxed
@given(WORLDS)
def test_models_are_listed_as_by_a_linear_scan(kit, world):
    snapshot = snapshot_of(kit, world)
    linear = scanned(snapshot)
    for who in CALLERS:
        listed = listing.models(snapshot, who, "openai", kit.NOW)
        assert listed == listing.models(linear, who, "openai", kit.NOW)


# ---------------------------------------------------------------- a lattice that is another


def naive(snapshot, call, who, now):
    """(effect, by, would, labels) of a request, from the words of the documents' contract alone."""
    models = list(dict.fromkeys(member.model for member in call.members))
    denied, granted, would = [], [], []
    survivors = set(range(len(call.members)))
    possible = set(survivors)
    for layer in snapshot.layers:
        covered, reached = set(), set()
        for rule in layer.request.rules:
            if not spoken(rule, call, who):
                continue
            results = {model: value_of(rule.condition, call, who, model) for model in models}
            if rule.effect == "allow":
                meant = {bit for bit, member in enumerate(call.members) if rule.match.covers(member_names(member))}
                held = {bit for bit in meant if results[call.members[bit].model] == "true"}
                reached |= set() if rule.audit else meant
                if held:
                    (would if rule.audit else granted).append(rule.name)
                covered |= set() if rule.audit else held
                continue
            hit = [model for model, result in results.items() if result != "false"]
            if hit and rule.effect == "deny" and any(lifts(each, rule, call, who, hit) for each in layer.exemptions.rules if each.expires > now):
                continue
            if hit and (rule.audit or rule.effect == "deny"):
                (would if rule.audit else denied).append(rule.name)
        if layer.first or layer.grants:
            survivors &= covered
            possible &= reached
    if not possible:
        return "deny", [], sorted(set(would))
    effect = "deny" if denied or not survivors else "allow"
    return effect, sorted(set(denied or (granted if survivors else []))), sorted(set(would))


def spoken(rule, call, who):
    names = {call.target, *(name for member in call.members for name in member_names(member))}
    return rule.match.admits(call.operation) and rule.match.covers(names) and rule.match.speaks(who.subjects)


def value_of(condition, call, who, model):
    if condition is None:
        return "true"
    source = call.source
    bound = {
        "call": bindings.of_call(call, model),
        "principal": {name: getattr(who, name) for name in ("id", "kind", "team", "groups", "roles", "claims", "actors")},
        "source": {"ip": source.ip, "loopback": source.loopback, "namespace": source.namespace, "pod": source.pod},
    }
    if condition.variables is not None:
        bound["variables"] = bindings.LazyVariables(condition.variables, bound)
    values = [program(bound) for program in condition.programs]
    return "false" if any(value is False for value in values) else "true" if all(value is True for value in values) else "error"


def lifts(exemption, rule, call, who, hit):
    meant = rule.name in exemption.lifts and spoken(exemption, call, who)
    return meant and all(value_of(exemption.condition, call, who, model) == "true" for model in hit)


BARE = SETS.map(lambda sets: [{**made, "quotas": [], "policies": [calm(spec) for spec in made["policies"]]} for made in sets])


def calm(spec):
    """Without demands that two rules could not agree on."""
    return {**spec, "rules": [rule if "then" not in rule else {**rule, "then": {"label": ["x"]}} for rule in spec["rules"]]}


@relaxed
@given(BARE)
def test_requests_are_decided_as_the_contract_says(kit, sets):
    snapshot = snapshot_of(kit, (sets, {"mode": "enforce", "tools": "allow"}))
    for who, call in asked(kit, WAYS[:3]):
        decision = kit.asked(snapshot, call, who)
        would = {reason.rule for reason in decision.would if not reason.lifted}
        assert (decision.effect, sorted(decision.by), sorted(would)) == naive(snapshot, snapshot.resolve(call, "openai"), who, kit.NOW)
