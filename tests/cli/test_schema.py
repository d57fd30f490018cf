"""`sidecar schema`."""

import json

import pytest

from sidecar.cli import exits
from sidecar.cli.main import main


def test_the_schema_is_printed(capsys):
    assert main(["schema"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("https://json-schema.org/draft/2020-12")


def test_one_kind_is_written_to_a_file(tmp_path, capsys):
    assert main(["schema", "--kind", "Quota", "-o", str(tmp_path / "quota.json")]) == exits.OK
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "quota.json").read_text())["properties"]["kind"]["enum"] == ["Quota"]


def test_a_kind_or_a_place_that_does_not_exist_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["schema", "--kind", "Quoota"])
    assert left.value.code == exits.USAGE
    assert main(["schema", "-o", str(tmp_path / "no" / "where.json")]) == exits.USAGE
    assert "cannot write" in capsys.readouterr().err
