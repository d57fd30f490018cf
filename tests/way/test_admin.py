"""The admin port: every answer needs the credential; what it tells of readiness, documents, decisions; explain and reload."""

import json

import pytest

from sidecar.testing import document, write


@pytest.fixture
async def admin(stage, admin_of):
    return await admin_of(stage)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


ENDPOINTS = [("GET", "/api/v1/status"), ("GET", "/api/v1/documents"), ("GET", "/api/v1/decisions"), ("POST", "/api/v1/explain"), ("GET", "/api/v1/explain/d_1"), ("POST", "/api/v1/reload"), ("GET", "/"), ("GET", "/api/v1/nothing"), ("PUT", "/api/v1/status")]  # fmt: skip
WRONG = {
    "none": {},
    "another": bearer("sca_guessed"),
    "empty": bearer(""),
    "another scheme": {"authorization": "Basic YTpi"},
    "an API key of the data port": None,
    "not ascii": bearer("\udcff\udcfe"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=" ".join)
async def test_without_the_admin_credential_every_answer_is_401_on_loopback_too(stage, fetch, admin, endpoint, case):
    method, path = endpoint
    headers = WRONG[case] if WRONG[case] is not None else bearer(stage.tokens["dev"])
    told = await fetch(stage, "admin", path, method=method, headers={"content-type": "application/json", **headers})
    assert (told.status, told.headers["www-authenticate"]) == (401, "Bearer")
    assert set(told.json) == {"status", "detail"}
    assert admin["authorization"].removeprefix("Bearer ") not in told.text


async def test_the_token_is_in_a_file_of_its_owner_alone(stage, admin):
    path = stage.state / "admin.token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) > 40


async def test_status_tells_what_runs(stage, fetch, admin):
    told = (await fetch(stage, "admin", "/api/v1/status", headers=admin)).json
    assert (told["ready"], told["why"], told["mode"], told["generation"]) == (True, [], "enforce", 1)
    assert told["digest"] == stage.sidecar.services.active().snapshot.digest
    assert told["upstreams"] == {"up-openai": "closed", "up-anthropic": "closed", "up-gemini": "closed"}
    assert told["configuration"] == {"healthy": True, "loads": 1, "failures": 0}
    assert set(told["ports"]) == {"data", "admin", "health"}


async def test_status_tells_why_it_is_not_ready(make_stage, ask, fetch, admin_of):
    sinks = {"sinks": [{"file": "log/decisions.jsonl"}]}
    async with make_stage(lambda stage: stage.documents(records=sinks)) as stage:
        admin = await admin_of(stage)
        (stage.state / "log").write_text("")
        await ask(stage)
        told = (await fetch(stage, "admin", "/api/v1/status", headers=admin)).json
        assert (told["ready"], told["why"]) == (False, ["a record sink is down"])
        assert told["records"]["down"] == ["decisions.jsonl: File exists"]


async def test_documents_are_listed_with_their_places(stage, fetch, admin):
    told = (await fetch(stage, "admin", "/api/v1/documents", headers=admin)).json
    listed = {(row["kind"], row["name"]): row["where"] for row in told["documents"]}
    assert listed["Policy", "base"].startswith(f"{stage.directory}/all.yaml:")
    assert ("Identity", "way") in listed
    assert not any(digest in json.dumps(told) for digest in ("sha256", stage.tokens["dev"]))


async def test_the_newest_decisions_come_first_and_hold_no_content(stage, fetch, admin, ask):
    ids = [(await ask(stage, messages=[{"role": "user", "content": "zanzibar7"}], temperature=heat)).headers["x-sidecar-decision"] for heat in (0.5, 2.0)]
    told = await fetch(stage, "admin", "/api/v1/decisions", headers=admin)
    assert [row["id"] for row in told.json["decisions"]] == ids[::-1]
    assert "zanzibar7" not in told.text


async def test_a_call_is_explained_with_rule_and_place_and_nothing_is_sent(stage, fetch, admin):
    told = await fetch(
        stage,
        "admin",
        "/api/v1/explain",
        method="POST",
        headers=admin,
        json={"principal": {"id": "key:dev"}, "call": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 2.0}}},
    )
    assert (told.status, told.json["effect"], told.json["by"]) == (200, "deny", ["base/cool"])
    assert told.json["rules"][0]["where"].startswith(f"{stage.directory}/all.yaml:")
    assert (stage.upstream.count, stage.records()) == (0, [])


DENIED = {"principal": {"id": "key:dev"}, "call": {"operation": "chat", "target": "gpt-4o", "params": {"temperature": 2.0}}}


async def explained(stage, fetch, admin, asked):
    return (await fetch(stage, "admin", "/api/v1/explain", method="POST", headers=admin, json=asked)).json


async def test_an_explanation_has_values_of_conditions_and_the_smallest_change(stage, fetch, admin, ask):
    tree = await explained(stage, fetch, admin, DENIED)
    (rule,) = (rule for layer in tree["parts"][0]["layers"] for rule in layer["rules"] if rule["rule"] == "base/cool")
    (top,) = rule["conditions"][0]["parts"]
    assert (rule["verdict"], top["value"], 2.0 in values(top)) == ("matched", True, True)
    change = tree["smallest"]["ways"][0]["changes"][0]
    assert (change["kind"], change["by"], tree["smallest"]["bound"]) == ("parameter", "caller", 2000)
    assert (await ask(stage, **({"temperature": change["to"]} if "to" in change else {}))).status == 200, "what is told is allowed"


