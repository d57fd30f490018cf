"""Diagnostics as text, JSON and SARIF."""

import json

from sidecar.config.diagnostics import FORMATS, Diagnostic, Position, has_errors, in_reading_order, render_json, render_sarif, render_text

ONE = Diagnostic("error", "type", "`no` is not a bool", Position("a.yaml", 3, 9), "write `false`", "\thidden: no", 11)
TWO = Diagnostic("warning", "expiry", "ends in 4 days", Position("b.yaml"))


def test_text_has_the_place_the_line_the_caret_and_the_hint():
    assert render_text([ONE]) == "a.yaml:3:9: error: `no` is not a bool [type]\n    \thidden: no\n    \t       ^^\n    hint: write `false`\n"


def test_a_finding_about_a_whole_file_has_no_line():
    assert render_text([TWO]) == "b.yaml: warning: ends in 4 days [expiry]\n"


def test_colors_are_asked_for():
    assert "\033[" in render_text([ONE], color=True)
    assert "\033[" not in render_text([ONE])


def test_a_document_cannot_write_to_the_terminal():
    hostile = Diagnostic("error", "x", "`\x1b[2J`", Position("a\x07.yaml", 1, 1), source_line="\x1b]0;x\x07", hint="\u202e")
    shown = render_text([hostile])
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown


def test_json_has_every_field():
    (only,) = json.loads(render_json([ONE]))["diagnostics"]
    assert only == {
        "severity": "error",
        "code": "type",
        "message": "`no` is not a bool",
        "file": "a.yaml",
        "line": 3,
        "column": 9,
        "endColumn": 11,
        "hint": "write `false`",
    }


def test_sarif_has_rules_levels_and_regions():
    (run,) = json.loads(render_sarif([ONE, TWO]))["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["expiry", "type"]
    first, second = run["results"]
    assert (first["ruleId"], first["level"]) == ("type", "error")
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 3, "startColumn": 9, "endColumn": 11}
    assert "region" not in second["locations"][0]["physicalLocation"]


def test_reading_order_is_that_of_files_lines_and_columns_and_nothing_is_said_twice():
    later = Diagnostic("error", "x", "y", Position("a.yaml", 10, 1))
    assert in_reading_order([TWO, later, ONE, ONE], ["b.yaml", "a.yaml"]) == (TWO, ONE, later)


def test_warnings_alone_let_a_configuration_load():
    assert has_errors([TWO, ONE])
    assert not has_errors([TWO])


def test_every_format_takes_nothing():
    for render in FORMATS.values():
        assert isinstance(render([], False), str)
