"""Which addresses may be dialled, case by case, and the properties that hold for all of them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.address import METADATA, check, literal, network
from sidecar.errors import ConfigError

FORBIDDEN = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.1.2.3": "private",
    "100.64.0.1": "carrier-grade NAT",
    "100.100.100.200": "metadata",
    "127.0.0.1": "loopback",
    "127.255.0.3": "loopback",
    "168.63.129.16": "metadata",
    "169.254.1.1": "link-local",
    "169.254.169.254": "metadata",
    "169.254.170.2": "metadata",
    "172.31.255.255": "private",
    "192.0.0.192": "metadata",
    "192.0.2.1": "reserved",
    "192.168.0.1": "private",
    "198.19.0.1": "reserved",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::ffff:169.254.169.254": "metadata",
    "::127.0.0.1": "loopback",
    "::ffff:0:10.0.0.1": "private",
    "64:ff9b::a9fe:a9fe": "metadata",
    "64:ff9b::7f00:1": "loopback",
    "64:ff9b:1::1": "private",
    "2002:7f00:1::": "loopback",
    "2002:a9fe:a9fe::1": "metadata",
    "2001:0:a9fe:a9fe::": "metadata",
    "2001:0:808:808:0:0:80ff:fffe": "loopback",
    "2606:4700::5efe:10.0.0.1": "private",
    "2001:2::1": "reserved",
    "2001:db8::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "metadata",
    "fe80::1": "link-local",
    "fec0::1": "private",
    "ff02::1": "multicast",
    "4000::1": "reserved",
}


@pytest.mark.parametrize(("ip", "kind"), FORBIDDEN.items())
def test_an_address_that_is_not_of_the_public_internet_is_refused_with_its_kind(ip, kind):
    assert f"{kind} address" in (check(ip) or "")


@pytest.mark.parametrize("ip", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"])
def test_a_public_address_may_be_dialled_unnamed(ip):
    assert check(ip) is None


@pytest.mark.parametrize(
    ("ip", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("::1", "::1/128"),
        ("10.2.3.4", "10.0.0.0/8"),
        ("100.64.1.1", "100.64.0.0/10"),
        ("fd12::1", "fd00::/8"),
        ("::ffff:10.2.3.4", "10.0.0.0/8"),
        ("169.254.169.254", "169.254.169.254"),
        ("fd00:ec2::254", "fd00:ec2:0::254"),
        ("169.254.9.9", "169.254.9.9"),
    ],
)
def test_what_the_upstream_names_may_be_dialled(ip, allowed):
    assert check(ip, ("192.0.2.0/24", allowed)) is None


@pytest.mark.parametrize(
    ("ip", "allowed"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("169.254.169.254", "169.254.169.254/32"),
        ("169.254.169.254", "0.0.0.0/0"),
        ("100.100.100.200", "100.64.0.0/10"),
        ("fd00:ec2::254", "fd00::/8"),
        ("fe80::1", "fe80::/10"),
        ("2002:7f00:1::", "2000::/3"),
        ("::ffff:169.254.169.254", "::/0"),
        ("64:ff9b::a9fe:a9fe", "64:ff9b::/96"),
    ],
)
def test_a_range_never_admits_metadata_link_local_or_what_an_address_carries(ip, allowed):
    assert check(ip, (allowed,)) is not None


@pytest.mark.parametrize("ip", ["", "localhost", "127.1", "0177.0.0.1", "fe80::1%eth0", "1.2.3.4.5", "10.0.0.0/8", "2606:4700::1111%1"])
def test_text_that_is_no_address_is_refused(ip):
    assert "is not an address" in (check(ip, (ip,)) or "")


def test_a_range_that_cannot_be_read_admits_nothing():
    assert check("10.0.0.1", ("10.0.0.1/8", "10.0.0.0/99", "junk/8", "")) is not None


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::ffff:0:{}", "64:ff9b::{}"]))
def test_an_ipv6_form_is_never_more_dialable_than_the_ipv4_address_it_carries(v4, form):
    assert check(form.format(v4)) is None or check(str(v4)) is not None
    if check(str(v4)) is not None:
        assert check(form.format(v4)) is not None


@given(st.ip_addresses())
def test_whatever_the_standard_library_calls_private_is_refused(ip):
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        assert check(str(ip)) is not None


@given(st.sampled_from(sorted(map(str, METADATA))), st.integers(0, 32))
def test_no_range_around_a_metadata_address_admits_it(ip, prefix):
    around = ipaddress.ip_network(f"{ip}/{prefix}", strict=False)
    assert check(ip, (str(around),)) is not None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[2606:4700:0:0::1111]", "2606:4700::1111"),
        ("[::ffff:10.0.0.1]", "10.0.0.1"),
        ("api.openai.com", None),
        ("api.openai.com.", None),
        ("localhost", None),
        ("host_with-marks.internal", None),
        ("1and1.example", None),
        ("0xabc.example", None),
    ],
)
def test_a_literal_is_normalised_and_a_name_is_none(host, expected):
    assert literal(host) == expected


@pytest.mark.parametrize(
    "host",
    [
        "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "127.1", "127.0.0.1.", "127.0.0.01", "1.2.3.4.5", "256.1.1.1", "a.0x", "a.1", "[::]%1", "[fe80::1%25eth0]",
        "fe80::1%eth0", "[127.0.0.1]", "[::1", "::1]", "", ".", "a..b", "-a.b", "a b", "a/b", "a@b", "a%00b", "\uff11\uff12\uff17.0.0.1", "bücher.example", "a" * 64, ".".join(["a" * 60] * 5),
        "127.0.0.1:80", "[::1]:80",
    ],
)  # fmt: skip
def test_a_host_with_two_readings_is_refused(host):
    with pytest.raises(ConfigError):
        literal(host)


def test_ranges_in_documents_are_read_strictly():
    assert str(network("10.0.0.0/8")) == "10.0.0.0/8"
    for text in ("10.0.0.1/8", "10.0.0.0/33", "x", "fe80::1%eth0/64"):
        with pytest.raises(ConfigError):
            network(text)


@given(st.text(max_size=40))
def test_garbage_raises_only_the_one_error(text):
    check(text, (text,))
    try:
        found = literal(text)
    except ConfigError:
        return
    assert found is None or ipaddress.ip_address(found)
