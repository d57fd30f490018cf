"""`sidecar test`: each cell of a matrix is a line; a failure says what came out instead, and where the row stands."""

import shutil

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
    assert lines[-1].endswith(", 2 failed")


def test_the_wrong_reason_is_a_failure_even_where_the_effect_is_right(quickstart, capsys):
    edit(quickstart / "tests.yaml", "by: everyday/short-answers", "by: tools/nothing-destructive")
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
