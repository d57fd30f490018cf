"""`sidecar explain`: who decides a call, where that rule stands, and what it would have owed."""

import io
import json
import re
import shutil
from dataclasses import replace

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.config.load import LayerFiles
from sidecar.telemetry import record
from sidecar.telemetry.kept import Facts
from sidecar.workbench import explain
from sidecar.workbench.prepare import compiled

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
    first, second, _, _, _, rule, *rest = said.out.splitlines()
    assert first == "deny: everyday/short-answers"
    assert second.strip().startswith("403 policy_denied: Ask for at most 4000 tokens here.")
    place = f"{QUICKSTART}/policy.yaml:{line_of(request.config.rootpath, f'{QUICKSTART}/policy.yaml', 'name: short-answers')}"
    assert rule.split() == ["deny", "everyday/short-answers", "matched", place]
    assert any(line.split()[:4] == ["allow", "everyday/own-machine", "not", "read"] for line in rest), "the rules that were not read are told too"


def test_the_parts_of_a_condition_are_told_with_their_values(explained):
    out = explained(ESSAY)[1].out
    assert "    call.params.?max_tokens.orValue(0) → 100000\n" in out
    assert "optional.of" not in out
    assert "call.params.?max_tokens → optional.of(100000)\n" in explained(ESSAY, "--all")[1].out
    assert " → " not in explained(ESSAY, "--depth", "0")[1].out


def test_the_smallest_change_that_would_be_allowed_is_told_and_is_allowed(explained):
    _, said = explained(ESSAY)
    _, _, ways = said.out.partition("would be allowed with one change:\n")
    assert [line.split("  ")[1] for line in ways.splitlines()[:2]] == ["max_tokens 4000 instead of 100000", "without max_tokens"]
    assert explained({**ESSAY, "call": {**ESSAY["call"], "params": {"max_tokens": 4000}}})[0] == exits.OK


def test_a_bound_ends_the_search_and_is_told(explained):
    code, said = explained({"principal": {"id": "key:stranger"}, "call": HELLO["call"]}, "--bound", "1")
    assert code == exits.FINDINGS
    assert said.out.splitlines()[-1].endswith("1 decisions, the search ended at its bound of 1")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_is_given_colours_unless_it_wants_none_and_lines_that_fit(explained, monkeypatch, environ, colored):
    for name, value in {"COLUMNS": "70", **environ}.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    explained({**ESSAY, "principal": {"id": "key:" + "x" * 40}}, "--all", config="policies/team-models")
    assert ("\x1b[" in out.getvalue()) is colored
    explained(
        {"principal": {"id": "key:r", "team": "research"}, "call": HELLO["call"] | {"target": "gpt-4o"}, "now": 1767175200}, config="policies/team-models"
    )
    plain = re.sub(r"\x1b\[\d+m", "", out.getvalue())
    assert [line for line in plain.splitlines() if " → " in line and len(line) > 70] == []
    assert any(line.strip().startswith('!("leads" in principal.groups) → true') for line in plain.splitlines())


def test_a_value_cannot_write_to_a_terminal(explained):
    code, said = explained({"principal": {"id": "key:\x1b[2J"}, "call": {"operation": "tool_call", "target": "shell\u202e", "model": "gpt-4o", "args": {}}})
    assert code == exits.OK
    assert not {"\x1b", "\u202e"} & set(said.out)


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
    owed = [line.split() for line in said.out.splitlines() if line.startswith("  must ")]
    region, short = "(eu-only/stay-in-region)", "(eu-short/short-answers)"
    assert owed == [["must", "route", "region:", "eu", region], ["must", "cap", "max_tokens:", "2000", short], ["must", "label", "eu", region]]
    assert "may not   us-east/gpt-4o: its upstream has no label `region: eu`\n" in said.out
    assert "sent with /max_tokens 2000\n" in said.out


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


def test_a_configuration_whose_tests_fail_can_be_explained(explained, tmp_path, request):
    made = tmp_path / "failing"
    shutil.copytree(request.config.rootpath / QUICKSTART, made)
    text = (made / "tests.yaml").read_text()
    (made / "tests.yaml").write_text(text.replace("effect: allow", "effect: deny"))
    assert explained(HELLO, config=str(made))[0] == exits.OK


# ---------------------------------------------------------------- records


