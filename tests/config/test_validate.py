"""Trees to dataclasses: types come from the schema, and nothing is guessed."""

import dataclasses
from typing import get_type_hints

import pytest

from sidecar.config import documents
from sidecar.config.load import load
from sidecar.config.validate import camel, near, reader

NOW = 1_793_527_200.0


def loaded(kind, spec, environ=None):
    text = f"apiVersion: sidecar.dev/v1\nkind: {kind}\nmetadata: {{name: x, labels: {{region: eu}}}}\nspec:\n" + "".join(
        f"  {line}\n" for line in spec.splitlines()
    )
    return load([("", [("x.yaml", text.encode())])], environ or {}, NOW)


def spec(kind, text, environ=None):
    found = loaded(kind, text, environ)
    assert found.diagnostics == ()
    return found.layers[0].documents[0].spec


def wrong(kind, text):
    return [item.code for item in loaded(kind, text).diagnostics]


def test_every_field_of_every_kind_has_a_reader():
    for kind, cls in documents.KINDS.items():
        assert callable(reader(cls, f"{kind}.spec"))
        assert get_type_hints(cls, include_extras=True)


def test_a_document_with_no_fields_has_the_defaults():
    assert spec("Settings", "{}") == documents.Settings()


def test_one_value_stands_for_a_list():
    rules = "rules: {name: r, effect: deny}"
    assert spec("Policy", f"match: {{target: gpt-4o, operation: chat}}\n{rules}").match == documents.PhasedMatch(target=("gpt-4o",), operation=("chat",))


def test_text_that_other_readers_take_for_something_else_stays_text():
    found = spec("Policy", "rules:\n  - {name: no, effect: deny, message: 12:30:45}\n  - {name: '017', effect: deny, message: on}")
    assert [(rule.name, rule.message) for rule in found.rules] == [("no", "12:30:45"), ("017", "on")]


def test_units_become_seconds_bytes_and_shares():
    found = spec("Settings", "limits: {body: 1MiB, inflightBytes: 2097152, clientTimeout: 50ms, idle: 1.5m, drain: 0}\ntelemetry: {sample: 12.5%}")
    assert (found.limits.body, found.limits.inflight_bytes) == (2**20, 2**21)
    assert (found.limits.client_timeout, found.limits.idle, found.limits.drain) == (0.05, 90.0, 0.0)
    assert found.telemetry.sample == 0.125


def test_days_end_and_instants_are_exact():
    policy = spec("Policy", "mode: audit\nauditUntil: 2027-01-01\nrules: [{name: r, effect: deny}]")
    assert policy.audit_until == 1_798_848_000.0  # 2027-01-02T00:00:00Z
    test = spec("Test", "now: 2026-11-01T11:00:00+01:00\nexpect: []")
    assert test.now == 1_793_527_200.0


@pytest.mark.parametrize("written", ["2026-13-01T00:00:00Z", "2026-11-01T00:00:00", "2026-11-01 00:00:00Z", "2026-11-01", "yesterday", "9999-12-31T23:59:60Z"])
def test_what_is_no_instant_is_refused(written):
    assert wrong("Test", f"now: {written}\nexpect: []") == ["type"]


@pytest.mark.parametrize("written", ["no", "off", "'true'", "1", "yes"])
def test_a_bool_is_true_or_false(written):
    assert wrong("Upstream", f"protocol: llm\nurl: 'echo:'\nhidden: {written}") == ["type"]


@pytest.mark.parametrize("written", ["017", "0x10", "0o17", "1_000", "1e3", "12:30", "'5'", "-5", "5.0", "99999999999999999999", "٣"])
def test_a_whole_number_is_decimal(written):
    assert wrong("Settings", f"limits: {{headers: {written}}}") == ["type"]


def test_whole_caps_stay_whole():
    found = spec("Policy", "rules: [{name: r, effect: require, then: {cap: {max_tokens: 2000, temperature: 0.5}}}]")
    cap = found.rules[0].then.cap
    assert cap == {"max_tokens": 2000, "temperature": 0.5}
    assert isinstance(cap["max_tokens"], int)


def test_values_without_a_declared_type_follow_the_core_schema():
    found = spec("Test", "calls: {a: {dialect: openai_chat, body: {a: 1, b: 1.5, c: true, d: null, e: 'no', f: [x], g: -1e3, h: {}}}}\nexpect: []")
    assert found.calls["a"].body == {"a": 1, "b": 1.5, "c": True, "d": None, "e": "no", "f": ["x"], "g": -1000.0, "h": {}}


def test_the_environment_is_read_where_a_field_allows_it():
    url = "url: https://${HOST}/${PATH_PART:-v1}${EMPTY:-}"
    assert spec("Upstream", f"protocol: llm\n{url}", {"HOST": "a.example.com"}).url == "https://a.example.com/v1"
    assert spec("Upstream", f"protocol: llm\n{url}", {"HOST": "a.example.com", "PATH_PART": "v2"}).url == "https://a.example.com/v2"
    assert wrong("Upstream", f"protocol: llm\n{url}") == ["environ"]


def test_what_the_environment_holds_is_not_read_again():
    assert spec("Settings", "records: {sinks: [{file: 'a${X}'}]}", {"X": "${HOME}"}).records.sinks[0].file == "a${HOME}"


def test_labels_and_the_place_of_a_document_are_kept():
    document = loaded("Settings", "{}").layers[0].documents[0]
    assert (document.labels, document.file, document.line) == ({"region": "eu"}, "x.yaml", 1)


def test_all_mistakes_of_a_document_are_told_in_reading_order():
    lines = [item.position.line for item in loaded("Settings", "mode: auditt\nlimits:\n  body: 3XB\n  boddy: 3\nrecords: {onError: maybe}").diagnostics]
    assert lines == [5, 7, 8, 9]


def test_a_document_with_mistakes_is_not_among_the_documents():
    assert loaded("Settings", "mode: auditt").layers[0].documents == ()


@pytest.mark.parametrize(
    ("written", "meant"), [("max_output", "maxOutput"), ("maxoutput", "maxOutput"), ("MaxOutput", "maxOutput"), ("name", ""), ("alias", "aliases")]
)
def test_near_names_are_suggested(written, meant):
    assert near(written, ["maxOutput", "aliases"]) == (f"did you mean `{meant}`?" if meant else "")


def test_keys_are_camel_case():
    names = {camel(field.name) for field in dataclasses.fields(documents.Limits)}
    assert {"inflightBytes", "clientTimeout", "body"} <= names


def test_the_table_of_later_things_names_no_field_that_exists():
    for path in documents.LATER:
        if (
            path.startswith("*.")
            or "=" in path
            or path not in {f"{kind}.spec.{camel(field.name)}" for kind, cls in documents.KINDS.items() for field in dataclasses.fields(cls)}
        ):
            continue
        pytest.fail(f"{path} is built")
