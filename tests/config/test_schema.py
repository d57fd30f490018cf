"""The JSON Schema: what editors are told is what `validate` does."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from sidecar.config import documents
from sidecar.config.schema import schema, text

HOUSE = Path(__file__).parents[2]
PINNED = HOUSE / "schemas" / "sidecar.json"
FILES = sorted([*HOUSE.glob("policies/**/*.yaml"), *HOUSE.glob("sidecar/quickstart/*.yaml")])


class Core(yaml.CSafeLoader):
    """Without dates, as YAML 1.2 has it."""


Core.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(("timestamp", "merge"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def test_the_pinned_schema_is_the_generated_one():
    assert PINNED.read_text(encoding="utf-8") == text(), "run `sidecar schema > schemas/sidecar.json`"


def test_it_is_a_schema():
    Draft202012Validator.check_schema(schema())


def test_every_kind_and_field_is_described():
    definitions = schema()["$defs"]
    assert set(documents.KINDS) <= definitions.keys()
    for name, definition in definitions.items():
        assert definition["description"], name
        for field, inner in definition["properties"].items():
            assert inner.get("description") or "$ref" in inner, f"{name}.{field}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(HOUSE)))
def test_worked_examples_are_valid(file):
    validator = Draft202012Validator(schema())
    for document in yaml.load_all(file.read_text(encoding="utf-8"), Loader=Core):
        assert [error.message for error in validator.iter_errors(document)] == []


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Policy", "metadata": {"name": "x"}, "spec": {"rules": []}},
        {"apiVersion": "sidecar.dev/v1", "kind": "Policy", "metadata": {"name": "x"}, "spec": {}},
        {"apiVersion": "sidecar.dev/v1", "kind": "Policy", "metadata": {"name": "x"}, "spec": {"rules": [], "extra": 1}},
        {"apiVersion": "sidecar.dev/v1", "kind": "Guardrail", "metadata": {"name": "x"}, "spec": {}},
        {"apiVersion": "sidecar.dev/v1", "kind": "Identity", "metadata": {"name": "x"}, "spec": {"methods": [{"anonymous": {}, "apiKey": {}}]}},
    ],
)
def test_what_does_not_load_is_not_valid(document):
    assert not Draft202012Validator(schema()).is_valid(json.loads(json.dumps(document)))
