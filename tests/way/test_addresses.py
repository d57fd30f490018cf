"""Where the sidecar connects to: names that lead inside, names that change, redirects, certificates of somebody else."""

import socket

import pytest

from sidecar.errors import ConfigError, UpstreamUnreachable
from sidecar.testing import document

NAME = "llm.example.test"


class Names:
    """A resolver: each question takes the next answer; the last one stays."""

    def __init__(self, *answers):
        self.answers = [list(answer) for answer in answers]
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise UpstreamUnreachable(f"`{host}` does not resolve: name or service not known")
        return answer


def documents(host=NAME, *, scheme="http", port=None, addresses=(), **more):
    """One upstream at this host, for everybody the usual stage knows."""

    def made(stage):
        url = f"{scheme}://{host}:{port or stage.upstream.port}/v1"
        waits = {"connect": "1s", "firstByte": "2s", "idle": "2s"}
        where = {"protocol": "llm", "dialect": "openai", "url": url, "addresses": list(addresses), "timeouts": waits, "retry": {"attempts": 1}}
        kept = [one for one in stage.documents() if one["kind"] != "Upstream"]
        return [*kept, document("Upstream", "up", **where, models=[{"name": "gpt-4o", "price": {"input": 1, "output": 1}}], **more)]

    return made


INSIDE = {
    "AWS metadata": "169.254.169.254",
    "ECS credentials": "169.254.170.2",
    "Alibaba metadata": "100.100.100.200",
    "Azure wire server": "168.63.129.16",
    "link-local": "169.254.1.1",
    "loopback": "127.0.0.1",
    "all of loopback": "127.9.9.9",
    "this host": "0.0.0.0",
    "private 10": "10.0.0.5",
    "private 172": "172.20.0.5",
    "private 192": "192.168.1.5",
    "carrier-grade NAT": "100.64.0.1",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback over IPv6": "::1",
    "unspecified over IPv6": "::",
    "unique local": "fd12:3456::1",
    "link-local over IPv6": "fe80::1",
    "with a zone": "fe80::1%eth0",
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped private": "::ffff:10.0.0.5",
    "compatible loopback": "::127.0.0.1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "6to4 of private": "2002:a00:5::1",
    "no address": "localhost",
}


@pytest.mark.parametrize("case", INSIDE)
async def test_a_name_that_leads_inside_is_a_502_and_nothing_is_connected(make_stage, ask, case):
    async with make_stage(documents(scheme="https"), resolver=Names([INSIDE[case]])) as stage:
        answer = await ask(stage)
        assert (answer.status, answer.code) == (502, "upstream_unreachable")
        assert "can't be dialled" in answer.text
        assert INSIDE[case] not in answer.text, "the map of an inner network is not the caller's to have"
        assert stage.upstream.count == 0
        assert [row["effect"] for row in stage.records()] == ["allow"], "the decision stands in the records before the dial is tried"


async def test_an_address_that_the_upstream_names_is_dialled(make_stage, ask):
    names = Names(["127.0.0.1"])
    async with make_stage(documents(addresses=["127.0.0.0/8"]), resolver=names) as stage:
        assert (await ask(stage)).status == 200
        assert names.asked == [NAME]
        assert stage.upstream.requests[0].headers["Host"] == f"{NAME}:{stage.upstream.port}"


@pytest.mark.parametrize(("named", "ip"), [("169.254.0.0/16", "169.254.169.254"), ("100.64.0.0/10", "100.100.100.200"), ("fe80::/10", "fe80::1")])
async def test_no_range_ever_admits_a_metadata_or_link_local_address(make_stage, ask, named, ip):
    async with make_stage(documents(scheme="https", addresses=[named]), resolver=Names([ip])) as stage:
        answer = await ask(stage)
        assert answer.status == 502
        assert "can't be dialled" in answer.text


@pytest.mark.parametrize("named", ["0.0.0.0/0", "::/0", "10.0.0.1/8", "localhost"])
async def test_a_range_of_everything_or_of_nothing_does_not_load(make_stage, named):
    with pytest.raises(ConfigError):
        async with make_stage(documents(scheme="https", addresses=[named]), resolver=Names(["127.0.0.1"])):
            pass


async def test_of_several_answers_the_forbidden_ones_are_passed_over(make_stage, ask):
    async with make_stage(documents(addresses=["127.0.0.1"]), resolver=Names(["10.0.0.5", "169.254.169.254", "127.0.0.1"])) as stage:
        assert (await ask(stage)).status == 200
        assert stage.upstream.count == 1


async def test_the_address_that_was_checked_is_the_one_dialled_and_a_second_answer_is_checked_too(make_stage, ask, monkeypatch):
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    async with make_stage(documents(addresses=["127.0.0.1"]), resolver=names) as stage:
        channel, dialled = stage.sidecar.channel, []
        connect = channel.loop.create_connection

        async def noted(factory, host, port, **more):
            dialled.append(host)
            return await connect(factory, host, port, **more)

        monkeypatch.setattr(channel, "loop", _Loop(channel.loop, noted))
        assert (await ask(stage)).status == 200
        assert (dialled, names.asked) == (["127.0.0.1"], [NAME]), "an address is dialled, never a name"
        channel.ttl = 0.0
        for pool in channel._pools.values():
            pool.fresh_until = 0.0
        answer = await ask(stage)
        assert (answer.status, answer.code) == (502, "upstream_unreachable")
        assert dialled == ["127.0.0.1"]
        assert stage.upstream.count == 1


class _Loop:
    """A loop whose `create_connection` is looked at."""

    def __init__(self, loop, create_connection):
        self._loop = loop
        self.create_connection = create_connection

    def __getattr__(self, name):
        return getattr(self._loop, name)


async def test_a_name_that_does_not_resolve_is_a_502(make_stage, ask):
    async with make_stage(documents(scheme="https"), resolver=Names([])) as stage:
        answer = await ask(stage)
        assert (answer.status, answer.code) == (502, "upstream_unreachable")
        assert stage.upstream.count == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]"])
async def test_an_address_written_in_the_url_is_named_by_that_and_no_resolver_is_asked(make_stage, ask, host):
    names = Names(["169.254.169.254"])
    async with make_stage(documents(host), resolver=names) as stage:
        assert (await ask(stage)).status == 200
        assert names.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "[fe80::1%25eth0]"])
async def test_an_address_with_several_readings_does_not_load(make_stage, host):
    with pytest.raises(ConfigError):
        async with make_stage(documents(host), resolver=Names(["127.0.0.1"])):
            pass


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "/v1/elsewhere", "//127.0.0.1/x", "http://localhost/"])
async def test_no_redirect_is_followed_anywhere(make_stage, ask, location):
    names = Names(["127.0.0.1"])
    async with make_stage(documents(addresses=["127.0.0.1"]), resolver=names) as stage:
        stage.upstream.mode, stage.upstream.location = "redirect", location
        answer = await ask(stage)
        assert (answer.status, answer.code) == (502, "upstream_garbage")
        assert location not in answer.text
        assert (stage.upstream.count, names.asked) == (1, [NAME])


async def test_proxies_of_the_environment_are_not_used(make_stage, ask, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        async with make_stage(documents(addresses=["127.0.0.1"]), resolver=Names(["127.0.0.1"])) as stage:
            assert (await ask(stage)).status == 200
        with pytest.raises(BlockingIOError):
            proxy.accept()
