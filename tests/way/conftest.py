"""The stage of the wire tests: a real sidecar in this loop, a counting upstream behind it, real SDK clients before it."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
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
                {
                    "name": "cool",
                    "when": "call.params.?temperature.orValue(0) > 1.5",
                    "effect": "deny",
                    "message": "Keep it cool.",
                    "help": "https://example.com/cool",
                },
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

    def patient(self, **more):
        """The usual documents with upstreams that may take their time: for tests in which somebody else must make the end."""
        made = self.documents(**more)
        for each in made:
            if each["kind"] == "Upstream":
                each["spec"]["timeouts"] = {"connect": "5s", "firstByte": "60s", "idle": "60s"}
        return made


@contextlib.asynccontextmanager
async def staged(tmp_path, documents=None, environ=None, layers=(), **options):
    """A running stage. `documents` is a callable from the stage to documents, or None for the usual ones; `layers` are lists of more."""
    async with CountingUpstream().running() as up:
        stage = Stage(up, tmp_path / "policies")
        made = documents(stage) if documents else stage.documents()
        write(stage.directory, *made)
        env = {"UP_KEY": "upstream-secret", **(environ or {})}
        more = [write(tmp_path / f"layer{index}", *layer) for index, layer in enumerate(layers, start=1)]
        async with running(stage.directory, *more, environ=env, state=tmp_path / "state", **options) as app:
            stage.sidecar = app
            yield stage


@pytest.fixture
async def stage(tmp_path):
    async with staged(tmp_path) as made:
        yield made


@pytest.fixture
async def patient_stage(tmp_path):
    async with staged(tmp_path, Stage.patient) as made:
        yield made


@pytest.fixture
def make_stage(tmp_path):
    """`async with make_stage(documents) as stage`; `name` keeps the files of several stages of one test apart."""
    return lambda documents=None, name="", **options: staged(tmp_path / name, documents, **options)


@pytest.fixture
def tokens():
    return TOKENS


@dataclass
class Answered:
    """One answer, read whole."""

    status: int
    headers: dict
    text: str

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def code(self):
        """The stable slug of a refusal, in whichever dialect."""
        error = self.json["error"]
        return error.get("code") or error["details"]["error_code"]


async def sent(stage, who="dev", path="/v1/chat/completions", *, method="POST", headers=None, **fields):
    """Ask with the key of `who`; `fields` over a small body of the dialect. A streamed answer is read to its end."""
    anthropic = path.startswith("/v1/messages")
    model = "claude-sonnet-5-5" if anthropic else "gpt-4o"
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "hello there"}], **fields}
    token = stage.tokens.get(who, who)
    sends = {} if method == "GET" else {"json": {name: value for name, value in body.items() if value is not None}}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, stage.base + path, headers={"authorization": f"Bearer {token}", **(headers or {})}, **sends) as answer,
    ):
        try:
            text = (await answer.read()).decode()
        except aiohttp.ClientPayloadError:
            text = ""
        return Answered(answer.status, {name.lower(): value for name, value in answer.headers.items()}, text)


@pytest.fixture
def ask():
    """`await ask(stage, who, path, **body)`."""
    return sent


@pytest.fixture
def fetch():
    """`await fetch(stage, port, path)` from any of the ports: data, admin, health."""

    async def fetched(stage, port, path, *, method="GET", headers=None, **sends):
        url = f"http://127.0.0.1:{stage.port(port)}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, headers=headers, **sends) as answer:
            return Answered(answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.text())

    return fetched


@pytest.fixture
def admin_of():
    """`await admin_of(stage)`: headers with the admin credential, once the admin port is open."""

    async def opened(stage):
        await asyncio.wait_for(asyncio.shield(stage.sidecar._opening), 10)
        return {"authorization": f"Bearer {(stage.state / 'admin.token').read_text().strip()}"}

    return opened


class Ended:
    """Hears of every call that is over; `await ended.one(status)` waits for one that ended so."""

    def __init__(self):
        self.seen = []
        self._news = asyncio.Condition()
        self._tasks = set()

    def __call__(self, read, decision, status, settlement):
        self.seen.append((status, decision, settlement))
        task = asyncio.ensure_future(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self):
        async with self._news:
            self._news.notify_all()

    async def one(self, *statuses, limit=5):
        """(decision, settlement) of the newest call that ended with one of these statuses."""

        def found():
            return [entry for entry in self.seen if entry[0] in statuses]

        async with asyncio.timeout(limit), self._news:
            await self._news.wait_for(found)
        return found()[-1][1:]


@pytest.fixture
def ended():
    return Ended()


@pytest.fixture
def until():
    """`await until(lambda: …)`: wait for what tells nobody that it has come."""

    async def come(true, limit=10):
        async with asyncio.timeout(limit):
            while not true():  # noqa: ASYNC110  (there is no event to wait for)
                await asyncio.sleep(0.005)

    return come
