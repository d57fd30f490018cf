"""`sidecar check`: what it prints, and its exit codes."""

import json

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main

HEAD = "apiVersion: sidecar.dev/v1\nkind: {}\nmetadata: {{name: x}}\nspec: {}\n"


@pytest.fixture
def layer(tmp_path):
    def write(kind, spec):
        (tmp_path / "a.yaml").write_text(HEAD.format(kind, spec))
        return str(tmp_path)

    return write


def test_good_documents_are_0(layer, capsys):
    assert main(["check", "-c", layer("Settings", "{}")]) == exits.OK
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "1 documents, nothing wrong\n")


def test_bad_documents_are_3_with_place_and_hint(layer, capsys):
    directory = layer("Settings", "{mode: audti}")
    assert main(["check", "-c", directory]) == exits.BAD_CONFIGURATION
    said = capsys.readouterr()
    assert said.out.startswith(f"{directory}/a.yaml:4:14: error: `audti` is not one of `enforce`, `audit` [type]\n")
    assert "hint: did you mean `audit`?" in said.out
    assert said.err == "1 errors, 0 warnings\n"


def test_a_condition_with_a_mistake_is_told_inside_its_text(layer, capsys):
    directory = layer("Policy", "{rules: [{name: r, effect: deny, when: call.streem}]}")
    assert main(["check", "-c", directory, "--format", "json"]) == exits.BAD_CONFIGURATION
    (only,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert (only["line"], only["severity"]) == (4, "error")
    assert "streem" in only["message"]


def test_warnings_are_findings_under_strict(layer, capsys):
    directory = layer("Quota", "{scope: fleet, limits: [{metric: requests, max: 5, per: 1m}]}")
    assert main(["check", "-c", directory]) == exits.OK
    assert main(["check", "-c", directory, "--strict"]) == exits.FINDINGS
    assert "warning: `scope: fleet`" in capsys.readouterr().out


def test_sarif_is_json_and_nothing_else_is_on_standard_output(layer, capsys):
    main(["check", "-c", layer("Settings", "{mode: audti}"), "--format", "sarif"])
    said = capsys.readouterr()
    assert json.loads(said.out)["version"] == "2.1.0"
    assert said.err == ""


def test_a_directory_that_is_not_there_is_bad_configuration(tmp_path, capsys):
    assert main(["check", "-c", str(tmp_path / "nowhere")]) == exits.BAD_CONFIGURATION
    assert "no such file or directory" in capsys.readouterr().out


# ---------------------------------------------------------------- coverage and cost

UPSTREAM = HEAD.format("Upstream", "{protocol: llm, url: 'echo:', models: [{name: gpt-4o}]}")
POLICY = HEAD.format("Policy", "{match: {operation: [chat, tool_call]}, rules: [{name: r, effect: deny, when: 'has(call.tool) && call.tool.destructive'}]}")


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "a.yaml").write_text(f"{UPSTREAM}---\n{POLICY}")
    return str(tmp_path)


def test_coverage_tells_what_a_rule_does_where(policy, capsys):
    assert main(["check", "-c", policy, "--coverage"]) == exits.OK
    assert capsys.readouterr().out == (
        f"x/r: deny, {policy}/a.yaml:9\n"
        "    request tool_call that a provider runs whole+stream\n"
        "    request never true on chat whole+stream\n"
        "    reply   tool_call that a model proposes whole+stream\n"
    )


def test_coverage_as_json_has_a_cell_for_every_place(policy, capsys):
    assert main(["check", "-c", policy, "--coverage", "--cost", "--format", "json"]) == exits.OK
    said = json.loads(capsys.readouterr().out)
    assert said["diagnostics"] == []
    (row,) = said["coverage"]
    states = {(cell["operation"], cell["direction"], cell["shape"]): cell["state"] for cell in row["cells"]}
    assert states["chat", "request", "stream"] == "never"
    assert states["tool_call", "reply", "stream"] == "runs"
    assert states["embeddings", "request", "whole"] == "out"
    assert said["cost"] == [{"document": f"Policy/x ({policy})", "steps": row["cost"], "dearest": "x/r"}]


def test_cost_tells_the_sum_of_each_document(policy, capsys):
    main(["check", "-c", policy, "--cost"])
    assert f"steps  Policy/x ({policy}), the dearest is x/r with " in capsys.readouterr().out


def test_what_does_not_compile_has_no_coverage_and_says_why(layer, capsys):
    assert main(["check", "-c", layer("Policy", "{rules: [{name: r, effect: deny, when: call.nope}]}"), "--coverage"]) == exits.BAD_CONFIGURATION
    assert "call` has no field `nope`" in capsys.readouterr().out


def test_lints_are_warnings_and_findings_under_strict(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(f"{UPSTREAM}---\n" + HEAD.format("Policy", "{rules: [{name: all, effect: allow}]}"))
    assert main(["check", "-c", str(tmp_path)]) == exits.OK
    assert "[open-allow]" in capsys.readouterr().out
    assert main(["check", "-c", str(tmp_path), "--strict"]) == exits.FINDINGS


def test_notes_are_no_findings(tmp_path, capsys):
    test = HEAD.format(
        "Test", "{principals: {a: {id: 'user:a'}}, calls: {c: {operation: chat, target: gpt-4o}}, expect: [{principal: a, call: c, effect: deny}]}"
    )
    (tmp_path / "a.yaml").write_text(f"{UPSTREAM}---\n{test}---\n" + HEAD.format("Policy", "{rules: [{name: r, effect: deny, when: call.stream}]}"))
    assert main(["check", "-c", str(tmp_path), "--strict"]) == exits.OK
    assert "note: no test makes `x/r` true" in capsys.readouterr().out


def test_sarif_places_are_relative_to_where_it_runs(layer, capsys, monkeypatch):
    monkeypatch.chdir(layer("Settings", "{mode: audti}"))
    main(["check", "--format", "sarif"])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "a.yaml", "uriBaseId": "SRCROOT"}
