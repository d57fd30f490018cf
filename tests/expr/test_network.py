"""Addresses and networks as values: what is read, what is refused, what is equal."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import expr
from sidecar.expr import CIDR, DYN, IP, STRING, Declarations, ExprError, Fault, list_of
from sidecar.expr.environment import request_declarations

X = Declarations({"x": DYN, "s": STRING, "ips": list_of(IP), "block": CIDR})


def run(source, /, **bindings):
    return expr.compile(source, X, result=DYN)(bindings)


@pytest.mark.parametrize(
    "text",
    [
        "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4/32", "0x7f.1", "2130706433", " 1.2.3.4", "1.2.3.4\n", "::1%lo", "fe80::1%25eth0",
        "::ffff:1.2.3.4", "1::2::3", "12345::", "\u0661.2.3.4", "[::1]", "1.2.3.4:80", "a" * 5_000,
    ],
)  # fmt: skip
def test_a_text_with_no_single_reading_is_no_address(text):
    assert run("isIP(s)", s=text) is False
    assert isinstance(run("ip(s)", s=text), Fault)


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/255.0.0.0", "::/129", "fe80::1%en0/64", "::ffff:10.0.0.0/104", "::ffff:a00:0/104", "/8", "10.0.0.0/8/8", "10.0.0.0/\u0668"],
)  # fmt: skip
def test_a_text_with_no_single_reading_is_no_network(text):
    assert run("isCIDR(s)", s=text) is False
    assert isinstance(run("cidr(s)", s=text), Fault)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("ip('::ffff:a00:1') == ip('10.0.0.1')", True),
        ("ip('::ffff:a00:1').family()", 4),
        ("cidr('10.0.0.0/8').containsIP('::ffff:a00:1')", True),
        ("cidr('::/0').containsIP('10.0.0.1')", False),
        ("cidr('0.0.0.0/0').containsIP('::1')", False),
        ("cidr('0.0.0.0/0').containsCIDR('10.0.0.0/8')", True),
        ("cidr('10.0.0.0/8').containsCIDR('0.0.0.0/0')", False),
        ("cidr('::/0').containsCIDR('10.0.0.0/8')", False),
        ("cidr('10.1.2.3/8') == cidr('10.0.0.0/8')", False),
        ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", True),
        ("string(cidr('10.1.2.3/8'))", "10.1.2.3/8"),
        ("string(cidr('10.1.2.3/8').ip())", "10.1.2.3"),
        ("string(ip('2001:DB8:0:0::1'))", "2001:db8::1"),
        ("ip.isCanonical('2001:db8::1')", True),
        ("ip.isCanonical('2001:db8:0::1')", False),
        ("ip('10.0.0.1') == dyn(cidr('10.0.0.1/32'))", False),
        ("ip('10.0.0.1') in [ip('10.0.0.2'), ip('10.0.0.1')]", True),
        ("[ip('10.0.0.1'), ip('10.0.0.1')].distinct().size()", 1),
        ("type(ip('::1')) == net.IP && type(cidr('::/0')) == net.CIDR", True),
        ("ip('fe80::1').isLinkLocalUnicast() && ip('ff02::1').isLinkLocalMulticast() && ip('ff32::1').isLinkLocalMulticast()", True),
        ("ip('ff05::1').isLinkLocalMulticast() || ip('224.0.1.1').isLinkLocalMulticast()", False),
        ("ip('0.0.0.0').isGlobalUnicast() || ip('127.0.0.1').isGlobalUnicast() || ip('169.254.1.1').isGlobalUnicast() || ip('::').isGlobalUnicast()", False),
        ("[ip('10.0.0.1')].exists(ip, ip.isLoopback())", False),
    ],
)
def test_addresses_and_networks_have_the_values_of_the_extension(source, wanted):
    got = run(source)
    assert got == wanted
    assert type(got) is type(wanted)


def test_they_may_be_bound_too():
    assert run("block.containsIP(ips[0])", block=ipaddress.ip_interface("10.0.0.0/8"), ips=[ipaddress.ip_address("10.9.9.9")]) is True


def test_they_have_no_order_and_are_no_keys():
    assert isinstance(run("dyn(ip('10.0.0.1')) < dyn(ip('10.0.0.2'))"), Fault)
    assert isinstance(run("{dyn(ip('10.0.0.1')): 1}"), Fault)
    assert isinstance(run("dyn([ip('10.0.0.2'), ip('10.0.0.1')]).sort()"), Fault)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("cidr('10.0.0.0/33').containsIP(source.ip)", "`10.0.0.0/33` is no network in CIDR notation"),
        ("ip('10.0.0') == ip(source.ip)", "`10.0.0` is no IP address"),
        ("ip('::ffff:10.0.0.1') == ip(source.ip)", "`::ffff:10.0.0.1` is an IPv4 address inside an IPv6 address"),
        ("cidr('10.0.0.0/8').containsIp(source.ip)", "unknown function `containsIp`"),
        ("source.ip.isLoopback()", "`isLoopback` is not defined for `string`"),
        ("ip(source.ip) == '10.0.0.1'", "`==` compares `net.IP` with `string`, which are never equal"),
    ],
)
def test_a_mistake_is_told_when_the_document_loads(source, message):
    with pytest.raises(ExprError) as caught:
        expr.compile(source, request_declarations({}, {}))
    assert [problem.message for problem in caught.value.problems] == [message]


def test_a_variable_of_the_name_is_a_variable():
    assert expr.compile("ip == '10.0.0.1'", Declarations({"ip": STRING}))({"ip": "10.0.0.1"}) is True


@given(st.ip_addresses(), st.ip_addresses(v=4), st.integers(0, 32))
def test_they_agree_with_the_standard_library(address, network, length):
    cidr = f"{network}/{length}"
    wanted = ipaddress.ip_network(cidr, strict=False)
    plain = getattr(address, "ipv4_mapped", None) or address
    assert run("cidr(s).containsIP(x)", s=cidr, x=address.exploded) is (plain in wanted)
    assert run("string(cidr(s).masked())", s=cidr) == str(wanted)
    assert run("ip(s).family()", s=str(plain)) == plain.version
    assert run("cidr(s).containsCIDR(x)", s=cidr, x=f"{network}/32") is True


@given(st.text(max_size=40) | st.from_regex(r"[0-9a-f:./%]{1,30}", fullmatch=True))
def test_any_text_is_an_address_or_a_fault(text):
    assert run("isIP(s)", s=text) is (not isinstance(run("ip(s)", s=text), Fault))
    assert run("isCIDR(s)", s=text) is (not isinstance(run("cidr(s)", s=text), Fault))
