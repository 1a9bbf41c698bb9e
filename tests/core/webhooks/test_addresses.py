"""Where webhooks may go: every kind of address that is not anyone's on the internet is refused."""

from ipaddress import ip_address, ip_network

import pytest

from core.errors import Invalid
from core.webhooks.addresses import checked_url, is_public, may_reach, resolve

HERE = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104  refused here, not listened on
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",  # Alibaba's metadata service
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",  # Azure's host
        "169.254.169.254",  # the metadata service of most clouds
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",  # Oracle's metadata service
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",  # Teredo
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata service
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_what_is_not_public_is_not_reached(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not may_reach(address, networks=(), tls=True)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_public_is_reached_over_tls_alone(address: str) -> None:
    assert may_reach(address, networks=(), tls=True)
    assert not may_reach(address, networks=(), tls=False)
    assert not may_reach(address, networks=HERE, tls=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "fd00::7"])
def test_a_network_that_is_allowed_is_reached_without_tls_too(address: str) -> None:
    assert may_reach(address, networks=HERE, tls=False)
    assert may_reach(address, networks=HERE, tls=True)
    assert not may_reach("10.0.0.1", networks=HERE, tls=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://example.com/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com/#part",
        "https://example.com:99999/",
        "https://example.com/a b",
        "https://example.com/\r\nHost: x",
        "https://bücher.example/",
        "https://[::1",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_a_url_that_cannot_be_right_is_refused_at_once(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        checked_url(url, networks=())
    assert (refused.value.param, refused.value.code) == ("url", "webhook_url_refused")


def test_a_good_url_stays_as_it_is() -> None:
    for url in ("https://example.com/hooks?x=1", "https://1.1.1.1:8443/", "https://[2606:4700::1111]/"):
        assert checked_url(url, networks=()) == url
    assert checked_url("http://127.0.0.1:9000/", networks=HERE) == "http://127.0.0.1:9000/"
    with pytest.raises(Invalid):
        checked_url("http://10.0.0.1/", networks=HERE)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost"])
def test_other_spellings_of_an_address_are_seen_through(host: str) -> None:
    """The system reads numbers that no list of names would catch; what counts is what it makes of them."""
    found = resolve(host, 443)
    assert found
    assert not any(may_reach(each, networks=(), tls=True) for each in found)


@pytest.mark.parametrize("host", ["x" * 64 + ".example", "a..b"])
def test_a_name_that_is_none_leads_nowhere(host: str) -> None:
    with pytest.raises(OSError, match=r".+"):
        resolve(host, 443)
