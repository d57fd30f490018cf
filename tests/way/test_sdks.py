"""Every SDK and every answer: allowed, denied by RBAC, by policy, over quota, unauthenticated, upstream down, slow, cut."""

from dataclasses import dataclass
from typing import ClassVar

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types


@dataclass
class No:
    """What an SDK made of a refusal."""

    status: int
    kind: type
    code: str
    message: str
    decision: str


class OpenAI:
    retries = 2

    def __init__(self, stage, token):
        self.client = openai.AsyncOpenAI(base_url=f"{stage.base}/v1", api_key=token)

    async def close(self):
        await self.client.close()

    def no(self, error):
        headers = error.response.headers
        return No(error.status_code, type(error), error.code or "", error.message, headers["x-sidecar-decision"])


class Chat(OpenAI):
    errors = openai.APIError
    codes: ClassVar = {401: "invalid_api_key", 403: "policy_denied"}
    kinds: ClassVar = {401: openai.AuthenticationError, 403: openai.PermissionDeniedError, 429: openai.RateLimitError}

    async def ask(self, temperature=None):
        reply = await self.client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hello there"}], temperature=temperature if temperature is not None else openai.omit
        )
        return reply.choices[0].message.content

    async def ask_streamed(self, temperature=None):
        got = []
        async for chunk in await self.client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "hello there"}],
            stream=True,
            temperature=temperature if temperature is not None else openai.omit,
        ):
            got += [choice.delta.content or "" for choice in chunk.choices]
        return "".join(got)


class Responses(Chat):
    async def ask(self, temperature=None):
        reply = await self.client.responses.create(model="gpt-4o", input="hello there", temperature=temperature if temperature is not None else openai.omit)
        return reply.output_text

    async def ask_streamed(self, temperature=None):
        got = []
        async for event in await self.client.responses.create(
            model="gpt-4o", input="hello there", stream=True, temperature=temperature if temperature is not None else openai.omit
        ):
            if event.type == "response.output_text.delta":
                got.append(event.delta)
            if event.type == "error":
                raise openai.APIError("cut", request=None, body=None)
        return "".join(got)


class Anthropic:
    errors = anthropic.APIError
    codes: ClassVar = {401: "", 403: "policy_denied"}
    kinds: ClassVar = {401: anthropic.AuthenticationError, 403: anthropic.PermissionDeniedError, 429: anthropic.RateLimitError}
    retries = 2

    def __init__(self, stage, token):
        self.client = anthropic.AsyncAnthropic(base_url=stage.base, api_key=token)

    async def close(self):
        await self.client.close()

    async def ask(self, temperature=None):
        extra = {} if temperature is None else {"extra_body": {"temperature": temperature}}
        reply = await self.client.messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": "hello there"}], **extra)
        return reply.content[0].text

    async def ask_streamed(self, temperature=None):
        extra = {} if temperature is None else {"extra_body": {"temperature": temperature}}
        got = []
        async for event in await self.client.messages.create(
            model="claude-sonnet-5-5", max_tokens=100, messages=[{"role": "user", "content": "hello there"}], stream=True, **extra
        ):
            if event.type == "content_block_delta":
                got.append(event.delta.text)
        return "".join(got)

    def no(self, error):
        details = (error.body or {}).get("error", {}).get("details") or {}
        return No(error.status_code, type(error), details.get("error_code", ""), error.body["error"]["message"], error.response.headers["x-sidecar-decision"])


class Gemini:
    errors = genai_errors.APIError
    codes: ClassVar = {401: "", 403: ""}
    kinds: ClassVar = {401: genai_errors.ClientError, 403: genai_errors.ClientError, 429: genai_errors.ClientError}
    retries = 0

    def __init__(self, stage, token):
        options = genai_types.HttpOptions(base_url=stage.base)
        self.client = genai.Client(api_key=token, http_options=options)

    async def close(self):
        await self.client.aio.aclose()
        self.client.close()

    def _config(self, temperature):
        return genai_types.GenerateContentConfig(temperature=temperature)

    async def ask(self, temperature=None):
        reply = await self.client.aio.models.generate_content(model="gemini-2.5-flash", contents="hello there", config=self._config(temperature))
        return reply.text

    async def ask_streamed(self, temperature=None):
        got = []
        async for chunk in await self.client.aio.models.generate_content_stream(
            model="gemini-2.5-flash", contents="hello there", config=self._config(temperature)
        ):
            got.append(chunk.text or "")
        return "".join(got)

    def no(self, error):
        return No(error.code, type(error), "", error.message or "", error.response.headers["x-sidecar-decision"])


ALL = [Chat, Responses, Anthropic, Gemini]
WAYS = ["ask", "ask_streamed"]
both = pytest.mark.parametrize(("sdk", "way"), [(sdk, way) for sdk in ALL for way in WAYS], ids=lambda value: getattr(value, "__name__", value))


@pytest.fixture
async def client(stage):
    made = []

    def make(sdk, token):
        made.append(sdk(stage, token))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def refused(asking, sdk):
    with pytest.raises(sdk.errors) as caught:
        await asking
    return caught.value


