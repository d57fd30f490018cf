"""`sidecar test`: each cell of a matrix is a line; a failure says what came out instead, and where the row stands."""

import json
import shutil
from xml.etree import ElementTree as ET

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main


@pytest.fixture
def quickstart(request, tmp_path):
    return shutil.copytree(request.config.rootpath / "policies" / "quickstart", tmp_path / "quickstart")


def ran(directory, capsys, *options):
    code = main(["test", "-c", str(directory), *options])
    said = capsys.readouterr()
    return code, said.out.splitlines(), said.err


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_every_cell_is_a_line_and_the_last_one_counts(quickstart, capsys):
    code, lines, _ = ran(quickstart, capsys)
    assert code == exits.OK
    assert lines[0] == "ok   everyday: local / hello"
    assert lines[-1] == f"{len(lines) - 1} passed, 0 failed"


def test_quiet_keeps_failures_and_the_count(quickstart, capsys):
    assert [len(ran(quickstart, capsys, *options)[1]) > 1 for options in ([], ["--quiet"])] == [True, False]


def test_a_rule_that_means_something_else_fails_its_row_with_its_place(quickstart, capsys):
    edit(quickstart / "policy.yaml", "> 4000", "> 400000")
    code, lines, _ = ran(quickstart, capsys, "--quiet")
    row = next(number for number, line in enumerate((quickstart / "tests.yaml").read_text().splitlines(), 1) if "everyday/short-answers" in line)
    assert code == exits.FINDINGS
    assert lines[0] == "FAIL everyday: local / essay"
    assert lines[1].startswith(f"     {quickstart}/tests.yaml:{row}:7: expected deny, got allow by `everyday/own-machine`")
    assert lines[-1].endswith(", 1 failed")


def test_the_wrong_reason_is_a_failure_even_where_the_effect_is_right(quickstart, capsys):
    edit(quickstart / "tests.yaml", "by: [everyday/short-answers]", "by: [tools/nothing-destructive]")
    code, lines, _ = ran(quickstart, capsys, "--quiet")
    assert code == exits.FINDINGS
    assert "expected `tools/nothing-destructive` among the determining rules, got `everyday/short-answers`" in lines[1]


def test_no_tests_at_all_is_no_success(quickstart, capsys):
    (quickstart / "tests.yaml").unlink()
    code, lines, _ = ran(quickstart, capsys)
    assert (code, lines) == (exits.FINDINGS, ["0 passed, 0 failed"])


def test_documents_that_do_not_load_run_no_test(quickstart, capsys):
    edit(quickstart / "policy.yaml", "effect: allow", "effect: alow")
    code, lines, err = ran(quickstart, capsys)
    assert (code, lines) == (exits.BAD_CONFIGURATION, [])
    assert "did you mean `allow`?" in err


def test_layers_are_tested_together(quickstart, tmp_path, capsys):
    """A second layer can only tighten: what the first one's tests expect to be allowed may now be denied, and they say so."""
    team = tmp_path / "team"
    team.mkdir()
    (team / "policy.yaml").write_text(
        "apiVersion: sidecar.dev/v1\nkind: Policy\nmetadata: {name: closed}\nspec:\n  rules:\n    - {name: all, effect: deny, message: Closed.}\n"
    )
    code = main(["test", "-c", str(quickstart), "-c", str(team), "--quiet"])
    assert code == exits.FINDINGS
    assert "FAIL everyday: local / hello" in capsys.readouterr().out


# ---------------------------------------------------------------- what is told of a failure


def test_a_failure_tells_the_candidates_and_what_to_look_at(quickstart, capsys):
    edit(quickstart / "policy.yaml", "> 4000", "> 400000")
    _, lines, _ = ran(quickstart, capsys, "--quiet")
    assert [line.split()[:4] for line in lines[2:5]] == [
        ["*", "allow", "everyday/own-machine", "condition"],
        ["deny", "everyday/short-answers", "condition", "false"],
        ["quota", "pocket-money", "condition", "true"],
    ]
    assert lines[5].strip().startswith(f"next: `everyday/short-answers` ({quickstart}/policy.yaml:12) was read, and its condition is false")


