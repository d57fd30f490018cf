"""Microseconds per decision by number of rules, beside Cedar (cedarpy) and Rego (rego-cpp): the same rules, the same question, one run. No I/O.

Each rule denies one tool where an argument is too large, and one rule allows all tools; the tool that is asked for has one of the rules.
Every engine has its rules parsed beforehand and is handed the question as plain Python values.
"""

import time
import timeit
from functools import cache
from importlib.util import find_spec

import yaml

from sidecar.call import Call, Tool
from sidecar.config.load import LayerFiles
from sidecar.evaluate import reply
from sidecar.principal import Principal
from sidecar.testing import document
from sidecar.workbench.prepare import prepare

SIZES = (10, 100, 1_000, 10_000)
WHO = Principal.of("key:ci", team="build")
LIMITS = {"rego-cpp": 1_000}
"""Numbers of rules past which an engine is left out: loading them takes minutes."""


def report():
    engines = {"core": ours, "cedarpy": cedar if find_spec("cedarpy") else None, "rego-cpp": rego if find_spec("regopy") else None}
    print("one decision (µs) and load (s), by number of rules")
    print(f"{'rules':>7}" + "".join(f"{name:>12}{'load':>8}" for name in engines))
    for rules in SIZES:
        written(rules)
        print(f"{rules:7}" + "".join(cell(name, make, rules) for name, make in engines.items()))


def cell(name, make, rules):
    if make is None or rules > LIMITS.get(name, rules):
        return f"{'-':>12}{'-':>8}"
    started = time.perf_counter()
    decide = make(rules)
    loaded = time.perf_counter() - started
    assert decide(f"tool-{rules // 2}", 5) is True
    assert decide(f"tool-{rules // 2}", 500) is False
    timer = timeit.Timer(lambda: decide(f"tool-{rules // 2}", 5))
    number = max(1, int(0.02 / max(timer.timeit(1), 1e-7)))
    return f"{min(timer.repeat(7, number)) / number * 1e6:12.1f}{loaded:8.2f}"


@cache
def written(rules):
    """Our documents as YAML, made before the clock starts."""
    made = [
        document("Identity", "b", methods=[{"apiKey": {"keys": []}}]),
        document("Upstream", "up", protocol="llm", dialect="openai", url="echo:", models=[{"name": "m"}]),
        document("Policy", "all", match={"protocol": ["llm"], "operation": ["tool_call"]}, rules=[{"name": "yes", "effect": "allow"}]),
    ]
    made += [
        document("Policy", f"p{n}", match={"operation": ["tool_call"], "target": [f"tool-{n}"]}, rules=[{"name": "r", "when": f"call.args.size > {100 + n % 7}", "effect": "deny"}])
        for n in range(rules)
    ]  # fmt: skip
    return yaml.safe_dump_all(made, sort_keys=False).encode()


def ours(rules):
    prepared = prepare([LayerFiles("bench", (("all.yaml", written(rules)),))], {}, 1_790_000_000.0)
    assert prepared.snapshot is not None, prepared.diagnostics[:3]
    snapshot = prepared.snapshot
    call = snapshot.resolve(Call(id="c", protocol="llm", operation="chat", dialect="openai_chat", target="m"), "openai")

    def decide(tool, size):
        return reply.judge_tool(snapshot, call, WHO, Tool(tool, args={"size": size}), now=1_790_000_000.0, decision_id="d").refusal is None

    return decide


def cedar(rules):
    import cedarpy

    text = "permit(principal, action, resource);\n" + "".join(
        f'forbid(principal, action == Action::"call", resource == Tool::"tool-{n}") when {{ context.size > {100 + n % 7} }};\n' for n in range(rules)
    )
    policies, entities = cedarpy.PolicySet.from_str(text), cedarpy.Entities.from_json_str("[]")

    def decide(tool, size):
        request = {"principal": 'User::"ci"', "action": 'Action::"call"', "resource": f'Tool::"{tool}"', "context": {"size": size}}
        return cedarpy.is_authorized(request, policies, entities).decision == cedarpy.Decision.Allow

    return decide


def rego(rules):
    from regopy import Input, Interpreter

    text = "package p\nimport rego.v1\n" + "".join(f'deny contains {n} if {{ input.tool == "tool-{n}"; input.size > {100 + n % 7} }}\n' for n in range(rules))
    engine = Interpreter()
    engine.add_module("p", text + "allow if count(deny) == 0\ndefault allow := false\n")
    bundle = engine.build("data.p.allow")

    def decide(tool, size):
        engine.set_input(Input({"tool": tool, "size": size}))
        return str(engine.query_bundle(bundle)).find("true") >= 0

    return decide
