"""The configuration changes under a running process: what is good bites at the next call, what is not changes nothing and is told."""

import asyncio
import shutil

import aiohttp
import pytest

from sidecar.testing import FrozenClock, document, write

DENY = document("Policy", "later", rules=[{"name": "no-more", "effect": "deny", "message": "Not any more."}])
BROKEN = document("Policy", "later", rules=[{"name": "no-more", "effect": "deny", "when": 'call.modle == "x"'}])


async def edit(stage, *more, change=None, directory=None):
    """Write the usual documents and these; says whether the new configuration is in force."""
    made = [*([] if directory else stage.documents()), *more]
    if change is not None:
        change(made)
    write(directory or stage.directory, *made)
    return await stage.sidecar.live.reload()


@pytest.fixture
def status_of(fetch, admin_of):
    """What the admin port says."""

    async def status(stage):
        return (await fetch(stage, "admin", "/api/v1/status", headers=await admin_of(stage))).json

    return status


async def ready(stage):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{stage.port('health')}/readyz") as answer:
        return answer.status, (await answer.text()).strip()


async def test_an_edited_rule_decides_the_next_call(stage, ask):
    assert (await ask(stage)).status == 200
    before = stage.sidecar.live.current
    assert await edit(stage, DENY)
    assert (await ask(stage)).status == 403
    assert stage.upstream.count == 1
    after = stage.sidecar.live.current
    assert (after.generation, after.snapshot.digest == before.snapshot.digest) == (before.generation + 1, False)
    assert [row["snapshot"] for row in stage.records()] == [before.snapshot.digest, after.snapshot.digest]
    assert await edit(stage)
    assert (await ask(stage)).status == 200


async def test_nothing_changed_is_nothing_swapped(stage):
    before = stage.sidecar.live.current
    assert await edit(stage)
    assert stage.sidecar.live.current is before


async def test_a_broken_edit_keeps_the_last_good_and_is_told(stage, ask, status_of):
    assert await ready(stage) == (200, "ready")
    assert await edit(stage, DENY)
    assert not await edit(stage, BROKEN)
    assert (await ask(stage)).status == 403, "the last good one"
    told = await status_of(stage)
    assert told["ready"]
    assert told["configuration"] == {"healthy": False, "loads": 2, "failures": 1}
    assert told["why"] == ["the newest configuration does not load; the last good one is in force"]
    (error,) = [one for one in told["diagnostics"] if one["severity"] == "error"]
    assert "modle" in error["message"]
    assert "call.model" in error["hint"]
    file, line, column = error["where"].rsplit(":", 2)
    assert file.endswith("all.yaml")
    assert "modle" in (stage.directory / "all.yaml").read_text().splitlines()[int(line) - 1][int(column) - 1 :]
    assert await ready(stage) == (200, "stale"), "it serves, but not what was asked for"
    assert "sidecar_config_healthy 0.0" in stage.sidecar.metrics.render().decode()
    assert await edit(stage)
    assert (await ask(stage)).status == 200
    told = await status_of(stage)
    assert (told["configuration"]["healthy"], told["why"], [one for one in told["diagnostics"] if one["severity"] == "error"]) == (True, [], [])
    assert await ready(stage) == (200, "ready")
    assert "sidecar_config_healthy 1.0" in stage.sidecar.metrics.render().decode()


async def test_an_edit_that_is_taken_back_is_healthy_again(stage):
    before = stage.sidecar.live.current
    assert not await edit(stage, BROKEN)
    assert await edit(stage)
    assert stage.sidecar.live.outcome.healthy
    assert stage.sidecar.live.current.snapshot.digest == before.snapshot.digest


