"""Builders for the OpenAI tests: requests, chunks, and a driver that feeds a screen and answers its proposals."""

import itertools

import orjson
import pytest

from sidecar.decision import Refusal
from sidecar.wire.base import Proposal, Release, WireRequest


class Kit:
    """Given to the tests as the fixture `kit`."""

    REFUSAL = Refusal(
        kind="policy", status=403, code="policy_denied", message="Not here.", rule="files/only-srv", help="https://wiki.example/x", decision="dec_1"
    )

    @staticmethod
    def request(body, path="/v1/chat/completions", method="POST", headers=(("content-type", "application/json"),), query=()):
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return WireRequest(method, path, query, headers, data)

    @staticmethod
    def chat(**more):
        return {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **more}

    @staticmethod
    def frame(chunk, type=""):
        data = chunk if isinstance(chunk, bytes) else orjson.dumps(chunk)
        return (b"event: " + type.encode() + b"\n" if type else b"") + b"data: " + data + b"\n\n"

    @staticmethod
    def drive(screen, pieces, verdict):
        """(the client's bytes, the tools that were judged). `verdict(tool)` is None or a text."""
        out, tools = b"", []
        for piece in [*pieces, None]:
            found = screen.finish_input() if piece is None else screen.feed(piece)
            while found:
                waiting = [item for item in found if isinstance(item, Proposal)]
                assert waiting in ([], found[-1:])
                out += b"".join(item.data for item in found if isinstance(item, Release))
                if not waiting:
                    break
                tools.append(waiting[0].tool)
                found = screen.resolve(verdict(waiting[0].tool))
        return out, tools

    @staticmethod
    def chunks(out):
        """The JSON of every data event."""
        lines = (line for block in out.split(b"\n\n") for line in block.split(b"\n"))
        return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ") and line != b"data: [DONE]"]

    @staticmethod
    def cut(data, places):
        marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
        return [data[a:b] for a, b in itertools.pairwise(marks)]


@pytest.fixture(scope="session")
def kit():
    return Kit
