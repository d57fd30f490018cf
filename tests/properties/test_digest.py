"""The digest names what a configuration means: however it is written it is the same, and whatever else changes, it changes."""

import copy
import json
import random
import re

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.compiler import compile_layers
from sidecar.config.diagnostics import has_errors, render_text
from sidecar.config.load import load

relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CONFIGURATION = r"""
apiVersion: sidecar.dev/v1
kind: Settings
metadata: {name: local}
spec: {mode: enforce, default: {effect: deny, toolCall: allow}, denials: {disclose: rule}, records: {sinks: [{file: a.jsonl}, {stdout: true}], onError: deny}}
---
apiVersion: sidecar.dev/v1
kind: Identity
metadata: {name: company}
spec:
  methods:
    - apiKey: {keys: [{id: ci, sha256: 0c1f8a0b9f3c4e6d7a5b2e9d8c7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f, team: build, groups: [eng, ops]}]}
  claims: {mfa: {type: bool, default: false}, level: {type: int}}
---
apiVersion: sidecar.dev/v1
kind: Upstream
metadata: {name: openai, labels: {region: us}}
spec: {protocol: llm, dialect: openai, url: "echo:", models: [{name: gpt-4o, aliases: [smart], price: {input: 2.5, output: 10.0, per: 1M}}, {name: gpt-4o-mini}]}
---
apiVersion: sidecar.dev/v1
kind: Upstream
metadata: {name: azure, labels: {region: eu}}
spec: {protocol: llm, dialect: openai, url: "echo:", models: [{name: gpt-4o}]}
---
apiVersion: sidecar.dev/v1
kind: Route
metadata: {name: chat}
spec: {match: {target: [fast]}, to: [{upstream: openai, model: gpt-4o, weight: 90}, {upstream: azure, model: gpt-4o, weight: 10}], strategy: weighted}
---
apiVersion: sidecar.dev/v1
kind: Policy
metadata: {name: general, labels: {owner: secops}}
spec:
  mode: enforce
  match: {protocol: [llm], operation: [chat, embeddings], target: ["gpt-*", "openai/**"], subjects: ["group:eng"]}
  when: call.tokens > 0
  variables: {big: call.tokens > 100, wide: 'call.bytes > 3 && call.model == "gpt-4o"'}
  rules:
    - {name: no, effect: deny, when: "variables.big && !call.stream", message: "Not \"so\": it's too big # really", help: "https://wiki.example.com/no"}
    - {name: yes, effect: allow, then: {cap: {n: 1}, label: [a, b], set: {stop: [x, y], user: me}}}
    - {name: must, effect: require, when: principal.claims.mfa, then: {route: {region: eu}}}
---
apiVersion: sidecar.dev/v1
kind: Roles
metadata: {name: eng}
spec:
  roles: {reader: {allow: ["llm:chat:gpt-4o-mini"]}, developer: {inherits: [reader], allow: ["llm:chat:gpt-*", "llm:embeddings:*"]}}
  bindings: [{role: developer, subjects: ["group:eng", "user:u1"], when: principal.claims.mfa}]
---
apiVersion: sidecar.dev/v1
kind: Quota
metadata: {name: budget}
spec:
  match: {protocol: [llm]}
  key: [principal.team, call.model]
  limits: [{metric: requests, max: 60, per: 1m}, {metric: concurrency, max: 5, warnAt: 80%}]
---
apiVersion: sidecar.dev/v1
kind: Exception
metadata: {name: ir-1}
spec: {lifts: [Policy/general/no], match: {subjects: ["key:ci"]}, reason: IR-1, approvedBy: ciso@example.com, expires: 2026-10-31T00:00:00Z}
"""
LATER = [
    {
        "apiVersion": "sidecar.dev/v1",
        "kind": "Policy",
        "metadata": {"name": "tight"},
        "spec": {"rules": [{"name": "no", "effect": "deny", "when": "call.stream"}]},
    }
]
NOW = 1_790_000_000.0


def told():
    """The configuration as plain values: times and shares as they are written."""
    return list(yaml.load_all(CONFIGURATION, Loader=yaml.BaseLoader))