@both
async def test_an_allowed_call_reaches_the_upstream_once_and_comes_back(stage, client, sdk, way):
    answer = await getattr(client(sdk, stage.tokens["dev"]), way)()
    assert answer == "You said: hello there"
    assert stage.upstream.count == 1
    headers = {name.lower(): value for name, value in stage.upstream.requests[0].headers.items()}
    assert stage.tokens["dev"] not in str(stage.upstream.requests[0])
    assert "upstream-secret" in (headers.get("authorization", "") + headers.get("x-api-key", "") + headers.get("x-goog-api-key", ""))
    assert [row["effect"] for row in stage.records()] == ["allow"]


@both
@pytest.mark.parametrize("case", ["rbac", "policy", "quota", "budget", "key"])
async def test_a_refused_call_raises_its_own_exception_and_the_upstream_sees_nothing(stage, client, sdk, way, case):
    token = {"rbac": "poor", "policy": "dev", "quota": "tiny", "budget": "broke", "key": "dev"}[case]
    caller = client(sdk, stage.tokens[token] if case != "key" else "sk-nobody")
    if case == "quota":
        await getattr(caller, way)()
    before, decided = stage.upstream.count, len(stage.records())
    if case == "quota":
        caller.client = caller.client.with_options(max_retries=0) if hasattr(caller.client, "with_options") else caller.client
    error = await refused(getattr(caller, way)(2.0 if case == "policy" else None), sdk)
    assert stage.upstream.count == before
    no = caller.no(error)
    status = {"rbac": 403, "policy": 403, "quota": 429, "budget": 429, "key": 401}[case]
    assert (no.status, no.kind) == (status, sdk.kinds[status])
    rows = stage.records()[decided:]
    assert [row["id"] for row in rows] == [no.decision], "one decision, so no retry"
    assert rows[0]["effect"] == "deny"
    assert no.decision in no.message
    if case == "policy":
        assert "Keep it cool." in no.message
        assert "base/cool" in no.message
    if sdk.codes.get(status):
        assert no.code == sdk.codes[status]


@both
@pytest.mark.parametrize("mode", ["gone", "garbage", "redirect", "bomb"])
async def test_an_upstream_that_is_down_or_answers_nonsense_is_a_502(stage, client, sdk, way, mode):
    if mode == "gone":
        await stage.upstream.stop()
    else:
        stage.upstream.mode = mode
    caller = client(sdk, stage.tokens["dev"])
    error = await refused(getattr(caller, way)(), sdk)
    assert caller.no(error).status == 502
    assert stage.upstream.count == (0 if mode == "gone" else 1), "and it is not tried again"


@both
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_an_upstreams_own_no_is_told_but_never_as_the_callers_fault(stage, client, sdk, way, status):
    stage.upstream.mode, stage.upstream.status = "status", status
    stage.upstream.headers = {"set-cookie": "a=b", "openai-organization": "secret-org", "x-should-retry": "false"}
    caller = client(sdk, stage.tokens["dev"])
    caller.client = caller.client.with_options(max_retries=0) if hasattr(caller.client, "with_options") else caller.client
    error = await refused(getattr(caller, way)(), sdk)
    assert caller.no(error).status == (502 if status == 401 else status)
    headers = error.response.headers
    assert not {"set-cookie", "openai-organization"} & {name.lower() for name in headers}


@both
async def test_a_slow_upstream_is_a_504_that_is_not_retried(stage, client, sdk, way):
    stage.upstream.mode = "hang"
    caller = client(sdk, stage.tokens["dev"])
    error = await refused(getattr(caller, way)(), sdk)
    assert caller.no(error).status == 504
    assert stage.upstream.count == 1


@pytest.mark.parametrize("sdk", ALL, ids=lambda sdk: sdk.__name__)
async def test_a_stream_cut_in_the_middle_is_an_error_and_not_an_end(stage, client, sdk):
    stage.upstream.mode = "cut"
    caller = client(sdk, stage.tokens["dev"])
    with pytest.raises((sdk.errors, openai.APIError, genai_errors.APIError, ValueError)):
        await caller.ask_streamed()
    assert stage.upstream.count == 1


async def test_embeddings_moderations_and_models_go_the_same_way(stage, client):
    api = client(Chat, stage.tokens["dev"]).client
    assert len((await api.embeddings.create(model="text-embedding-3-small", input=["a", "b"])).data) == 2
    assert (await api.moderations.create(model="omni-moderation-latest", input="a")).results
    names = [model.id async for model in api.models.list()]
    assert "gpt-4o" in names
    assert stage.upstream.count == 2, "the list is ours"
    with pytest.raises(openai.NotFoundError):
        await api.chat.completions.create(model="no-such-model", messages=[{"role": "user", "content": "x"}])
    assert stage.upstream.count == 2


async def test_a_list_hides_what_the_caller_may_never_use(stage, client):
    api = client(Chat, stage.tokens["poor"]).client
    assert [model.id async for model in api.models.list()] == []
    with pytest.raises(openai.NotFoundError):
        await api.models.retrieve("gpt-4o")
    assert (await client(Chat, stage.tokens["dev"]).client.models.retrieve("gpt-4o")).id == "gpt-4o"
    assert stage.upstream.count == 0