def values(node):
    return [node.get("value"), *(value for part in node.get("parts", ()) for value in values(part))]


async def test_an_explanation_looks_at_live_counters_and_takes_nothing(stage, fetch, admin, ask):
    asked = {"principal": {"id": "key:tiny"}, "call": {"operation": "chat", "target": "gpt-4o"}}
    before = await explained(stage, fetch, admin, asked)
    assert (await explained(stage, fetch, admin, asked))["quotas"] == before["quotas"], "asking spends nothing"
    (quota,) = before["quotas"]
    assert (quota["quota"], quota["now"], quota["limits"][0]["remaining"]) == ("one-a-minute", "granted", 1.0)
    assert (await ask(stage, "tiny")).status == 200
    (quota,) = (await explained(stage, fetch, admin, asked))["quotas"]
    assert (quota["now"], quota["limits"][0]["remaining"]) == ("exhausted", 0.0)


async def test_a_recent_decision_is_explained_by_its_id(make_stage, fetch, admin_of, ask):
    async with make_stage(lambda stage: stage.documents(records={"inputs": "facts", "sinks": [{"file": "decisions.jsonl"}]})) as stage:
        admin = await admin_of(stage)
        id = (await ask(stage, temperature=2.0)).headers["x-sidecar-decision"]
        told = await fetch(stage, "admin", f"/api/v1/explain/{id}", headers=admin)
        assert (told.status, told.json["id"], told.json["effect"], told.json["by"], told.json["undecided"]) == (200, id, "deny", ["base/cool"], "")
        assert (told.json["recorded"]["same"], told.json["recorded"]["effect"]) == (True, "deny")
        assert told.json["smallest"]["ways"][0]["changes"][0]["kind"] == "parameter"
        assert stage.upstream.count == 0


async def test_a_decision_of_which_nothing_was_kept_is_explained_as_undecidable(stage, fetch, admin, ask):
    id = (await ask(stage, temperature=2.0)).headers["x-sidecar-decision"]
    told = await fetch(stage, "admin", f"/api/v1/explain/{id}", headers=admin)
    assert (told.status, told.json["undecided"], told.json["recorded"]["by"]) == (200, "call.params.temperature", ["base/cool"])
    assert told.json["smallest"]["missing"] == ["call.params.temperature"]


async def test_a_decision_that_is_not_among_the_recent_ones_is_404(stage, fetch, admin):
    told = await fetch(stage, "admin", "/api/v1/explain/d_0", headers=admin)
    assert (told.status, told.headers["content-type"]) == (404, "application/problem+json; charset=utf-8")


async def test_a_call_of_nobody_we_know_cannot_be_explained(stage, fetch, admin, ask):
    id = (await ask(stage, "sck_nobody")).headers["x-sidecar-decision"]
    told = await fetch(stage, "admin", f"/api/v1/explain/{id}", headers=admin)
    assert (told.status, "before any policy was asked" in told.json["detail"]) == (409, True)


@pytest.mark.parametrize(("body", "words"), [(b"{", "no call"), (b"[]", "no JSON object"), (b'{"cal": {}}', "`cal` is none of"), (b'{"call": {"operatoin": 1}}', "`operatoin`")])  # fmt: skip
async def test_what_cannot_be_explained_is_told_why(stage, fetch, admin, body, words):
    told = await fetch(stage, "admin", "/api/v1/explain", method="POST", headers={**admin, "content-type": "application/json"}, data=body)
    assert (told.status, told.headers["content-type"]) == (400, "application/problem+json; charset=utf-8")
    assert words in told.json["detail"]


async def test_a_body_that_is_not_json_is_415(stage, fetch, admin):
    assert (await fetch(stage, "admin", "/api/v1/reload", method="POST", headers=admin, data=b"x")).status == 415


async def test_a_reload_is_asked_for_and_a_broken_one_says_where(stage, fetch, admin, ask):
    write(stage.directory, *stage.documents(), document("Policy", "closed", rules=[{"name": "all", "effect": "deny", "message": "Closed."}]))
    told = await fetch(stage, "admin", "/api/v1/reload", method="POST", headers=admin, json={})
    assert (told.status, told.json["configuration"]["healthy"]) == (200, True)
    assert (await ask(stage)).status == 403
    (stage.directory / "all.yaml").write_text("kind: Nothing\n")
    told = await fetch(stage, "admin", "/api/v1/reload", method="POST", headers=admin, json={})
    assert (told.status, told.json["configuration"]["healthy"]) == (409, False)
    assert told.json["why"] == ["the newest configuration does not load; the last good one is in force"]
    assert told.json["diagnostics"][0]["where"].startswith(f"{stage.directory}/all.yaml:1:")
    assert (await ask(stage)).status == 403, "the last good one is in force"
