"""`sidecar schema`."""

import json

from sidecar.cli import exits
from sidecar.cli.main import main


def test_the_schema_is_printed(capsys):
    assert main(["schema"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["$schema"].startswith("https://json-schema.org/draft/2020-12")