@pytest.mark.parametrize(("pattern", "names"), [("essay", 2), ("everyday: stranger / *", 1), ("*without*", 1), ("nobody", 0)])
def test_a_filter_takes_words_or_a_pattern(quickstart, capsys, pattern, names):
    code, lines, _ = ran(quickstart, capsys, "--filter", pattern)
    assert len(lines) - 1 == names
    assert code == (exits.OK if names else exits.FINDINGS)


def test_a_misspelt_rule_in_a_row_does_not_load(quickstart, capsys):
    edit(quickstart / "tests.yaml", "by: [everyday/short-answers]", "by: [everyday/short-answer]")
    code, _, err = ran(quickstart, capsys)
    assert code == exits.BAD_CONFIGURATION
    assert "did you mean `everyday/short-answers`?" in err


# ---------------------------------------------------------------- coverage and mutants


def test_an_example_is_covered_and_has_no_survivor(request, capsys):
    code, lines, err = ran(request.config.rootpath / "policies" / "team-models", capsys, "--quiet", "--coverage", "--min", "100", "--mutate")
    assert (code, err) == (exits.OK, "")
    assert lines[0].startswith("coverage 100 %: ")
    assert lines[1].startswith("mutants: ")


@pytest.mark.parametrize(("options", "code"), [(("--coverage",), exits.OK), (("--coverage", "--min", "100"), exits.FINDINGS), (("--min", "100"), exits.FINDINGS), (("--min", "50"), exits.OK)])  # fmt: skip
def test_a_gap_fails_where_a_minimum_is_due(quickstart, capsys, options, code):
    edit(quickstart / "tests.yaml", "    - {principal: [stranger], call: [hello], effect: deny}\n", "")
    got, lines, _ = ran(quickstart, capsys, "--quiet", *options)
    assert got == code
    assert lines[:2] == [f"{quickstart}/policy.yaml:10:13: everyday/own-machine: never false", "     add a call for which it is false"]


@pytest.mark.parametrize("text", ["101", "-1", "9.5", "all"])
def test_a_minimum_is_a_percentage(quickstart, capsys, text):
    with pytest.raises(SystemExit) as left:
        main(["test", "-c", str(quickstart), "--min", text])
    assert left.value.code == exits.USAGE
    assert "a whole number from 0 to 100" in capsys.readouterr().err


def test_a_survivor_fails_and_has_its_place(quickstart, capsys):
    edit(quickstart / "tests.yaml", "call: [wipe, shell], effect", "call: [wipe], effect")
    code, lines, _ = ran(quickstart, capsys, "--quiet", "--mutate")
    assert code == exits.FINDINGS
    assert f"{quickstart}/policy.yaml:24:73: survived: tools: `shell` dropped from `target`" in lines


def test_no_mutant_is_tried_while_a_case_fails(quickstart, capsys):
    edit(quickstart / "policy.yaml", "> 4000", "> 400000")
    code, lines, err = ran(quickstart, capsys, "--quiet", "--mutate")
    assert code == exits.FINDINGS
    assert err == "mutants are tried once every case passes\n"
    assert not [line for line in lines if line.startswith("mutants")]


# ---------------------------------------------------------------- for machines


def test_json_and_junit_are_all_that_is_printed(quickstart, capsys):
    main(["test", "-c", str(quickstart), "--format", "json", "--coverage", "--mutate"])
    data = json.loads(capsys.readouterr().out)
    assert (data["failed"], data["coverage"]["percent"], data["mutants"]["survived"]) == (0, 100, 5)
    edit(quickstart / "policy.yaml", "> 4000", "> 400000")
    assert main(["test", "-c", str(quickstart), "--format", "junit"]) == exits.FINDINGS
    root = ET.fromstring(capsys.readouterr().out)
    assert root.get("failures") == "1"
