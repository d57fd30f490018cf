"""A candidate decides the same live calls in the shadow: it changes none, what it would change is told, and it can be promoted."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from sidecar.server import promotion
from sidecar.testing import document, write

STRICT = document("Policy", "strict", match={"protocol": ["llm"], "operation": ["chat"]}, rules=[{"name": "no-mini", "when": 'call.model == "gpt-4o-mini"', "effect": "deny"}])  # fmt: skip
NO_WEATHER = document("Policy", "strict", match={"protocol": ["llm"], "operation": ["tool_call"], "target": ["weather"]}, rules=[{"name": "no-weather", "effect": "deny"}])  # fmt: skip
NO_STOP = document("Policy", "strict", match={"protocol": ["llm"], "operation": ["chat"], "phase": "response"}, rules=[{"name": "no-stop", "when": 'reply.finish == "stop"', "effect": "deny", "buffer": True}])  # fmt: skip
TOOLS = {"messages": [{"role": "user", "content": 'call weather {"city": "x"}'}], "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]}  # fmt: skip


@pytest.fixture
def shadowed(make_stage, tmp_path, until):
    """A stage with a candidate that was read: the usual documents changed by `change`, and these."""

    @contextlib.asynccontextmanager
    async def made(*more, change=None, live=()):
        def documents(stage):
            candidate = [*stage.documents(candidate=[str(tmp_path / "candidate")]), *more]
            if change is not None:
                candidate = change(candidate)
            write(tmp_path / "candidate", *candidate)
            return [*stage.documents(candidate=[str(tmp_path / "candidate")]), *live]

        async with make_stage(documents) as stage:
            await until(lambda: stage.sidecar.shadow.prepared.diagnostics or stage.sidecar.shadow.snapshot is not None)
            yield stage

    return made


@pytest.fixture
def report(fetch, admin_of, until):
    """`await report(stage, compared)`: what the admin port tells once so many decisions are compared and nothing waits."""

    async def told(stage, compared=0):
        admin = await admin_of(stage)
        await until(lambda: not stage.sidecar.shadow._queue and sum(stage.sidecar.shadow.report()["counts"].values()) >= compared)
        return (await fetch(stage, "admin", "/api/v1/candidate", headers=admin)).json

    return told


def counted(told):
    return {kind: count for kind, count in told["counts"].items() if count}


async def test_what_a_candidate_would_deny_goes_through_and_is_told_with_its_rule(shadowed, ask, report):
    async with shadowed(STRICT) as stage:
        assert (await ask(stage)).status == 200
        answer = await ask(stage, model="gpt-4o-mini")
        assert (answer.status, stage.upstream.count) == (200, 2)
        told = await report(stage, 2)
        assert counted(told) == {"same": 1, "newly_denied": 1}
        (group,) = told["groups"]
        assert (group["kind"], group["rules"], group["examples"]) == ("newly_denied", ["strict/no-mini"], [answer.headers["x-sidecar-decision"]])
        assert "candidate/" in group["where"][0]
        text = stage.sidecar.metrics.render().decode()
        assert 'sidecar_candidate_decisions_total{change="newly_denied"} 1.0' in text
        assert "sidecar_candidate_healthy 1.0" in text


async def test_what_a_candidate_would_allow_stays_refused(shadowed, ask, report):
    def kinder(made):
        return [each for each in made if each["metadata"]["name"] != "tools"] + [
            document("Policy", "kind", match={"protocol": ["llm"]}, rules=[{"name": "all", "effect": "allow"}])
        ]

    async with shadowed(change=kinder) as stage:
        assert (await ask(stage, "poor")).status == 403
        assert stage.upstream.count == 0
        told = await report(stage, 1)
        assert counted(told) == {"newly_allowed": 1}


async def test_proposed_tools_and_replies_are_compared_too(shadowed, ask, report):
    async with shadowed(NO_WEATHER) as stage:
        assert (await ask(stage, **TOOLS)).status == 200
        told = await report(stage, 2)
        assert [(group["kind"], group["rules"]) for group in told["groups"]] == [("newly_denied", ["strict/no-weather"])]


SHAPES = {
    "streamed": ("/v1/chat/completions", {"stream": True, **TOOLS}),
    "messages": ("/v1/messages", {"messages": TOOLS["messages"], "tools": [{"name": "weather", "input_schema": {"type": "object"}}]}),
    "messages, streamed": ("/v1/messages", {"stream": True, "messages": TOOLS["messages"], "tools": [{"name": "weather", "input_schema": {"type": "object"}}]}),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_proposals_are_compared_in_every_shape_and_reach_the_caller(shadowed, ask, report, shape):
    path, body = SHAPES[shape]
    async with shadowed(NO_WEATHER) as stage:
        answer = await ask(stage, "dev", path, **body)
        assert (answer.status, "weather" in answer.text, "denied by" in answer.text) == (200, True, False)
        told = await report(stage, 2)
        assert [(group["kind"], group["rules"]) for group in told["groups"]] == [("newly_denied", ["strict/no-weather"])]


@pytest.mark.parametrize("stream", [False, True])
async def test_replies_are_compared_at_their_end_although_no_rule_in_force_judges_them(shadowed, ask, report, stream):
    async with shadowed(NO_STOP) as stage:
        answer = await ask(stage, stream=stream)
        assert (answer.status, "stop" in answer.text) == (200, True)
        told = await report(stage, 2)
        assert [(group["kind"], group["rules"], group["count"]) for group in told["groups"]] == [("newly_denied", ["strict/no-stop"], 1)]
        assert counted(told) == {"same": 1, "newly_denied": 1}
        assert [row["effect"] for row in stage.records()] == ["allow"]


async def test_a_reply_of_which_the_candidate_says_nothing_either_is_not_counted(shadowed, ask, report):
    async with shadowed(STRICT) as stage:
        assert (await ask(stage)).status == 200
        assert counted(await report(stage, 1)) == {"same": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_replies_are_compared_whole_and_at_their_end(shadowed, ask, report, stream):
    live = document("Policy", "heard", match={"protocol": ["llm"], "operation": ["chat"], "phase": "response"}, rules=[{"name": "all", "when": 'reply.finish == "never"', "effect": "deny", "buffer": True}])  # fmt: skip

    async with shadowed(NO_STOP, live=[live]) as stage:
        assert (await ask(stage, stream=stream)).status == 200
        told = await report(stage, 2)
        assert ("newly_denied", ["strict/no-stop"]) in [(group["kind"], group["rules"]) for group in told["groups"]]


async def test_a_proposal_is_compared_under_the_model_that_was_asked(shadowed, ask, report):
    asked = document("Policy", "strict", match={"protocol": ["llm"], "operation": ["tool_call"]}, rules=[{"name": "not-of-4o", "when": 'call.requested_model == "gpt-4o"', "effect": "deny"}])  # fmt: skip
    async with shadowed(asked) as stage:
        assert (await ask(stage, **TOOLS)).status == 200
        told = await report(stage, 2)
        assert [(group["kind"], group["rules"]) for group in told["groups"]] == [("newly_denied", ["strict/not-of-4o"])]


async def test_a_candidate_counts_quotas_in_a_store_of_its_own(shadowed, ask, report):
    tight = document("Quota", "tight", match={"subjects": ["key:dev"]}, limits=[{"metric": "requests", "max": 1, "per": "1m"}])
    async with shadowed(tight) as stage:
        assert [(await ask(stage)).status for _ in range(3)] == [200, 200, 200]
        told = await report(stage, 3)
        assert counted(told) == {"same": 1, "newly_denied": 2}
        assert told["groups"][0]["rules"] == ["tight"]
        assert "tight" not in json.dumps([row["by"] for row in stage.records()])


async def test_true_usage_reaches_the_counters_of_the_candidate(shadowed, ask, report):
    budget = document("Quota", "budget", match={"subjects": ["key:dev"]}, limits=[{"metric": "output_tokens", "max": 120, "per": "1h"}])
    async with shadowed(budget) as stage:
        assert [(await ask(stage)).status for _ in range(4)] == [200] * 4
        told = await report(stage, 4)
        assert counted(told) == {"same": 4}  # reserved at 50 each, settled at what the upstream told


async def test_a_broken_candidate_compares_nothing_and_is_told(shadowed, ask, report):
    async with shadowed(document("Policy", "bad", rules=[{"name": "r", "effect": "deny", "when": 'call.modle == "x"'}])) as stage:
        assert (await ask(stage)).status == 200
        told = await report(stage)
        assert (told["healthy"], told["digest"], counted(told)) == (False, None, {})
        assert any("modle" in item["message"] for item in told["diagnostics"])
        assert "sidecar_candidate_healthy 0.0" in stage.sidecar.metrics.render().decode()


async def test_a_candidate_without_settings_is_no_whole_configuration(shadowed, report):
    async with shadowed(change=lambda made: made[1:]) as stage:
        told = await report(stage)
        assert [item["code"] for item in told["diagnostics"]] == ["candidate"]


async def test_an_edit_of_the_candidate_begins_a_new_count(shadowed, ask, report, until):
    async with shadowed(STRICT) as stage:
        await ask(stage, model="gpt-4o-mini")
        assert counted(await report(stage, 1)) == {"newly_denied": 1}
        before = stage.sidecar.shadow.snapshot.digest
        write(stage.directory.parent / "candidate", *stage.documents(candidate=[str(stage.directory.parent / "candidate")]))
        await until(lambda: stage.sidecar.shadow.snapshot is not None and stage.sidecar.shadow.snapshot.digest != before)
        assert counted(await report(stage)) == {}


async def test_what_waits_is_bounded_and_what_is_dropped_is_counted(shadowed, ask, monkeypatch):
    async with shadowed(STRICT) as stage:
        monkeypatch.setattr("sidecar.shadow.BYTES", 10)
        assert (await ask(stage)).status == 200
        assert stage.sidecar.shadow.dropped == 1
        assert "sidecar_candidate_dropped_total 1.0" in stage.sidecar.metrics.render().decode()


async def test_a_bug_in_a_load_is_loud_and_the_candidate_is_still_watched(shadowed, report, until, monkeypatch, capfd):
    async with shadowed(STRICT) as stage:
        shadow, before = stage.sidecar.shadow, stage.sidecar.shadow.snapshot.digest
        with monkeypatch.context() as broken:
            broken.setattr("sidecar.shadow.prepare", lambda *_: {}["gone"])
            await shadow.load()
        assert "bug: KeyError" in capfd.readouterr().err
        write(stage.directory.parent / "candidate", *stage.documents(candidate=[str(stage.directory.parent / "candidate")]))
        await until(lambda: shadow.snapshot is not None and shadow.snapshot.digest != before)


async def test_reservations_whose_settlement_was_dropped_are_let_go(shadowed, ask, report, monkeypatch):
    tight = document("Quota", "tight", match={"subjects": ["key:dev"]}, limits=[{"metric": "requests", "max": 99, "per": "1m"}])
    async with shadowed(tight) as stage:
        monkeypatch.setattr(stage.sidecar.shadow, "settled", lambda *_: None)
        monkeypatch.setattr("sidecar.shadow.WAITING", 3)
        for compared in range(1, 7):
            assert (await ask(stage)).status == 200
            await report(stage, compared)
        assert len(stage.sidecar.shadow._tokens) == 3


async def test_a_bug_in_the_shadow_is_loud_and_no_call_hears_of_it(shadowed, ask, report, monkeypatch, capfd):
    async with shadowed(STRICT) as stage:
        monkeypatch.setattr("sidecar.shadow.known", lambda *_: {}["gone"])
        assert [(await ask(stage)).status for _ in range(2)] == [200, 200]
        await report(stage)
        assert "bug: KeyError" in capfd.readouterr().err


# ---------------------------------------------------------------- promotion


@pytest.fixture
def promote(admin_of):
    async def asked(stage, digest):
        url = f"http://127.0.0.1:{stage.port('admin')}/api/v1/candidate/promote"
        async with aiohttp.ClientSession() as session, session.post(url, headers=await admin_of(stage), json={"digest": digest}) as answer:
            return answer.status, await answer.json()

    return asked


async def test_a_promoted_candidate_decides_the_next_call(shadowed, ask, report, promote):
    async with shadowed(STRICT) as stage:
        assert (await ask(stage, model="gpt-4o-mini")).status == 200
        digest = (await report(stage, 1))["digest"]
        status, told = await promote(stage, digest)
        assert (status, told["digest"], told["generation"]) == (200, digest, 2)
        assert (await ask(stage, model="gpt-4o-mini")).status == 403
        assert stage.upstream.count == 1
        assert (await report(stage))["promoted"] is True
        assert promotion.standing(stage.state, [str(stage.directory)]) == (str(stage.directory.parent / "candidate"),)
        assert (await promote(stage, digest))[0] == 409


async def test_a_promoted_candidate_is_watched_in_place_of_the_old_directories(shadowed, ask, report, until, promote):
    async with shadowed(STRICT) as stage:
        assert (await promote(stage, (await report(stage))["digest"]))[0] == 200
        assert (await ask(stage, model="gpt-4o-mini")).status == 403
        write(stage.directory.parent / "candidate", *stage.documents(candidate=[str(stage.directory.parent / "candidate")]))
        await until(lambda: stage.sidecar.live.current.generation == 3)
        assert (await ask(stage, model="gpt-4o-mini")).status == 200


async def test_a_promotion_that_cannot_be_written_down_is_in_force_and_says_so(shadowed, ask, report, promote, capfd):
    async with shadowed(STRICT) as stage:
        digest = (await report(stage))["digest"]
        (stage.state / f"{promotion.FILE}.new").mkdir()
        status, told = await promote(stage, digest)
        assert (status, told["digest"], told["kept"]) == (200, digest, False)
        assert (await ask(stage, model="gpt-4o-mini")).status == 403
        assert "could not be written down" in capfd.readouterr().err


async def test_a_promotion_whose_ground_cannot_be_read_changes_nothing(shadowed, ask, report, promote):
    async with shadowed(STRICT) as stage:
        digest = (await report(stage))["digest"]
        (stage.directory / "gone.yaml").symlink_to(stage.directory / "nowhere.yaml")
        assert (await promote(stage, digest))[0] == 409
        assert (await ask(stage, model="gpt-4o-mini")).status == 200
        assert stage.sidecar.live.current.generation == 1


async def test_what_is_promoted_is_what_was_looked_at(shadowed, report, promote):
    async with shadowed(STRICT) as stage:
        status, told = await promote(stage, "0" * 64)
        assert status == 409
        assert "another" in told["detail"]
        assert stage.sidecar.live.current.generation == 1
        assert (await promote(stage, None))[0] == 409


async def test_a_candidate_that_fails_its_own_tests_is_not_promoted(shadowed, ask, report, promote):
    failing = document(
        "Test",
        "wrong",
        principals={"dev": {"id": "key:dev"}},
        calls={"hello": {"operation": "chat", "target": "gpt-4o"}},
        expect=[{"principal": "dev", "call": "hello", "effect": "deny"}],
    )
    async with shadowed(failing) as stage:
        status, told = await promote(stage, (await report(stage))["digest"])
        assert status == 409
        assert [item["code"] for item in told["diagnostics"]] == ["test-failed"]
        assert (await ask(stage)).status == 200


async def test_without_a_candidate_there_is_nothing_to_see_or_promote(stage, fetch, admin_of, promote):
    assert (await fetch(stage, "admin", "/api/v1/candidate", headers=await admin_of(stage))).status == 404
    assert (await promote(stage, "x"))[0] == 404


def test_a_promotion_ends_when_the_old_directories_change(tmp_path):
    old, new = write(tmp_path / "old", STRICT), write(tmp_path / "new", NO_WEATHER)
    assert promotion.standing(tmp_path, [str(old)]) == ()
    promotion.keep(tmp_path, promotion.fingerprint([str(old)]), [str(new)])
    assert promotion.standing(tmp_path, [str(old)]) == (str(new),)
    write(old, NO_STOP)
    assert promotion.standing(tmp_path, [str(old)]) == ()
    (tmp_path / promotion.FILE).write_text("{")
    assert promotion.standing(tmp_path, [str(old)]) == ()


async def test_the_answer_does_not_wait_for_the_candidate(shadowed, ask, monkeypatch):
    async with shadowed(STRICT) as stage:
        held = asyncio.Event()
        monkeypatch.setattr(stage.sidecar.shadow, "_step", held.set)
        assert (await ask(stage)).status == 200
        assert len(stage.sidecar.shadow._queue) >= 1