@pytest.mark.parametrize("text", ["a: [", "kind: Nothing\n", "\x00", "", "apiVersion: sidecar.dev/v2\nkind: Policy\n", "- 1\n"])
async def test_no_garbage_in_a_file_lets_go_of_what_is_in_force(stage, ask, text):
    (stage.directory / "more.yaml").write_text(text)
    done = await stage.sidecar.live.reload()
    assert done == (text == ""), "an empty file says nothing, and nothing is wrong with that"
    assert (await ask(stage, temperature=2.0)).status == 403


async def test_a_directory_that_is_gone_lets_go_of_nothing(stage, ask):
    shutil.rmtree(stage.directory)
    assert not await stage.sidecar.live.reload()
    assert (await ask(stage, temperature=2.0)).status == 403
    assert await edit(stage, DENY)
    assert (await ask(stage)).status == 403


async def test_a_failing_test_refuses_the_swap(stage, ask, status_of):
    test = document(
        "Test",
        "promise",
        principals={"dev": {"id": "key:dev"}},
        calls={"hello": {"operation": "chat", "target": "gpt-4o"}},
        expect=[{"principal": "dev", "call": "hello", "effect": "allow"}],
    )
    assert await edit(stage, test)
    assert not await edit(stage, test, DENY)
    assert (await ask(stage)).status == 200
    (error,) = [one for one in (await status_of(stage))["diagnostics"] if one["severity"] == "error"]
    assert "promise" in error["message"]
    assert "later/no-more" in error["message"], "and says which rule broke it"


@pytest.fixture
def layered(make_stage, tmp_path):
    """A stage with a team's layer, and where that lies."""
    team = document("Policy", "team", rules=[{"name": "cheap", "effect": "deny", "when": 'call.model == "gpt-4o-mini"'}])
    return lambda *more, **options: make_stage(layers=[[team, *more]], **options), tmp_path / "layer1"


MINI = {"model": "gpt-4o-mini"}


async def test_a_broken_second_layer_holds_back_nothing_but_itself(layered, ask, status_of):
    make, team = layered
    async with make() as stage:
        await edit(stage, BROKEN, directory=team)
        told = await status_of(stage)
        assert not told["configuration"]["healthy"], "a layer that is broken alone is told as well"
        assert any("modle" in one["message"] for one in told["diagnostics"])
        assert (await ask(stage, **MINI)).status == 403, "the team's last good is in force"
        assert (await ask(stage)).status == 200
        await edit(stage, DENY)
        assert (await ask(stage)).status == 403, "the base went on"
        assert not (await status_of(stage))["configuration"]["healthy"]
        assert not await edit(stage)
        assert (await ask(stage)).status == 200
        assert await edit(stage, document("Policy", "team", rules=[{"name": "none", "effect": "warn", "message": "x"}]), directory=team)
        assert stage.sidecar.live.outcome.healthy
        assert (await ask(stage, **MINI)).status == 200


async def test_a_second_layer_that_is_gone_holds_back_nothing_but_itself(layered, ask):
    make, team = layered
    async with make() as stage:
        shutil.rmtree(team)
        assert not await edit(stage, DENY)
        assert (await ask(stage)).status == 403, "the base went on"
        assert not await edit(stage)
        assert ((await ask(stage)).status, (await ask(stage, **MINI)).status) == (200, 403), "and the team's last good is in force"


async def test_a_broken_base_changes_nothing_even_with_a_good_team(layered, ask):
    make, team = layered
    async with make() as stage:
        assert not await edit(stage, BROKEN)
        assert not await edit(stage, DENY, directory=team)
        assert (await ask(stage)).status == 200
        assert (await ask(stage, **MINI)).status == 403


