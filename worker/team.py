"""With whom a worker trains: how many processes it starts itself, and where other workers find them."""

import fcntl
import os
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.models import Device
from core.runs.capabilities import Capabilities
from spin_engine.hyperparameters import Hyperparameters
from spin_engine.sharing import refusal

SIOCGIFADDR = 0x8915
ANY_PORT = 9  # nothing is sent there: it makes the kernel choose a way


@dataclass(frozen=True)
class Team:
    """How a training unit is started here.

    Attributes:
        processes: at most so many, one a device.
        exact: so many were asked for; else a batch that cannot be shared out so takes fewer.
        address: where other workers reach this one.
        port: where processes meet; 0: whichever is free.
        device: what they compute on.
    """

    processes: int = 1
    exact: bool = False
    address: str = "127.0.0.1"
    port: int = 0
    device: Device = Device.cpu

    def processes_for(self, settings: Hyperparameters) -> int:
        """Return how many processes train alone with these settings."""
        if self.exact:
            return self.processes
        return next(count for count in range(self.processes, 0, -1) if refusal(settings, count) is None)

    def free_port(self) -> int:
        """Return where processes meet that this worker starts now."""
        if self.port:
            return self.port
        with socket.socket() as free:
            free.bind(("", 0))
            return int(free.getsockname()[1])


def team_for(has: Capabilities, *, processes: str, address: str, port: int, database_url: str) -> Team:
    """Return a worker's team by its options; ``auto`` is found out.

    ValueError when an option makes no sense, or no address is found.
    """
    if processes != "auto" and not (processes.isdecimal() and int(processes)):
        raise ValueError(f"--processes takes auto or a number from 1, not {processes!r}")
    if not 0 <= port < 1 << 16:
        raise ValueError(f"--port takes 0 to 65535, not {port}")
    number = max(1, has.gpus) if processes == "auto" else int(processes)
    if has.device is Device.gpu and number > max(1, has.gpus):
        raise ValueError(f"--processes {number}: a process needs a GPU of its own, and there are {has.gpus}")
    if address == "auto":
        address = "127.0.0.1" if has.nodes == 1 else source_address(database_url)
    return Team(number, processes != "auto", address, port, has.device)


def source_address(database_url: str) -> str:
    """Return the address from which this host reaches the database; where that is a file, its own."""
    parts = urlsplit(database_url)
    if parts.hostname is None:
        return "127.0.0.1"
    try:
        ways = socket.getaddrinfo(parts.hostname, parts.port or ANY_PORT, type=socket.SOCK_DGRAM)
        family, kind, _, _, target = ways[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ValueError(f"--address cannot be found out ({error}): give it") from error


def interface_of(address: str) -> str | None:
    """Return the network interface that has an IPv4 address; None: not known.

    gloo asks for the address of the host's name instead, which on many hosts is one that only they reach.
    """
    if sys.platform != "linux":
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name.encode()[:15])
            try:
                found = fcntl.ioctl(probe, SIOCGIFADDR, asked)[20:24]
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(found) == address:
                return name
    return None


def threads_of(env: Mapping[str, str], *, processes: int) -> int:
    """Return how many threads each of a node's processes has, given what one child would have.

    They are shared out, unless whoever started the worker said how many a process has.
    """
    threads = int(env["OMP_NUM_THREADS"])
    return threads if "OMP_NUM_THREADS" in os.environ else max(1, threads // processes)
