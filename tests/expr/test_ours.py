"""Our own functions: what they answer, and that malformed text is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import DYN, STRING, Declarations, Fault
from sidecar.expr.ours import clean, within

TEXT = Declarations({"s": STRING, "t": STRING})


def run(source, s="", t=""):
    return expr.compile(source, TEXT, result=DYN)({"s": s, "t": t})


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("/a/b/../c", "/a/c"), ("/a//b/./c/", "/a/b/c"), ("/../../etc", "/etc"), ("a/../../b", "../b"), ("", "."), ("/", "/"), (r"a\..\b", "b"), (".", ".")],
)
def test_paths_are_cleaned(path, cleaned):
    assert run("path.clean(s)", path) == cleaned


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/srv/data/x", "/srv/data", True),
        ("/srv/data", "/srv/data/", True),
        ("/srv/database", "/srv/data", False),
        ("/srv/data/../secret", "/srv/data", False),
        (r"/srv/data\..\..\etc", "/srv/data", False),
        ("/etc", "/", True),
        ("etc", "/", False),
        ("a/b", ".", True),
        ("../a", ".", False),
        ("/a", ".", False),
    ],
)
def test_a_path_is_within_a_folder_by_its_parts(path, folder, inside):
    assert run("path.within(s, t)", path, folder) is inside


@pytest.mark.parametrize("path", ["/srv/%2e%2e/etc", "/a\0b"])
def test_a_path_with_two_readings_is_an_error(path):
    assert isinstance(run("path.within(s, '/srv')", path), Fault)


@given(st.text(alphabet="ab./\\", max_size=12))
def test_cleaning_twice_is_cleaning_once(path):
    assert clean(clean(path)) == clean(path)


@given(st.text(alphabet="ab./\\", max_size=12))
def test_nothing_within_a_folder_climbs_out_of_it(path):
    assert not within(path, "/a") or clean(path) == "/a" or clean(path).startswith("/a/")


@pytest.mark.parametrize(
    ("url", "host"),
    [("https://Example.COM:8443/a?b", "example.com"), ("http://[::1]:80/", "::1"), ("https://a.b./", "a.b")],
)
def test_the_host_of_a_url(url, host):
    assert run("url.host(s)", url) == host


@pytest.mark.parametrize(
    "url", ["example.com/a", "http://", "http://a@b/", "http://a\\@b/", "http://a b/", "http://a:99999/", "http://[::1/", "http://%61/", "http://./", "/a"]
)
def test_a_url_that_parsers_read_differently_is_an_error(url):
    assert isinstance(run("url.host(s)", url), Fault)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1/", True),
        ("http://10.1.2.3/", True),
        ("http://169.254.169.254/latest", True),
        ("http://[::1]/", True),
        ("http://[::ffff:10.0.0.1]/", True),
        ("http://[64:ff9b::7f00:1]/", True),
        ("http://[2002:7f00:1::]/", True),
        ("http://0x7f.1/", True),
        ("http://2130706433/", True),
        ("http://localhost/", True),
        ("http://db/", True),
        ("http://x.svc.cluster.local/", True),
        ("http://metadata.google.internal/", True),
        ("https://api.openai.com/v1", False),
        ("https://8.8.8.8/", False),
        ("https://[2606:4700::1111]/", False),
    ],
)
def test_private_urls_are_told_by_their_host(url, private):
    assert run("url.private(s)", url) is private


@pytest.mark.parametrize(
    ("ip", "network", "inside"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.0.0.1", "10.0.0.0/8", False),
        ("::ffff:10.0.0.1", "10.0.0.0/8", True),
        ("::1", "10.0.0.0/8", False),
        ("fe80::1%eth0", "fe80::/10", True),
    ],
)
def test_addresses_are_in_ranges(ip, network, inside):
    assert run(f"net.inRange(s, '{network}')", ip) is inside
    assert run("net.inRange(s, t)", ip, network) is inside


def test_what_is_no_address_is_an_error():
    assert isinstance(run("net.inRange(s, '10.0.0.0/8')", "10.0.0"), Fault)
    assert isinstance(run("net.inRange('10.0.0.1', s)", "10.0.0.0/40"), Fault)


ORDER = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "2.0.0"]


def test_versions_are_ordered_as_semver_says():
    for i, a in enumerate(ORDER):
        for j, b in enumerate(ORDER):
            assert run("semver.compare(s, t)", a, b) == (i > j) - (i < j)


def test_versions_have_parts_and_ignore_builds():
    assert run("[semver.major(s), semver.minor(s), semver.patch(s)]", "v1.2.3-rc.1+build") == [1, 2, 3]
    assert run("semver.compare(s, t)", "1.0.0+a", "1.0.0+b") == 0
    assert run("semver.valid(s)", "1.0") is False
    assert isinstance(run("semver.compare(s, '1.0.0')", "01.0.0"), Fault)


@given(st.text(max_size=30))
def test_any_text_is_an_answer_or_an_error(text):
    for source in ["path.clean(s)", "url.host(s)", "url.private(s)", "net.inRange(s, '10.0.0.0/8')", "net.inRange('10.0.0.1', s)", "semver.compare(s, s)"]:
        got = run(source, text)
        assert isinstance(got, Fault | bool | int | str)
