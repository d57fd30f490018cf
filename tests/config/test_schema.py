"""The JSON Schema: what editors are told is what `validate` does."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from sidecar.config import documents, source, validate
from sidecar.config.load import load
from sidecar.config.scalars import BYTES, MARKERS, SECONDS
from sidecar.config.schema import schema, text

HOUSE = Path(__file__).parents[2]
PINNED = HOUSE / "schemas" / "sidecar.json"
FILES = sorted([*HOUSE.glob("policies/**/*.yaml"), *HOUSE.glob("sidecar/quickstart/*.yaml")])


def documents_in(text):
    """As an editor reads them: YAML 1.2, by a reader that shares nothing with ours; times stay text."""
    reader = YAML(typ="safe", pure=True)
    reader.resolver.yaml_implicit_resolvers  # noqa: B018  (made on first sight, per reader)
    reader.constructor.yaml_constructors = {
        **reader.constructor.yaml_constructors,
        "tag:yaml.org,2002:timestamp": lambda constructor, node: constructor.construct_scalar(node),
    }
    return [each for each in reader.load_all(text) if each is not None]


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
    for document in documents_in(file.read_text(encoding="utf-8")):
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


def test_every_field_with_backticks_is_told_as_markdown():
    for name, definition in schema()["$defs"].items():
        for field, inner in [("", definition), *definition["properties"].items()]:
            assert inner.get("markdownDescription", inner.get("description", "")) == inner.get("description", ""), f"{name}.{field}"
            assert ("`" in inner.get("description", "")) == ("markdownDescription" in inner), f"{name}.{field}"


def test_defaults_are_told_as_they_are_written():
    limits = schema()["$defs"]["Limits"]["properties"]
    assert {name: limits[name]["default"] for name in ("body", "drain", "inflight")} == {"body": "32MiB", "drain": "30s", "inflight": 512}
    assert schema()["$defs"]["Quota"]["properties"]["key"]["default"] == ["principal.id"]


def test_defaults_and_examples_are_valid():
    for name, definition in schema()["$defs"].items():
        for field, inner in definition["properties"].items():
            validator = Draft202012Validator({**inner, "$defs": schema()["$defs"]})
            for value in [*inner.get("examples", []), *([inner["default"]] if "default" in inner else [])]:
                assert validator.is_valid(value), f"{name}.{field}: {value}"


def test_one_kind_alone_has_only_what_it_needs():
    alone = schema("Route")
    assert alone["properties"]["kind"]["enum"] == ["Route"]
    assert set(alone["$defs"]) == {"Metadata", "Route", "RouteMatch", "RouteTarget"}
    assert alone["$id"] != schema()["$id"]


# ---------------------------------------------------------------- what one says the other says

LOADER_KNOWS_MORE = {
    "environ": "the schema knows no environment",
    "letters": "which letters look alike or cannot be seen is no question of shape",
    "ambiguous": "a free value is anything; which reading of it YAML means is no question of shape",
}
"""Codes of the loader for what a schema cannot see, and why."""
SCHEMA_SAYS_AS_WELL = {
    "name": "the shape of names; the loader says it with the letter that is wrong",
    "key": "the shape of a digest; the loader says whether it is only the case",
    "window": "the shape of a window",
    "port": "the largest port",
}
"""Codes of rules between fields and documents that the schema tells too, because one field shows it."""
CASES = sorted((HOUSE / "tests" / "diagnostics").glob("*/bad.yaml"))


def shapes_of(text):
    """Per document: codes of the loader that speak of shape, and what the schema says."""
    read = source.read("f", text.encode())
    if read.lost or any(item.severity == "error" for item in read.diagnostics):
        return
    validator = Draft202012Validator(schema())
    for root, document in zip(read.roots, documents_in(text), strict=True):
        before = len(read.diagnostics)
        validate.document(read, root, "", {"REGION": "eu"})
        codes = {item.code for item in read.diagnostics[before:] if item.severity == "error"}
        yield codes, [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_what_has_the_wrong_shape_for_the_loader_has_it_for_the_schema(case):
    text = case.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff")
    others = {item.code for item in load([("", [("f", text.encode())])], {"REGION": "eu"}, 1.79e9).diagnostics}
    for codes, errors in shapes_of(text):
        if codes - LOADER_KNOWS_MORE.keys():
            assert errors, codes
        elif errors:
            assert others & SCHEMA_SAYS_AS_WELL.keys(), errors


def test_no_exception_is_listed_in_vain():
    found = {item.code for case in CASES for item in load([("", [("f", case.read_bytes())])], {}, 1.79e9).diagnostics}
    assert (LOADER_KNOWS_MORE.keys() | SCHEMA_SAYS_AS_WELL.keys()) <= found


SCALARS = st.one_of(
    st.sampled_from(
        [
            "5",
            "0",
            "15s",
            "1.5h",
            "7 s",
            "64KiB",
            "1MB",
            "80%",
            "120%",
            "2027-06-30",
            "2027-01-31T00:00:00Z",
            "group:eng",
            "nobody",
            "anonymous",
            "a b",
            "gpt-*",
        ]
    ),
    st.from_regex(r"[0-9]{1,3}(\.[0-9])?(ms|s|m|h|d|B|KiB|MiB| ?%)?", fullmatch=True),
)
STRICTER = {
    "percent": "the loader knows that a hundred is the most",
    "pattern": "the loader knows what may stand between slashes, and `***`",
    "subject": "the loader knows the forms of `sa:` and `spiffe:`",
    "day": "the loader knows the calendar",
    "instant": "the loader knows the calendar",
    "environ": "the loader knows the environment",
}
"""Annotations of which the loader refuses more than the schema, and why."""


@settings(max_examples=300)
@given(st.sampled_from(sorted(MARKERS)), SCALARS)
def test_units_and_times_are_read_alike(marker, text):
    from sidecar.config.scalars import BROKEN, Scope
    from sidecar.config.schema import MARKERS as SHAPES

    read = source.read("f", f'- "{text}"\n'.encode())
    loads = MARKERS[marker](read.roots[0].items[0], Scope(read, {})) is not BROKEN
    valid = Draft202012Validator(SHAPES[marker]).is_valid(text)
    if marker == "number":
        assert not loads  # quoted: text is no number
        assert not valid
    elif marker in STRICTER:
        assert valid or not loads
    else:
        assert valid == loads


def test_units_are_those_of_the_loader():
    from sidecar.config.schema import MARKERS as SHAPES

    assert all(re.match(SHAPES["duration"]["anyOf"][0]["pattern"], f"1{unit}") for unit in SECONDS)
    assert all(re.match(SHAPES["size"]["pattern"], f"1{unit}") for unit in BYTES)
