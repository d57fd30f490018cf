"""`kit`: snapshots from documents told as data, and calls driven down the ladder with scripted answers. No I/O.

For the tests of compiler, evaluate and properties; others have stages of their own beside them.
"""

from dataclasses import replace

import pytest
import yaml

from sidecar.call import Call
from sidecar.compiler import compile_layers
from sidecar.config.diagnostics import render_text
from sidecar.config.load import load
from sidecar.evaluate import ladder
from sidecar.need import OwnerOf, Reserve, Reserved, Verify
from sidecar.principal import Principal
from sidecar.testing import document
from sidecar.workbench.fixtures import Plain

NOW = 1_790_000_000.0
PRICE = {"input": 1.0, "output": 2.0, "per": "1M"}
DEV = Principal.of("user:dev", team="core", groups=("eng",), claims={"mfa": True, "level": 2})
ALLOW = document("Policy", "open", match={"operation": ["*"]}, rules=[{"name": "all", "effect": "allow"}])


def upstream(name="openai", dialect="openai", models=None, labels=None, **more):
    made = document("Upstream", name, protocol="llm", dialect=dialect, url="echo:", models=models or MODELS, **more)
    return {**made, "metadata": {"name": name, "labels": labels or {"region": "us"}}}


MODELS = [
    {"name": "gpt-4o", "aliases": ["smart"], "price": PRICE, "maxOutput": 1000},
    {"name": "gpt-4o-mini", "price": {"input": 0.1, "output": 0.2, "per": "1M"}},
    {"name": "text-embed", "price": PRICE},
]
IDENTITY = document("Identity", "id", methods=[{"anonymous": {}}], claims={"mfa": {"type": "bool"}, "level": {"type": "int"}})


def policy(name, *rules, mode="enforce", when="true", variables=None, **match):
    spec = {"mode": mode, "when": when, "match": match, "rules": list(rules), "variables": variables or {}}
    return document("Policy", name, **spec)


def rule(name, effect, when="true", **more):
    return {"name": name, "effect": effect, "when": when, **more}


def layer(name, documents):
    return (name, [("all.yaml", yaml.safe_dump_all(list(documents)).encode())])


def compiled(*layers):
    """The compilation of layers, each a list of documents; the first is given the identity."""
    whole = [layer(f"layer{index}", [*([IDENTITY] if index == 0 else []), *documents]) for index, documents in enumerate(layers)]
    loaded = load(whole, {}, NOW)
    errors = [item for item in loaded.diagnostics if item.severity == "error"]
    assert not errors, render_text(errors)
    return compile_layers(loaded.layers, now=NOW)


def built(*documents, later=()):
    """A snapshot of one layer with the usual upstream, or of several."""
    first = list(documents) if any(each["kind"] == "Upstream" for each in documents) else [upstream(), *documents]
    made = compiled(first, *later)
    assert made.snapshot is not None, render_text(made.diagnostics)
    return made.snapshot


class Script:
    """Answers needs by their type; `needs` are those that were asked."""

    def __init__(self, who=DEV, **answers):
        self.needs = []
        self.answers = {Verify: who, Reserve: Reserved("token", ()), OwnerOf: None} | answers.get("by", {})

    def drive(self, steps):
        answer = None
        while True:
            try:
                need = steps.send(answer)
            except StopIteration as stop:
                return stop.value
            self.needs.append(need)
            answer = self.answers[type(need)]
            if callable(answer):
                answer = answer(need)


def call(target="gpt-4o", operation="chat", **fields):
    params = fields.pop("params", {})
    return Call(id="c1", protocol="llm", operation=operation, dialect="openai_chat", target=target, params=params, body=fields.pop("body", params), **fields)


def asked(snapshot, made=None, who=DEV, *, script=None, family="openai", now=NOW, **more):
    """Decide one call."""
    return (script or Script(who)).drive(ladder.decide(snapshot, made or call(), (), codec=more.pop("codec", Plain(family)), now=now, decision_id="d1", **more))


class Kit:
    """All of it under one name, for the tests."""

    NOW, DEV, ALLOW, MODELS, PRICE = NOW, DEV, ALLOW, MODELS, PRICE
    document, upstream, policy, rule, compiled, built, Script, call, asked, replace = map(
        staticmethod, (document, upstream, policy, rule, compiled, built, Script, call, asked, replace)
    )


@pytest.fixture(scope="session")
def kit():
    return Kit
