"""Before and around a load: what stops a start, what the watcher notices, and what a large reload does to calls."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time

import aiohttp
import pytest

from sidecar import live
from sidecar.testing import document, write

DENY = document("Policy", "later", rules=[{"name": "no-more", "effect": "deny", "message": "Not any more."}])


@pytest.fixture
def swapped(until):
    """Wait for the configuration after this generation."""
    return lambda stage, generation: until(lambda: stage.sidecar.live.current.generation > generation)


async def test_the_watcher_reloads_by_itself(stage, ask, swapped):
    write(stage.directory, *stage.documents(), DENY)
    await swapped(stage, 1)
    assert (await ask(stage)).status == 403
    write(stage.directory, *stage.documents())
    await swapped(stage, 2)
    assert (await ask(stage)).status == 200


async def test_the_watcher_sees_a_mounted_directory_change(stage, ask, swapped):
    """As a ConfigMap is mounted: files are links into `..data`, itself a link that is replaced as a whole."""
    for name, more in (("..1", ()), ("..2", (DENY,))):
        write(stage.directory / name, *stage.documents(), *more)
    (stage.directory / "all.yaml").unlink()
    (stage.directory / "..data").symlink_to("..1")
    (stage.directory / "all.yaml").symlink_to("..data/all.yaml")
    assert await stage.sidecar.live.reload()
    generation = stage.sidecar.live.current.generation
    (stage.directory / "..new").symlink_to("..2")
    (stage.directory / "..new").replace(stage.directory / "..data")
    await swapped(stage, generation)
    assert (await ask(stage)).status == 403


async def test_the_watcher_finds_a_directory_that_was_replaced(stage, ask, monkeypatch, swapped):
    monkeypatch.setattr(live, "POLL", 0.2)
    write(stage.directory, *stage.documents(), DENY)
    await swapped(stage, 1)
    other = write(stage.directory.parent / "other", *stage.documents())
    shutil.rmtree(stage.directory)
    other.rename(stage.directory)
    await swapped(stage, 2)
    assert (await ask(stage)).status == 200


# ---------------------------------------------------------------- start


def with_settings(stage, **more):
    return [document("Settings", "s", **more), *stage.documents()[1:]]


FAILING = document(
    "Test",
    "promise",
    principals={"poor": {"id": "key:poor"}},
    calls={"hello": {"operation": "chat", "target": "gpt-4o"}},
    expect=[{"principal": "poor", "call": "hello", "effect": "allow"}],
)
BAD = {
    "condition": (document("Policy", "p", rules=[{"name": "r", "effect": "deny", "when": 'call.modle == "x"'}]), "hint: did you mean `call.model`?"),
    "field": (document("Policy", "p", rules=[{"name": "r", "effekt": "deny"}]), "did you mean `effect`"),
    "test": (FAILING, "test `promise: poor / hello` failed"),
    "later": (document("Guardrail", "g", use="pii"), "guardrails are not built in this release"),
    "core": (None, "nothing provides the core `nowhere`"),
    "gone": (None, "no such file or directory"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration_exits_3_before_a_port_opens(tmp_path, case):
    """Its ports are taken here: whoever tried to open one would say so and exit 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = document("Settings", "s", listen={"port": port}, admin={"port": 0}, health={"port": 0}, **({"core": "nowhere"} if case == "core" else {}))
        bad, words = BAD[case]
        directory = tmp_path / "bad"
        if case != "gone":
            write(directory, settings, *([bad] if bad else []), document("Identity", "i", methods=[{"anonymous": {}}]))
        environ = {"SIDECAR_STATE": str(tmp_path / "state"), "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", "run", "-c", str(directory)], env=environ, capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.returncode, done.stdout) == (3, "")
        assert words in done.stderr.lower().replace("guardrail`: ", "") or words in done.stderr
        assert "Traceback" not in done.stderr
        if bad is not None:
            assert f"{directory}/all.yaml:" in done.stderr, "file:line:column"


# ---------------------------------------------------------------- many


MANY = 10_000


def heap(count, serial):
    """Policies with that many rules between them, none of which matches anybody's call."""
    for index in range(0, count, 100):
        rules = [{"name": f"r{one}", "effect": "deny", "when": f'call.params.?user.orValue("") == "u{index + one}-{serial}"'} for one in range(100)]
        yield document("Policy", f"heap-{index}", match={"target": [f"m{index}", "gpt-4o"] if index == 0 else [f"m{index}"]}, rules=rules)


async def test_ten_thousand_rules_are_swapped_in_under_load(stage, capsys):
    body = {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": "hello there"}]}
    headers = {"authorization": f"Bearer {stage.tokens['dev']}"}
    (stage.directory / "heap.yaml").write_text("\n---\n".join(json.dumps(one) for one in heap(MANY, 1)))  # JSON is YAML, and quickly written
    loading = asyncio.ensure_future(stage.sidecar.live.reload())
    slowest, statuses = 0.0, []
    async with aiohttp.ClientSession() as session:
        while not loading.done():
            began = time.perf_counter()
            async with session.post(f"{stage.base}/v1/chat/completions", json=body, headers=headers) as answer:
                statuses.append(answer.status)
            slowest = max(slowest, time.perf_counter() - began)
        assert await loading
        async with session.post(f"{stage.base}/v1/chat/completions", json={**body, "user": "u7-1"}, headers=headers) as answer:
            assert answer.status == 403
    assert set(statuses) == {200}
    with capsys.disabled():
        print(f"\nreload of {MANY} rules: {len(statuses)} calls meanwhile, slowest {slowest * 1000:.0f} ms")
