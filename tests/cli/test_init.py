"""`sidecar init`: what it writes is good, and it overwrites nothing."""

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main
from sidecar.cli.starters import STARTERS


@pytest.mark.parametrize("kind", STARTERS)
def test_a_starter_passes_check_and_its_own_tests(kind, tmp_path):
    directory = str(tmp_path / "new" / "policies")
    assert main(["init", kind, directory]) == exits.OK
    assert main(["check", "-c", directory, "--strict"]) == exits.OK
    assert main(["test", "-c", directory]) == exits.OK


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "policy.yaml").write_text("mine")
    assert main(["init", "llm", str(tmp_path)]) == exits.USAGE
    assert "nothing was written" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["policy.yaml"]
    assert (tmp_path / "policy.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["init", "llm", str(tmp_path / "file" / "below")]) == exits.USAGE
    assert "cannot write" in capsys.readouterr().err
