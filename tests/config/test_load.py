"""Layers as a whole."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config.load import load

NOW = 1_793_527_200.0


def document(kind, spec, name="x"):
    return f"---\napiVersion: sidecar.dev/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


POLICY = document("Policy", "{rules: [{name: r, effect: deny}]}")
BROKEN = document("Policy", "{rules: [{name: r, effekt: deny}]}", "y")


def test_documents_keep_the_order_of_layers_files_and_places():
    base = [("a.yaml", (document("Settings", "{}") + POLICY).encode()), ("b.yaml", document("Roles", "{roles: {}}").encode())]
    loaded = load([("base", base), ("team", [("a.yaml", POLICY.encode())])], {}, NOW)
    assert loaded.diagnostics == ()
    assert [(layer.name, [document.kind for document in layer.documents]) for layer in loaded.layers] == [
        ("base", ["Settings", "Policy", "Roles"]),
        ("team", ["Policy"]),
    ]
    assert loaded.layers[1].documents[0].file == "team/a.yaml"


def test_mistakes_of_all_files_are_told_at_once_in_reading_order():
    files = [("b.yaml", b"a: [\n"), ("a.yaml", BROKEN.encode())]
    loaded = load([("base", files)], {}, NOW)
    assert [item.position.file for item in loaded.diagnostics] == ["base/b.yaml", "base/a.yaml", "base/a.yaml"]


def test_a_layer_without_documents_is_a_mistake():
    assert [item.code for item in load([("base", [("a.yaml", b"# nothing\n")])], {}, NOW).diagnostics] == ["no-documents"]


def test_what_a_broken_document_may_hold_is_not_called_missing():
    route = document("Route", "{to: [{upstream: openai}]}")
    assert [item.code for item in load([("", [("a", (route + "---\nkind: [\n").encode())])], {}, NOW).diagnostics] == ["yaml"]
    assert [item.code for item in load([("", [("a", route.encode())])], {}, NOW).diagnostics] == ["unknown-upstream"]


def test_the_same_name_in_two_layers_is_two_documents():
    assert load([("a", [("f", POLICY.encode())]), ("b", [("f", POLICY.encode())])], {}, NOW).diagnostics == ()


def test_an_exception_lifts_rules_of_its_own_layer_only():
    lifts = document("Exception", "{lifts: Policy/x/r, reason: A, approvedBy: b, expires: 2026-12-01T00:00:00Z}")
    assert load([("a", [("f", (POLICY + lifts).encode())])], {}, NOW).diagnostics == ()
    assert [item.code for item in load([("a", [("f", POLICY.encode())]), ("b", [("f", lifts.encode())])], {}, NOW).diagnostics] == ["lifts"]


@pytest.mark.parametrize("name", ["Upper", "a b", "-a", "", "a/b", "\u0430", "a\u200b", "a\n", "x" * 128])
def test_names_are_plain(name):
    text = document("Settings", "{}", json.dumps(name)).replace("name: ", "name: ")
    assert [item.code for item in load([("", [("f", text.encode())])], {}, NOW).diagnostics] == ["name"]


@settings(max_examples=150)
@given(st.integers(0, 400), st.integers(0, 12), st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,. \n\t?~", max_size=6))
def test_no_damage_to_a_document_raises(place, length, text):
    whole = (
        POLICY
        + document("Upstream", "{protocol: llm, url: 'echo:', models: [{name: a, aliases: [b]}]}")
        + document("Quota", "{limits: [{metric: requests, max: 5, per: 1m}]}")
    )
    load([("", [("a", (whole[:place] + text + whole[place + length :]).encode())])], {}, NOW)