async def test_a_team_that_breaks_a_test_of_the_base_holds_back_nothing_but_itself(layered, ask):
    make, team = layered
    test = document(
        "Test",
        "promise",
        principals={"dev": {"id": "key:dev"}},
        calls={"hello": {"operation": "chat", "target": "gpt-4o"}},
        expect=[{"principal": "dev", "call": "hello", "effect": "allow"}],
    )
    async with make() as stage:
        assert await edit(stage, test)
        await edit(stage, DENY, directory=team)
        assert not stage.sidecar.live.outcome.healthy
        assert (await ask(stage)).status == 200, "the team's edit is not in force"
        warm = document("Policy", "warm", rules=[{"name": "w", "effect": "deny", "when": "call.params.?temperature.orValue(0) > 0.5"}])
        await edit(stage, test, warm)
        assert (await ask(stage, temperature=0.7)).status == 403, "the base's is"
        assert (await ask(stage)).status == 200


async def test_calls_under_way_keep_the_snapshot_they_began_with(stage, ask, until):
    stage.upstream.delay = 0.3
    first = asyncio.ensure_future(ask(stage, stream=True))
    await until(lambda: stage.upstream.count)
    old = stage.sidecar.live.current
    assert await edit(stage, DENY)
    assert old.calls == 1
    assert (await ask(stage)).status == 403
    answer = await first
    assert "[DONE]" in answer.text
    await asyncio.wait_for(old.done.wait(), 5)
    assert old.calls == 0


async def test_counters_and_owners_outlive_a_reload(make_stage, ask):
    def quota(most):
        return document("Quota", "q", match={"subjects": ["key:dev"]}, limits=[{"metric": "requests", "max": most, "per": "1h"}])

    body = {"path": "/v1/responses", "input": "hi", "messages": None, "max_tokens": None}
    async with make_stage(lambda stage: [*stage.documents(), quota(3)], clock=FrozenClock()) as stage:
        made = (await ask(stage, **body)).json["id"]
        assert await edit(stage, quota(4))
        assert (await ask(stage, previous_response_id=made, **body)).status == 200
        assert (await ask(stage, "other", previous_response_id=made, **body)).status == 404
        assert [(await ask(stage)).status for _ in range(3)] == [200, 200, 429], "two were used before"


async def test_a_key_taken_out_is_nobody_at_once(stage, ask):
    def without(made):
        keys = next(one for one in made if one["kind"] == "Identity")["spec"]["methods"][0]["apiKey"]["keys"]
        keys[:] = [key for key in keys if key["id"] != "dev"]

    assert (await ask(stage)).status == 200
    assert await edit(stage, change=without)
    assert (await ask(stage)).status == 401
    assert (await ask(stage, "other")).status == 200


@pytest.mark.parametrize("more", [{"mode": "audit"}, {"default": {"effect": "allow"}}, {"denials": {"disclose": "id"}}], ids=str)
async def test_settings_wait_for_a_restart_and_say_so(stage, ask, more, status_of):
    def settings(made):
        made[0]["spec"] |= more

    assert await edit(stage, DENY, change=settings)
    no = await ask(stage, "poor")
    assert no.status == 403, "the rules are live, the bootstrap is not"
    assert (await ask(stage)).json["error"]["message"].startswith("Not any more.")
    assert any("restart" in one["message"] for one in (await status_of(stage))["diagnostics"])


async def test_an_upstream_that_cannot_be_built_keeps_the_last_good(stage, ask):
    def nowhere(made):
        next(one for one in made if one["metadata"]["name"] == "up-openai")["spec"]["url"] = "http://[::1"

    assert not await edit(stage, change=nowhere)
    assert not stage.sidecar.live.outcome.healthy
    assert (await ask(stage)).status == 200


async def test_a_bug_in_a_load_is_loud_and_the_next_load_is_another(stage, ask, capsys, monkeypatch):
    async def fails(snapshot):
        raise ZeroDivisionError("secret" + " text")

    with monkeypatch.context() as patch:
        patch.setattr(stage.sidecar.live, "_build", fails)
        assert not await edit(stage, DENY)
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "secret text" not in shown
    assert (await ask(stage)).status == 200
    assert await edit(stage, DENY, document("Policy", "two", rules=[{"name": "x", "effect": "deny"}]))
    assert (await ask(stage)).status == 403
