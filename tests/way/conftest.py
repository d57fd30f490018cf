"""The stage of the wire tests: a real sidecar in this loop, a counting upstream behind it, real SDK clients before it."""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.credentials import keys
from sidecar.testing import CountingUpstream, document, running, write

TOKENS = {name: keys.make(bytes([index]) * 24) for index, name in enumerate(("dev", "poor", "tiny", "broke", "other"), start=1)}
MODELS = {
    "openai": ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "omni-moderation-latest"),
    "anthropic": ("claude-sonnet-5-5",),
    "gemini": ("gemini-2.5-flash",),
}


def settings(**more):
    ports = {name: {"host": "127.0.0.1", "port": 0} for name in ("listen", "admin", "health")}
    return document("Settings", "way", **{**ports, "records": {"sinks": [{"file": "decisions.jsonl"}]}, **more})


def identity():
    entries = [{"id": name, "sha256": keys.digest(token), "team": f"t-{name}"} for name, token in TOKENS.items()]
    return document("Identity", "way", methods=[{"apiKey": {"keys": entries}}])


def upstream(dialect, url, **more):
    price = {"input": 1.0, "output": 2.0, "per": "1M"}
    models = [{"name": name, "price": price, "maxOutput": 1000} for name in MODELS[dialect]]
    waits = {"connect": "500ms", "firstByte": "400ms", "idle": "400ms"}
    return document("Upstream", f"up-{dialect}", **{"protocol": "llm", "dialect": dialect, "url": url, "credential": {"env": "UP_KEY"}, "models": models, "timeouts": waits, "retry": {"attempts": 1}, **more})  # fmt: skip


def policies():
    return (
        document(
            "Policy",
            "base",
            match={"protocol": ["llm"], "operation": ["*"]},
            rules=[
                {"name": "known", "when": 'principal.id != "key:poor"', "effect": "allow"},
                {"name": "cool", "when": "call.params.?temperature.orValue(0) > 1.5", "effect": "deny", "message": "Keep it cool.", "help": "https://example.com/cool"},
            ],
        ),
        document(
            "Policy",
            "tools",
            match={"protocol": ["llm"], "operation": ["tool_call"], "target": ["rm", "web_search*"]},
            rules=[{"name": "no-rm", "effect": "deny", "message": "Nothing is removed here."}],
        ),
        document("Quota", "one-a-minute", match={"subjects": ["key:tiny"]}, limits=[{"metric": "requests", "max": 1, "per": "1m"}]),
        document("Quota", "penniless", match={"subjects": ["key:broke"]}, limits=[{"metric": "cost_usd", "max": 0.0000001, "per": "month"}]),
    )


@dataclass
class Stage:
    upstream: CountingUpstream
    directory: Path
    sidecar: object = None
    tokens: dict = field(default_factory=lambda: TOKENS)

    @property
    def base(self):
        return f"http://127.0.0.1:{self.sidecar.ports['data']}"

    def port(self, name):
        return self.sidecar.ports[name]

    @property
    def state(self):
        return self.sidecar.state

    def records(self):
        path = self.state / "decisions.jsonl"
        return [row for row in map(json.loads, path.read_text().splitlines()) if "effect" in row] if path.exists() else []

    def documents(self, **more):
        urls = {"openai": self.upstream.url, "anthropic": self.upstream.url, "gemini": self.upstream.url.replace("/v1", "/v1beta")}
        return [settings(**more), identity(), *(upstream(name, url) for name, url in urls.items()), *policies()]


@contextlib.asynccontextmanager
async def staged(tmp_path, documents=None, environ=None, **options):
    """A running stage. `documents` is a callable from the stage to documents, or None for the usual ones."""
    async with CountingUpstream().running() as up:
        stage = Stage(up, tmp_path / "policies")
        made = documents(stage) if documents else stage.documents()
        write(stage.directory, *made)
        env = {"UP_KEY": "upstream-secret", **(environ or {})}
        async with running(stage.directory, environ=env, state=tmp_path / "state", **options) as app:
            stage.sidecar = app
            yield stage


@pytest.fixture
async def stage(tmp_path):
    async with staged(tmp_path) as made:
        yield made


@pytest.fixture
def make_stage(tmp_path):
    """`async with make_stage(documents) as stage`."""
    return lambda documents=None, **options: staged(tmp_path, documents, **options)


@pytest.fixture
def tokens():
    return TOKENS