def digest(*layers):
    loaded = load(layers, {}, NOW)
    assert not has_errors(loaded.diagnostics), render_text(loaded.diagnostics)
    made = compile_layers(loaded.layers, now=NOW)
    assert made.snapshot is not None, render_text(made.diagnostics)
    return made.snapshot.digest


def plainly(documents):
    return [("all.yaml", yaml.dump_all([typed(each) for each in documents]).encode())]


WORDS = re.compile(r"true|false|\d+(\.\d+)?")


def typed(value):
    """Numbers and bools as such: they may not be quoted."""
    if isinstance(value, dict):
        return {name: typed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    return json.loads(value) if WORDS.fullmatch(value) else value


USUAL = digest(("one", plainly(told())), ("two", plainly(LATER)))


# ---------------------------------------------------------------- however it is written


class Scribe:
    """Writes documents in any of the ways that YAML has for them."""

    FREE = ("set",)
    """Below these a list is a list."""
    ORDERED = ("to", "key", "sinks", "stop")

    def __init__(self, draw):
        self.draw = draw

    def any_of(self, *ways):
        return self.draw.choice(ways)

    def files(self, documents):
        """Some files, in each some documents."""
        rest = self.draw.sample(documents, len(documents))
        files = [[] for _ in range(self.draw.randint(1, 3))]
        for document in rest:
            self.draw.choice(files).append(document)
        written = ["---\n".join(self.any_of("", "# words\n") + self.document(each) for each in file) for file in files]
        return [(f"{self.draw.randint(0, 10**6)}-{number}.yaml", text.encode()) for number, text in enumerate(written) if text]

    def document(self, document):
        return self.any_of(self.flow(document) + "\n", self.block(document, 0))

    def items(self, mapping):
        return self.draw.sample(list(mapping.items()), len(mapping))

    def listed(self, value, name, free):
        """The items in any order, where order says nothing; one alone may stand for the list."""
        if not free and name not in self.ORDERED:
            value = self.draw.sample(value, len(value))
        return value[0] if len(value) == 1 and not free and self.any_of(True, False) else value

    def flow(self, value, name="", *, free=False):
        if isinstance(value, dict):
            gap = self.any_of("", " ", "\n   ")
            return "{" + ",".join(f"{gap}{key}: {self.flow(each, key, free=free or key in self.FREE)}" for key, each in self.items(value)) + gap + "}"
        if isinstance(value, list):
            value = self.listed(value, name, free)
            if isinstance(value, list):
                return "[" + ", ".join(self.flow(each, free=free) for each in value) + self.any_of("", ",", " ") + "]"
            return self.flow(value, free=free)
        return self.scalar(value)

    def block(self, value, depth, name="", *, free=False):
        if isinstance(value, list):
            value = self.listed(value, name, free)
        pad = "  " * depth
        if not value or not isinstance(value, dict | list) or (depth and self.any_of(True, False, False)):
            return f"{pad}{self.flow(value, name, free=free)}{self.any_of('', '  # why', chr(13))}\n"
        if isinstance(value, list):
            return "".join(f"{pad}-{self.any_of('', '  # an item')}\n{self.block(each, depth + 1, free=free)}" for each in value)
        return "".join(self.entry(key, each, depth, free=free or key in self.FREE) for key, each in self.items(value))

    def entry(self, key, value, depth, *, free):
        pad = "  " * depth
        if key == "when" and self.any_of(True, False):
            style = self.any_of(">", ">-", "|", "|-")
            gap = f"\n{pad}  " if style.startswith(">") else " "
            return f"{pad}{key}: {style}\n{pad}  {gap.join(re.split(' (?=[&>])', value))}\n"
        spelt = self.any_of(key, f'"{key}"', f"'{key}'")
        return f"{self.any_of('', chr(10), f'{pad}# about it{chr(10)}')}{pad}{spelt}:\n{self.block(value, depth + 1, key, free=free)}"

    def scalar(self, text):
        if WORDS.fullmatch(text):
            return text
        plain = [text] if re.fullmatch(r"[A-Za-z][A-Za-z0-9_/.-]*", text) else []
        return self.any_of(json.dumps(text), "'" + text.replace("'", "''") + "'", *plain)


@relaxed
@given(st.integers(0, 2**32))
def test_a_digest_is_the_same_however_the_documents_are_written(seed):
    scribe = Scribe(random.Random(seed))
    assert digest(("a", scribe.files(told())), ("b", scribe.files(LATER))) == USUAL


# ---------------------------------------------------------------- whatever else changes


def leaves(value, path=()):
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, key))
    else:
        yield path


