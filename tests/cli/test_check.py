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
