"""The schema in a real YAML language server, the one of most editors: what completes, what hovers, what is underlined."""

import re
from pathlib import Path

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.cli.starters import STARTERS
from sidecar.config.documents import KINDS

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("policies/**/*.yaml"))
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def head(kind):
    return f"apiVersion: sidecar.dev/v1\nkind: {kind}\nmetadata: {{name: p}}\n"


POLICY = head("Policy")

# ---------------------------------------------------------------- completion


def test_the_envelope_completes(editor):
    assert {"apiVersion", "kind", "metadata", "spec"} <= editor.completions("¦\n").keys()


def test_kinds_complete_with_what_they_are_for(editor):
    found = editor.completions("apiVersion: sidecar.dev/v1\nkind: ¦\n")
    assert set(found) == set(KINDS)
    assert "Rules over calls." in found["Policy"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Policy", {"mode", "auditUntil", "match", "when", "variables", "rules"}),
        ("Quota", {"match", "scope", "key", "limits", "onError"}),
        ("Settings", {"listen", "admin", "health", "records", "limits"}),
        ("Exception", {"lifts", "match", "when", "reason", "approvedBy", "expires"}),
        ("Test", {"now", "principals", "calls", "expect"}),
    ],
)
def test_the_fields_of_a_kind_complete_and_no_others(editor, kind, fields):
    found = editor.completions(f"{head(kind)}spec:\n  ¦\n").keys()
    assert fields <= found
    assert not found & ({"rules", "limits", "lifts", "expect", "listen"} - fields)


def test_the_fields_of_a_rule_complete_with_their_manual(editor):
    found = editor.completions(f"{POLICY}spec:\n  rules:\n    - ¦\n")
    assert {"name", "when", "effect", "message", "help", "then", "buffer"} <= found.keys()
    assert "records cite `document/rule`" in found["name"]


def test_fields_deep_in_a_rule_complete(editor):
    found = editor.completions(f"{POLICY}spec:\n  rules:\n    - name: a\n      effect: require\n      then:\n        ¦\n")
    assert {"route", "cap", "set", "redact", "label", "warn"} <= found.keys()


@pytest.mark.parametrize("written", ["[¦]", "[chat, ¦]", "\n      - ¦"])
def test_values_of_a_list_complete_however_it_is_written(editor, written):
    found = editor.completions(f"{POLICY}spec:\n  match:\n    operation: {written}\n  rules: []\n")
    assert {"chat", "embeddings", "tool_call"} <= found.keys()


def test_fields_within_braces_complete(editor):
    assert {"operation", "protocol", "target", "subjects"} <= editor.completions(f"{POLICY}spec:\n  match: {{o¦}}\n").keys()


def test_effects_complete(editor):
    assert set(editor.completions(f"{POLICY}spec:\n  rules:\n    - name: a\n      effect: ¦\n")) == {"deny", "allow", "require", "warn"}


def test_a_default_completes_as_it_is_written(editor):
    assert {"30s"} <= editor.completions(f"{head('Settings')}spec:\n  limits:\n    drain: ¦\n").keys()


# ---------------------------------------------------------------- hover


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiVersion: sidecar.dev/v1\nki¦nd: Policy\n", "`Quota`: Limits per key per window"),
        (f"{POLICY}sp¦ec: {{rules: []}}\n", "Rules over calls."),
        (f"{POLICY}spec:\n  ru¦les: []\n", "The rules; their order never matters."),
        (f"{POLICY}spec:\n  match: {{oper¦ation: [chat]}}\n  rules: []\n", "Operations; `*` or empty is all but `tool_call`"),
        (f"{POLICY}spec:\n  rules: [{{name: a, effect: deny, wh¦en: call.stream}}]\n", "an error in it counts as matched for deny"),
        (f"{head('Settings')}spec:\n  limits:\n    bo¦dy: 5MiB\n", "Largest request body, after decoding."),
        (f"{head('Test')}spec:\n  expect:\n    - {{principal: [a], call: [b], effect: allow, wou¦ld: [x/y]}}\n", "would-be rules of audit documents"),
    ],
)
def test_a_field_explains_itself(editor, text, words):
    assert words in editor.hover(text)


