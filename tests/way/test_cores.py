"""The same gates run whichever core is configured: direct, delegate, echo, or one of the user's own that an entry point names."""

import sys
from contextlib import asynccontextmanager

import pytest

from sidecar.errors import ConfigError
from sidecar.testing import document

OWN = '''
"""A core of somebody's own: it keeps what it was sent and answers as the embedded echo does."""

from sidecar.testing import FakeCore

made = []


def core(parts):
    made.append(FakeCore(parts.wall))
    return made[-1]
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package with one entry point, as pip would have left it."""
    made = []

    def install(name, target, module="its_own_core", source=OWN):
        site = tmp_path / f"site-{module}"
        info = site / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sidecar.cores]\n{name} = {target}\n")
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        made.append(module)
        return site

    yield install
    for module in made:
        sys.modules.pop(module, None)


CORES = ["direct", "delegate", "echo", "own"]
core = pytest.mark.parametrize("core", CORES)


class Watched:
    """A stage, and how many calls its core let out."""

    def __init__(self, stage, count):
        self.stage = stage
        self._count = count

    @property
    def count(self):
        return self._count()


@pytest.fixture
def behind(make_stage, installed):
    """A stage behind one of the cores, with more documents."""

    @asynccontextmanager
    async def make(core, *more, change=None, **options):
        if core == "own":
            installed("mine", "its_own_core:core")

        def documents(stage):
            settings = {"delegate": {"core": "delegate", "delegate": stage.upstream.url}, "own": {"core": "mine"}}.get(core, {"core": core})
            made = [*stage.documents(**settings), *more]
            if change is not None:
                change(made)
            return made

        async with make_stage(documents, **options) as stage:
            yield Watched(stage, counter(core, stage))

    return make


def counter(core, stage):
    """How many calls left, as the other side counts them."""
    if core == "own":
        return lambda: len(sys.modules["its_own_core"].made[-1].permits)
    if core == "echo":
        return lambda: stage.sidecar.live.current.core._memory.made
    return lambda: stage.upstream.count


@core
async def test_what_is_allowed_comes_back_from_every_core(behind, ask, core):
    async with behind(core) as w:
        answer = await ask(w.stage)
        assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "You said: hello there")
        assert "[DONE]" in (await ask(w.stage, stream=True)).text
        assert w.count > 0
        assert [row["effect"] for row in w.stage.records()] == ["allow"] * 2


DENIED = {
    "rbac": (403, "poor", {}),
    "policy": (403, "dev", {"temperature": 2.0}),
    "budget": (429, "broke", {}),
    "key": (401, "sk-nobody", {}),
    "model": (404, "dev", {"model": "no-such-model"}),
    "owner": (404, "dev", {"path": "/v1/responses", "input": "x", "messages": None, "max_tokens": None, "previous_response_id": "resp_somebodys"}),
}


@core
@pytest.mark.parametrize("case", DENIED)
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_denied_reaches_no_core(behind, ask, core, case, streamed):
    status, who, body = DENIED[case]
    async with behind(core) as w:
        assert (await ask(w.stage, who, **{"stream": streamed, **body})).status == status
        assert w.count == 0
        assert w.stage.upstream.count == 0


@core
async def test_a_proposed_tool_call_is_judged_behind_every_core(behind, ask, core):
    tools = [{"type": "function", "function": {"name": "rm", "parameters": {"type": "object"}}}]
    body = {"messages": [{"role": "user", "content": 'call rm {"path": "/"}'}], "tools": tools}
    async with behind(core) as w:
        answer = await ask(w.stage, **body)
        assert "Nothing is removed here." in answer.text
        assert not answer.json["choices"][0]["message"].get("tool_calls")
        assert "Nothing is removed here." in (await ask(w.stage, stream=True, **body)).text


@core
async def test_quota_is_settled_behind_every_core(behind, ask, core, ended):
    quota = document("Quota", "q", match={"subjects": ["key:dev"]}, limits=[{"metric": "tokens", "max": 1100, "per": "1h"}])
    async with behind(core, quota, on_finished=ended) as w:
        assert [(await ask(w.stage, max_tokens=1000)).status for _ in range(3)] == [200] * 3


async def test_an_alias_reaches_the_core_under_its_own_name(behind, ask):
    def alias(made):
        next(one for one in made if one["metadata"]["name"] == "up-openai")["spec"]["models"][0]["aliases"] = ["smart"]

    for core in ("direct", "delegate"):
        async with behind(core, change=alias) as w:
            assert (await ask(w.stage, model="smart")).status == 200
            assert w.stage.upstream.requests[0].json["model"] == "gpt-4o"


async def test_the_sidecars_own_credential_goes_to_the_gateway(behind, ask):
    async with behind("delegate") as w:
        assert (await ask(w.stage)).status == 200
        seen = w.stage.upstream.requests[0]
        assert {name.lower(): value for name, value in seen.headers.items()}["authorization"] == "Bearer upstream-secret"
        assert w.stage.tokens["dev"] not in str(seen)


async def test_an_own_core_gets_the_exact_bytes_and_no_credential(behind, ask):
    async with behind("own") as w:
        assert (await ask(w.stage)).status == 200
        (permit,) = sys.modules["its_own_core"].made[-1].permits
        out = permit.payload(permit.members[0])
        assert w.stage.tokens["dev"] not in str((out, permit.call, permit.principal))


def region(name, label):
    """A second upstream of the same models, elsewhere."""

    def change(made):
        first = next(one for one in made if one["metadata"]["name"] == "up-openai")
        first["metadata"]["labels"] = {"region": "us"}
        made.append({**first, "metadata": {"name": name, "labels": {"region": label}}})

    return change


EU = document("Policy", "eu", rules=[{"name": "stay", "effect": "require", "then": {"route": {"region": "eu"}}}])


async def test_delegate_with_a_route_obligation_does_not_load(behind, tmp_path):
    with pytest.raises(ConfigError) as caught:
        async with behind("delegate", EU, change=region("up-eu", "eu")):
            pass
    (error,) = [one for one in caught.value.diagnostics if one.severity == "error"]
    assert "route" in error.message
    assert error.position.line > 1
    assert "core: direct" in error.hint


async def test_the_same_obligation_holds_behind_the_cores_that_can_keep_it(behind, ask):
    for core in ("direct", "echo", "own"):
        async with behind(core, EU, change=region("up-eu", "eu")) as w:
            assert (await ask(w.stage)).status == 200
            assert len(w.stage.records()[0]["call"]["members"]) == 2, "two could have served"
            if core == "own":
                assert [member.upstream for member in sys.modules["its_own_core"].made[-1].permits[0].members] == ["up-eu"]


async def test_delegate_denies_what_it_cannot_hold_the_gateway_to(behind, ask):
    """Only one of two upstreams is allowed to this caller; another gateway would choose as it pleases."""
    only = document("Policy", "only", match={"subjects": ["key:poor"], "target": ["up-openai/gpt-4o"]}, rules=[{"name": "here", "effect": "allow"}])
    async with behind("delegate", only, change=region("up-eu", "eu")) as w:
        assert (await ask(w.stage)).status == 200
        no = await ask(w.stage, "poor")
        assert (no.status, no.code) == (403, "policy_denied")
        assert w.stage.upstream.count == 1
        row = w.stage.records()[-1]
        assert (row["effect"], row["id"]) == ("deny", no.headers["x-sidecar-decision"]), "and the record says what happened"


@pytest.mark.parametrize(
    ("target", "source", "words"),
    [("its_own_core:none", OWN, "cannot be imported"), ("nowhere:core", OWN, "cannot be imported"), ("its_own_core:made", OWN, "no callable")],
)
async def test_an_entry_point_that_is_broken_stops_the_start(make_stage, installed, target, source, words):
    installed("mine", target, source=source)
    with pytest.raises(ConfigError, match=words):
        async with make_stage(lambda stage: stage.documents(core="mine")):
            pass


async def test_a_core_that_nothing_provides_stops_the_start(make_stage):
    with pytest.raises(ConfigError, match="nothing provides the core `mine`"):
        async with make_stage(lambda stage: stage.documents(core="mine")):
            pass


async def test_an_own_core_is_not_imported_unless_it_is_named(make_stage, installed, ask):
    installed("mine", "its_own_core:core")
    async with make_stage() as stage:
        assert (await ask(stage)).status == 200
        assert "its_own_core" not in sys.modules


FAULTY = """
class Faulty:
    def __init__(self, parts): self.made = []
    async def send(self, permit): raise ZeroDivisionError("secret" + " text")
    def carries(self, call): return True
    def health(self): return {}
    async def close(self): return None
"""


async def test_a_bug_in_an_own_core_is_a_500_that_tells_nothing_and_gives_back(make_stage, installed, ask, capsys):
    installed("mine", "its_faulty_core:Faulty", module="its_faulty_core", source=FAULTY)
    quota = document("Quota", "q", limits=[{"metric": "concurrency", "max": 1}])
    async with make_stage(lambda stage: [*stage.documents(core="mine"), quota]) as stage:
        answers = [await ask(stage) for _ in range(2)]
        assert [(answer.status, answer.headers["x-should-retry"]) for answer in answers] == [(500, "false")] * 2
        assert "secret text" not in answers[0].text
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert "secret text" not in shown