OTHERWISE = {
    "mode": ["audit"], "effect": ["allow", "warn", "deny"], "toolCall": ["deny"], "disclose": ["nothing"], "onError": ["allow"], "file": ["b.jsonl"], "type": ["int", "string"],
    "when": ["call.bytes > 7"], "big": ["call.tokens > 101"], "metric": ["tokens"], "max": ["61"], "per": ["1h", "1k"], "warnAt": ["81%"], "strategy": ["priority"],
    "weight": ["11"], "expires": ["2026-10-30T00:00:00Z"], "message": ["Otherwise."], "help": ["https://wiki.example.com/other"], "reason": ["IR-2"], "approvedBy": ["cto@example.com"],
    "n": ["2"], "region": ["eu", "us"], "user": ["you"], "team": ["web"], "owner": ["platform"], "input": ["2.6"], "output": ["10.1"], "default": ["true"],
    "sha256": ["1" * 64], "key": ["principal.id"], "label": ["c"], "stop": ["z"], "operation": ["moderation"], "target": ["text-*"], "subjects": ["group:other"], "groups": ["other"],
    "aliases": ["clever"], "allow": ["llm:moderation:*"], "wide": ["call.bytes > 4"],
}  # fmt: skip
"""Another value for a field: at least one of these is a configuration that loads."""


def changed():
    """Every leaf that the table names, with each of its other values: (path, the documents)."""
    for path in leaves(told()):
        name = next(step for step in reversed(path) if isinstance(step, str))
        for value in OTHERWISE.get(name, ()):
            documents = copy.deepcopy(told())
            holder = documents
            for step in path[:-1]:
                holder = holder[step]
            if holder[path[-1]] != value:
                holder[path[-1]] = value
                yield path, documents


def test_a_digest_changes_with_every_value():
    seen = {USUAL: "the usual"}
    tried, failed = set(), set()
    for path, documents in changed():
        try:
            found = digest(("one", plainly(documents)), ("two", plainly(LATER)))
        except AssertionError:  # this value is none for this field
            failed.add(path)
            continue
        tried.add(path)
        assert found not in seen, (path, seen.get(found))
        seen[found] = path
    assert len(tried) > 50
    assert len(failed - tried) < 8, "the table has a value for nearly each"


def test_a_digest_changes_with_what_is_taken_out_or_moved():
    documents = told()
    seen = {USUAL}
    for index in range(3):
        less = copy.deepcopy(documents)
        rules = next(each for each in less if each["kind"] == "Policy")["spec"]["rules"]
        if rules[index]["name"] != "no":  # an exception lifts it
            del rules[index]
            seen.add(digest(("one", plainly(less)), ("two", plainly(LATER))))
    seen.add(digest(("one", plainly(documents))))
    seen.add(digest(("one", plainly([*documents, *LATER]))))
    renamed = copy.deepcopy(documents)
    next(each for each in renamed if each["kind"] == "Quota")["metadata"]["name"] = "purse"
    seen.add(digest(("one", plainly(renamed)), ("two", plainly(LATER))))
    for kind, name in (("Route", "to"), ("Quota", "key"), ("Settings", "records")):
        turned = copy.deepcopy(documents)
        spec = next(each for each in turned if each["kind"] == kind)["spec"]
        (spec if name != "records" else spec["records"])["sinks" if name == "records" else name].reverse()
        seen.add(digest(("one", plainly(turned)), ("two", plainly(LATER))))
    assert len(seen) == 9