# ---------------------------------------------------------------- what is underlined


@pytest.mark.parametrize(
    ("text", "underlined", "words"),
    [
        (f"{POLICY}spec: {{rulez: [], rules: []}}\n", "rulez", "Property rulez is not allowed"),
        (f"{POLICY}spec:\n  rules:\n    - {{name: x, effect: deyn}}\n", "deyn", '"deny", "allow", "require", "warn"'),
        (f"{POLICY}spec:\n  rules:\n    - {{name: Big Name, effect: deny}}\n", "Big Name", "a name has a to z"),
        (f"{POLICY}spec:\n  match: {{operation: [chta]}}\n  rules: []\n", "chta", '"chat", "embeddings"'),
        (f"{POLICY}spec:\n  match: {{subjects: [nobody]}}\n  rules: []\n", "nobody", "a subject begins with user: key:"),
        (f"{POLICY}spec:\n  when: [1].exists\n  rules: []\n", "[1]", ""),
        (f"{POLICY}spec: {{}}\n", "spec", 'Missing property "rules"'),
        (head("Polcy") + "spec: {}\n", "Polcy", '"Policy"'),
        ("apiVersion: v1\nkind: Policy\nmetadata: {name: p}\nspec: {rules: []}\n", "v1", 'Value must be "sidecar.dev/v1"'),
        (f"{head('Settings')}spec: {{limits: {{drain: 30}}}}\n", "30", "a duration has a unit"),
        (f"{head('Settings')}spec: {{limits: {{body: 5MB}}}}\n", "5MB", "a size is written 64KiB"),
        (f"{head('Settings')}spec: {{listen: {{port: 70000}}}}\n", "70000", "maximum of 65535"),
        (f"{head('Identity')}spec: {{methods: [{{anonymous: {{}}, apiKey: {{}}}}]}}\n", "{anonymous: {}, apiKey: {}}", "more properties than limit of 1"),
        (f"{head('Quota')}spec: {{limits: [{{metric: requests, max: 5, per: week}}]}}\n", "week", "a window is day, month"),
        (f"{head('Exception')}spec: {{lifts: [Policy/a/b], reason: x, approvedBy: y, expires: 2027-01-31}}\n", "2027-01-31", "RFC 3339"),
    ],
)
def test_a_mistake_is_underlined_where_it_stands(editor, text, underlined, words):
    found = editor.findings(text)
    assert any(place == underlined and words in message for place, message in found), found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_underlined_in_what_is_good(server, file):
    assert server.open(file.as_uri(), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_nothing_is_underlined_in_what_the_manual_shows(editor, block):
    assert editor.findings(block) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_document_of_a_file_is_looked_at(server, file):
    text = file.read_text(encoding="utf-8")
    lines = [number for number, line in enumerate(text.splitlines()) if line.startswith("kind: ")]
    found = server.open(f"{file.as_uri()}.broken.yaml", re.sub("^kind: ", "kind: Un", text, flags=re.MULTILINE))
    assert [item["range"]["start"]["line"] for item in found if "Value is not accepted" in item["message"]] == lines


@pytest.mark.parametrize("kind", STARTERS)
def test_a_starter_has_the_schema_beside_it(server, tmp_path, kind):
    assert main(["init", kind, str(tmp_path)]) == exits.OK
    for file in sorted(tmp_path.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        assert server.open(file.as_uri(), text) == []
        wrong = server.open(f"{file.as_uri()}.broken.yaml", text.replace("\nkind: ", "\nkind: Un"))
        assert len([item for item in wrong if "Value is not accepted" in item["message"]]) == text.count("\nkind: ")


def test_the_schema_of_one_kind_serves_an_editor_too(editor, tmp_path):
    assert main(["schema", "--kind", "Quota", "-o", str(tmp_path / "quota.json")]) == exits.OK
    good = f"{head('Quota')}spec: {{limits: [{{metric: requests, max: 5, per: 1m}}]}}\n"
    assert editor.findings(good, tmp_path / "quota.json") == []
    assert editor.findings(f"{POLICY}spec: {{rules: []}}\n", tmp_path / "quota.json") != []