@pytest.fixture
def recorded(tmp_path, request):
    """`recorded(asked)` decides under a policy, keeps a record as the sidecar does, and gives its file."""

    def made(asked, *, config=QUICKSTART, keep=True, id="d_recorded1"):
        directory = request.config.rootpath / config
        layer = LayerFiles(config, tuple((f"{config}/{file.name}", file.read_bytes()) for file in sorted(directory.glob("*.yaml"))))
        snapshot = compiled([layer], {}, 1.0).snapshot
        question = explain.read(asked, 1767175200.0)
        decision = replace(question.decide(snapshot), id=id)
        file = tmp_path / "decisions.jsonl"
        inputs = Facts().keep(snapshot, decision) if keep else None
        with file.open("ab") as out:
            out.write(record.Writer().line(decision, snapshot=snapshot.digest, inputs=inputs) + b"\n")
        return file

    return made


def told(capsys, *arguments, config=QUICKSTART):
    code = main(["explain", "-c", config, *map(str, arguments)])
    return code, capsys.readouterr()


@pytest.fixture
def at_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def test_a_recorded_decision_is_explained_from_what_was_kept(at_root, capsys, recorded):
    file = recorded(ESSAY)
    code, said = told(capsys, "d_recorded1", "--records", file)
    assert code == exits.FINDINGS
    assert "  recorded: deny by everyday/short-answers, 403 policy_denied, under these documents\n" in said.out
    assert "call.params.?max_tokens.orValue(0) → 100000\n" in said.out
    assert "  max_tokens 4000 instead of 100000  by everyday/own-machine\n" in said.out


def test_what_was_not_kept_is_told_as_that_and_the_answer_is_undecidable(at_root, capsys, recorded):
    file = recorded({**HELLO, "call": {**HELLO["call"], "params": {"max_tokens": 10}}}, keep=False)
    code, said = told(capsys, "d_recorded1", "--records", file)
    assert code == exits.UNDECIDABLE
    assert "undecidable: not kept: call.params.max_tokens" in said.out
    assert "call.params.?max_tokens.orValue(0) > 4000 → not kept\n" in said.out
    assert "recorded: allow by everyday/own-machine" in said.out
    assert "no change was searched for: not kept: call.params.max_tokens\n" in said.out


def test_a_proposed_tool_call_on_record_is_explained_with_its_arguments(at_root, capsys, recorded):
    asked = {"principal": LOCAL, "call": {"operation": "tool_call", "target": "read_file", "model": "gpt-4o", "args": {"path": "/etc/passwd"}}}
    file = recorded(asked, config="policies/agent-tools")
    code, said = told(capsys, "d_recorded1", "--records", file, config="policies/agent-tools")
    assert code == exits.FINDINGS
    assert "argument path '/srv/passwd' instead of '/etc/passwd'  by tools/read-only-set\n" in said.out


def test_a_record_under_other_documents_says_so(at_root, capsys, recorded):
    file = recorded(ESSAY)
    _, said = told(capsys, "d_recorded1", "--records", file, "--all", config="policies/openai")
    assert "recorded: deny by everyday/short-answers, 403 policy_denied, under other documents\n" in said.out
    assert "everyday/short-answers  condition true" in said.out


def test_records_are_looked_for_in_the_state_directory_and_their_rotated_files(at_root, capsys, recorded, monkeypatch, tmp_path):
    file = recorded(ESSAY)
    file.rename(tmp_path / "decisions.jsonl.1")
    recorded(HELLO, id="d_recorded2")
    monkeypatch.setenv("SIDECAR_STATE", str(tmp_path))
    assert told(capsys, "d_recorded1")[0] == exits.FINDINGS
    assert told(capsys, "d_recorded2")[0] == exits.OK


@pytest.mark.parametrize(("decision", "words"), [("d_nobody", "is not in"), ("d_broken", "cannot be explained")])
def test_what_is_not_on_record_is_a_usage_error(at_root, capsys, recorded, decision, words):
    file = recorded(ESSAY)
    with file.open("a") as out:
        out.write('{"v": 1, "type": "decision", "id": "d_broken", "now": 1.0, "effect": "deny", "call": {}, "principal": {"id": "x"}}\n')
    code, said = told(capsys, decision, "--records", file)
    assert (code, said.out) == (exits.USAGE, "")
    assert words in said.err


def test_a_call_that_nobody_is_known_to_have_made_cannot_be_explained(at_root, capsys, recorded):
    file = recorded(ESSAY)
    row = json.loads(file.read_text())
    file.write_text(json.dumps({**row, "id": "d_unknown", "principal": None}) + "\n")
    code, said = told(capsys, "d_unknown", "--records", file)
    assert (code, "before any policy was asked" in said.err) == (exits.USAGE, True)


def test_no_such_records_file_is_a_usage_error(at_root, capsys, tmp_path):
    code, said = told(capsys, "d_recorded1", "--records", tmp_path / "none.jsonl")
    assert (code, said.err) == (exits.USAGE, f"cannot read `{tmp_path / 'none.jsonl'}`: No such file or directory\n")
