"""The product's declarations hold what DOCUMENTS.md lists under «What a condition sees»."""

from sidecar import expr
from sidecar.expr import BOOL, INT, STRING
from sidecar.expr.environment import CALL, TOOL, request_declarations, response_declarations

CALL_FIELDS = "args agent bytes dialect id model operation params protocol requested_model server session stream target task tokens tool upstreams"
TOOL_FIELDS = "destructive idempotent kind labels name open_world read_only server title"


def test_call_has_the_documented_fields():
    assert set(CALL.fields) == set(CALL_FIELDS.split())
    assert set(TOOL.fields) == set(TOOL_FIELDS.split())


def test_the_request_sees_no_reply_and_the_response_does():
    assert "reply" not in request_declarations({}, {}).variables
    assert set(response_declarations({}, {}).variables) == {"call", "principal", "source", "session", "reply", "now", "variables"}


def test_claims_are_declared_and_optional():
    declarations = request_declarations({"level": INT}, {})
    program = expr.compile("principal.claims.?level.orValue(0) >= 3", declarations)
    assert program({"principal": {"claims": {"level": 3}}}) is True
    assert program({"principal": {"claims": {}}}) is False


def test_variables_have_the_types_of_their_programs():
    first = expr.compile("call.tokens * 2", request_declarations({}, {}), result=expr.DYN)
    declarations = request_declarations({}, {"double": first.type, "name": STRING, "on": BOOL})
    program = expr.compile("variables.double > 10 && variables.on && variables.name == 'x'", declarations)
    assert program({"variables": {"double": 12, "name": "x", "on": True}}) is True
    assert program.reads == {"variables.double", "variables.on", "variables.name"}
