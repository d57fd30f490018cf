"""`sidecar fmt`: files in one style, or as they were."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.workbench.fmt import Formatted

UNTIDY = "apiVersion: sidecar.dev/v1\nkind: Policy # c\nmetadata: { name: x }\nspec: {rules: []}\n"
TIDY = "apiVersion: sidecar.dev/v1\nkind: Policy # c\nmetadata: {name: x}\nspec: {rules: []}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yaml").write_text(UNTIDY)
    (tmp_path / "b.yml").write_text(TIDY)
    (tmp_path / ".hidden.yaml").write_text(UNTIDY)
    (tmp_path / "foreign.yaml").write_text("apiVersion: apps/v1\nkind:    Deployment\n")
    return tmp_path


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_below_a_directory_are_formatted_and_those_of_others_left_alone(folder, capsys):
    before = names(folder)
    assert main(["fmt", str(folder)]) == exits.OK
    assert (folder / "deep" / "a.yaml").read_text() == TIDY
    assert (folder / ".hidden.yaml").read_text() == UNTIDY
    assert "    Deployment" in (folder / "foreign.yaml").read_text()
    assert names(folder) == before
    assert capsys.readouterr().out == f"formatted {folder}/deep/a.yaml\n"
    assert main(["fmt", str(folder)]) == exits.OK
    assert capsys.readouterr().out == ""


def test_a_file_of_others_is_formatted_where_it_is_named(folder):
    assert main(["fmt", str(folder / "foreign.yaml")]) == exits.OK
    assert "kind: Deployment" in (folder / "foreign.yaml").read_text()


def test_check_names_what_differs_and_writes_nothing(folder, capsys):
    assert main(["fmt", "--check", str(folder)]) == exits.FINDINGS
    assert capsys.readouterr().out == f"{folder}/deep/a.yaml differs\n"
    assert (folder / "deep" / "a.yaml").read_text() == UNTIDY
    assert main(["fmt", "--check", str(folder / "b.yml")]) == exits.OK


def test_diff_shows_what_would_change_and_writes_nothing(folder, capsys):
    assert main(["fmt", "--diff", str(folder)]) == exits.FINDINGS
    shown = capsys.readouterr().out
    assert "-metadata: { name: x }\n+metadata: {name: x}\n" in shown
    assert (folder / "deep" / "a.yaml").read_text() == UNTIDY


def test_the_current_directory_is_the_default(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["fmt", "--check"]) == exits.FINDINGS
    assert capsys.readouterr().out == "deep/a.yaml differs\n"


def test_a_broken_file_is_told_with_its_place_and_the_others_are_formatted(folder, capsys):
    (folder / "aa.yaml").write_text("apiVersion: sidecar.dev/v1\nkind: [\n")
    assert main(["fmt", str(folder)]) == exits.BAD_CONFIGURATION
    told = capsys.readouterr()
    assert f"{folder}/aa.yaml:3:1: error:" in told.err
    assert (folder / "aa.yaml").read_text().endswith("kind: [\n")
    assert (folder / "deep" / "a.yaml").read_text() == TIDY


def test_the_mode_of_a_file_stays(folder):
    file = folder / "deep" / "a.yaml"
    file.chmod(0o640)
    assert main(["fmt", str(file)]) == exits.OK
    assert file.stat().st_mode & 0o7777 == 0o640


def test_a_link_out_of_its_directory_is_refused(folder, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("other") / "x.yaml"
    other.write_text(UNTIDY)
    (folder / "link.yaml").symlink_to(other)
    assert main(["fmt", str(folder / "link.yaml")]) == exits.BAD_CONFIGURATION
    assert "leads out of the directory" in capsys.readouterr().err
    assert other.read_text() == UNTIDY


def test_a_link_within_its_directory_stays_a_link(folder):
    (folder / "deep" / "link.yaml").symlink_to("a.yaml")
    assert main(["fmt", str(folder / "deep" / "link.yaml")]) == exits.OK
    assert (folder / "deep" / "link.yaml").is_symlink()
    assert (folder / "deep" / "a.yaml").read_text() == TIDY


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_told_and_the_file_is_as_it_was(folder, capsys):
    (folder / "deep").chmod(0o500)
    try:
        assert main(["fmt", str(folder)]) == exits.USAGE
    finally:
        (folder / "deep").chmod(0o700)
    assert "cannot be written" in capsys.readouterr().err
    assert (folder / "deep" / "a.yaml").read_text() == UNTIDY


def test_a_file_that_changed_meanwhile_is_left_alone(folder, monkeypatch, capsys):
    file = folder / "deep" / "a.yaml"

    def slow(_name, _data):
        file.write_text("mine: 1\n")
        return Formatted(TIDY, (), 1)

    monkeypatch.setattr("sidecar.cli.fmt.format_documents", slow)
    assert main(["fmt", str(file)]) == exits.USAGE
    assert "changed by someone else" in capsys.readouterr().err
    assert file.read_text() == "mine: 1\n"
    assert names(folder / "deep") == ["a.yaml"]


def test_a_path_that_is_not_there_writes_nothing_at_all(folder, capsys):
    assert main(["fmt", str(folder), str(folder / "nothing")]) == exits.USAGE
    assert "is no file and no directory" in capsys.readouterr().err
    assert (folder / "deep" / "a.yaml").read_text() == UNTIDY


@pytest.mark.parametrize(("flags", "code", "out"), [([], 0, TIDY), (["--check"], 1, "<stdin> differs\n")])
def test_standard_input_goes_to_standard_output(flags, code, out):
    done = subprocess.run([sys.executable, "-m", "sidecar", "fmt", "-", *flags], input=UNTIDY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, out)


def test_standard_input_that_is_no_yaml_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a: [\n")))
    assert main(["fmt", "-"]) == exits.BAD_CONFIGURATION
    assert "<stdin>:2:1: error:" in capsys.readouterr().err
    assert main(["fmt", "-", "x"]) == exits.USAGE


def test_the_worked_examples_are_formatted(capsys):
    assert main(["fmt", "--check", str(Path(__file__).parents[2] / "policies")]) == exits.OK, capsys.readouterr().out
