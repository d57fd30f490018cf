"""`sidecar explain`: who decides a call, where that rule stands, and what it would have owed."""

import json

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main

QUICKSTART, EU = "policies/quickstart", "policies/eu-only"
LOCAL = {"id": "key:local"}
ESSAY = {"principal": LOCAL, "call": {"operation": "chat", "target": "gpt-4o-mini", "params": {"max_tokens": 100000}}}
HELLO = {"principal": LOCAL, "call": {"operation": "chat", "target": "gpt-4o-mini"}}


@pytest.fixture
def explained(tmp_path, capsys, request, monkeypatch):
    monkeypatch.chdir(request.config.rootpath)

    def run(asked, *options, config=QUICKSTART):
        file = tmp_path / "call.json"
        file.write_text(asked if isinstance(asked, str) else json.dumps(asked))
        code = main(["explain", "-c", config, str(file), *options])
        return code, capsys.readouterr()

    return run


def line_of(root, path, text):
    return next(number for number, line in enumerate((root / path).read_text().splitlines(), 1) if text in line)


def test_a_denial_names_its_rule_with_file_and_line_and_the_authors_words(explained, request):
    code, said = explained(ESSAY)
    assert code == exits.FINDINGS
    first, second, rule, *rest = said.out.splitlines()
    assert first == "deny: everyday/short-answers"
    assert second.strip().startswith("403 policy_denied: Ask for at most 4000 tokens here.")
    place = f"{QUICKSTART}/policy.yaml:{line_of(request.config.rootpath, f'{QUICKSTART}/policy.yaml', 'name: short-answers')}"
    assert rule.split() == ["deny", "everyday/short-answers", "condition", "true", place]
    assert any(line.split()[:4] == ["allow", "everyday/own-machine", "condition", "unread"] for line in rest), "the rules that were not read are told too"


def test_a_yes_is_0_and_names_what_allows_it(explained):
    code, said = explained(HELLO)
    assert code == exits.OK
    assert said.out.startswith("allow: everyday/own-machine\n")


def test_nobody_in_particular_meets_the_default(explained):
    code, said = explained({"principal": {"id": "key:stranger"}, "call": HELLO["call"]})
    assert (code, said.out.splitlines()[0]) == (exits.FINDINGS, "deny: no rule allows it (default)")


def test_obligations_are_told(explained):
    asked = {"principal": {"id": "user:anna", "groups": ["eu-berlin"]}, "call": {"operation": "chat", "target": "gpt-4o", "params": {"max_tokens": 9000}}}
    code, said = explained(asked, config=EU)
    assert code == exits.OK
    assert said.out.splitlines()[-3:] == ["  must route region: eu", "  must cap max_tokens: 2000", "  must label eu"]


def test_json_is_the_whole_tree_and_nothing_else(explained):
    code, said = explained(ESSAY, "--format", "json")
    tree = json.loads(said.out)
    assert (code, tree["effect"], tree["by"], tree["refusal"]["code"]) == (exits.FINDINGS, "deny", ["everyday/short-answers"], "policy_denied")
    assert tree["call"]["members"] == ["echo/gpt-4o-mini"]


def test_a_quota_is_answered_as_the_file_says(explained):
    code, said = explained({**HELLO, "quota": {"pocket-money": "exhausted"}})
    assert (code, said.out.splitlines()[0]) == (exits.FINDINGS, "deny: pocket-money")


def test_a_proposed_tool_call_is_explained(explained):
    code, said = explained({"principal": LOCAL, "call": {"operation": "tool_call", "target": "delete_all", "model": "gpt-4o-mini", "args": {"path": "/"}}})
    assert (code, said.out.splitlines()[0]) == (exits.FINDINGS, "deny: tools/nothing-destructive")


def test_a_body_in_a_dialect_is_read_by_its_codec(explained):
    body = {"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    assert explained({"principal": LOCAL, "call": {"dialect": "anthropic_messages", "body": body}})[0] == exits.OK


@pytest.mark.parametrize(("asked", "words"), [("{", "cannot read"), ('{"cal": {}}', "`cal` is none of"), ('{"call": {"operatoin": "chat"}}', "`operatoin` is none of"), ("[]", "no JSON object"), ('{"call": {"dialect": "nope", "body": {}}}', "nope")])  # fmt: skip
def test_what_is_no_call_is_a_usage_error_that_says_why(explained, asked, words):
    code, said = explained(asked)
    assert (code, said.out) == (exits.USAGE, "")
    assert words in said.err


def test_a_decision_record_is_no_call_since_it_keeps_names_alone(explained):
    code, said = explained({"v": 1, "type": "decision", "id": "d_1", "principal": {"id": "key:local"}, "call": {"operation": "chat"}})
    assert (code, said.out) == (exits.USAGE, "")
    assert "is none of" in said.err


def test_bad_configuration_is_3(explained, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.yaml").write_text("kind: Nothing\n")
    code, said = explained(HELLO, config=str(tmp_path / "bad"))
    assert code == exits.BAD_CONFIGURATION
    assert "a.yaml:1:" in said.err
