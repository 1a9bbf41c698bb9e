"""Which addresses webhooks may reach: public ones, and the networks that whoever runs the platform allows.

A user gives the platform an address and the platform sends a request there, from inside: without this, the
metadata service of the cloud, the database's host or a router would be within every user's reach (SSRF).
"""

import re
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from core.errors import Invalid

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]
Resolver = Callable[[str, int], list[str]]

LONGEST_URL = 2000
PRINTABLE = re.compile(r"[!-~]+")
# The only space from which public IPv6 addresses are given out (RFC 4291).
UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
# Public by their number alone: IETF's own (Oracle's metadata service), the relays of 6to4, Azure's host.
NOT_FOR_USERS = tuple(ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32"))


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, as the system finds them; OSError when there are none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(f"{host!r} is no host name") from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def is_public(address: Address) -> bool:
    """Tell whether an address is anyone's on the internet: not private, local, reserved, or of many."""
    inner = _inside(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address):
        return address in UNICAST and address.is_global
    plain = address.is_global and not (address.is_multicast or address.is_reserved)
    return plain and not any(address in network for network in NOT_FOR_USERS)


def is_within(address: Address, networks: Networks) -> bool:
    """Tell whether an address lies in one of some networks, also when it is an IPv4 one written as IPv6."""
    inner = _inside(address)
    return any(address in network or (inner is not None and inner in network) for network in networks)


def may_reach(address: str, *, networks: Networks, tls: bool) -> bool:
    """Tell whether a webhook may be sent to an address; without TLS only to the networks that are allowed."""
    found = ip_address(address)
    return is_within(found, networks) or (tls and is_public(found))


def checked_url(url: str, *, networks: Networks) -> str:
    """Return an address for events, if it is one; where its name leads is checked when something is sent.

    Raises:
        Invalid: it is not, or plainly leads where webhooks may not go.
    """
    parts = _parsed(url)
    if len(url) > LONGEST_URL or parts is None or not parts.hostname:
        raise _refused(f"give https://HOST/PATH in ASCII, of at most {LONGEST_URL} characters")
    if parts.username is not None or parts.fragment:
        raise _refused("leave out the user, the password and what follows `#`")
    if parts.scheme != "https" and not (parts.scheme == "http" and networks):
        raise _refused("it must begin with https://")
    try:
        literal = ip_address(parts.hostname)
    except ValueError:
        return url
    if not may_reach(str(literal), networks=networks, tls=parts.scheme == "https"):
        raise _refused("this address is not a public one; SPINDLE_WEBHOOK_NETWORKS allows others")
    return url


def _parsed(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is none
    except ValueError:
        return None
    return parts if PRINTABLE.fullmatch(url) else None


def _refused(what: str) -> Invalid:
    return Invalid(f"url: {what}", param="url", code="webhook_url_refused")


def _inside(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for: mapped, of 6to4, or behind NAT64."""
    if isinstance(address, IPv4Address):
        return None
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
