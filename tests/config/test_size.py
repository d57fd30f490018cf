"""How much a configuration may hold: what is over is one clear mistake, told before anything of it is compiled."""

import yaml

from sidecar.compiler import compile_loaded
from sidecar.config.checks import size
from sidecar.config.load import load
from sidecar.config.source import MAX_BYTES
from sidecar.testing import document

NOW = 1_793_527_200.0


def loaded(*documents):
    return load([("a", [("a.yaml", yaml.dump_all(documents, Dumper=yaml.CSafeDumper).encode())])], {}, NOW)


def policy(name, rules=1, **match):
    return document("Policy", name, match=match, rules=[{"name": f"r{index}", "effect": "deny"} for index in range(rules)])


def test_a_file_over_the_limit_is_one_mistake():
    found = load([("a", [("a.yaml", b"# " + b"x" * MAX_BYTES)])], {}, NOW)
    assert [item.code for item in found.diagnostics] == ["too-large"]


def test_all_files_together_have_a_limit_too():
    found = load([("a", [(f"{index}.yaml", b"#" * (MAX_BYTES - 1)) for index in range(7)])], {}, NOW)
    assert [item.code for item in found.diagnostics] == ["too-large"]
    assert compile_loaded(found, now=NOW).snapshot is None


def test_a_hundred_thousand_rules_are_one_mistake_where_the_bound_is_passed(monkeypatch):
    monkeypatch.setattr(size, "MOST_RULES", 100)
    found = loaded(policy("a", 60), policy("b", 40), policy("c", 1), policy("d", 50))
    assert [item.code for item in found.diagnostics] == ["too-many"]
    assert "more than 100 rules" in found.diagnostics[0].message
    assert found.diagnostics[0].position.line > 100
    assert found.layers == ()


def test_rules_times_names_have_a_bound_of_their_own(monkeypatch):
    monkeypatch.setattr(size, "MOST_ENTRIES", 1000)
    names = [f"m{index}" for index in range(40)]
    assert [item.code for item in loaded(policy("a", 1, target=names, subjects=[f"group:{name}" for name in names])).diagnostics] == ["too-many"]
    roles = document(
        "Roles", "r", roles={"a": {"allow": [f"llm:chat:{name}" for name in names]}}, bindings=[{"role": "a", "subjects": [f"group:{name}" for name in names]}]
    )
    assert [item.code for item in loaded(roles).diagnostics] == ["too-many"]


def test_the_bound_itself_still_loads(monkeypatch):
    monkeypatch.setattr(size, "MOST_RULES", 100)
    found = loaded(policy("a", 60), policy("b", 40))
    assert found.diagnostics == ()
    assert compile_loaded(found, now=NOW).snapshot is not None


def test_thousands_of_files_and_layers_load():
    text = "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {{name: p{}}}\nspec: {{match: {{operation: [chat]}}, rules: [{{name: r, effect: deny}}]}}\n"
    files = [(f"{index:04}.yaml", text.format(index).encode()) for index in range(1500)]
    found = load([("a", files), *[(f"l{index}", [("a.yaml", text.format(0).encode())]) for index in range(500)]], {}, NOW)
    assert found.diagnostics == ()
    assert sum(len(layer.documents) for layer in found.layers) == 2000


def test_numbers_of_thousands_of_digits_are_no_numbers():
    digits = "9" * 5000
    specs = [
        "Settings: {limits: {inflight: N, body: N, drain: Ns}}",
        "Quota: {limits: [{metric: requests, max: N, per: Nd}]}",
        "Test: {calls: {a: {operation: chat, params: {n: N}}}, expect: []}",
    ]
    for kind, _, spec in (each.replace("N", digits).partition(": ") for each in specs):
        found = load([("a", [("a.yaml", f"apiVersion: sidecar.dev/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n".encode())])], {}, NOW)
        assert {item.code for item in found.diagnostics} <= {"type", "window"}, found.diagnostics
        assert found.diagnostics


def test_a_mistake_after_the_last_line_is_told_at_its_end():
    for tail in ("&a ", "a: [", "spec: {roles: {"):
        (item, *_) = load([("a", [("a.yaml", f"kind: Settings\n{tail}".encode())])], {}, NOW).diagnostics
        assert (item.code, item.position.line) == ("yaml", 2)


def test_a_byte_that_is_not_utf8_after_a_mark_is_told_at_its_place():
    (item, *_) = load([("a", [("a.yaml", b"\xef\xbb\xbfa\xbb\xbf")])], {}, NOW).diagnostics
    assert (item.code, item.position.line, item.position.column) == ("encoding", 1, 2)
