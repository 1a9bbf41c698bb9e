"""The processes of one node that train together: their command, and what they are told."""

from pathlib import Path
from typing import Any

from core.models import Device
from core.runs.seats import Start
from worker.attempt import Attempt
from worker.child import Child, environment
from worker.lease import Order
from worker.team import interface_of, threads_of
from worker.warm import ENGINE


def launched(attempt: Attempt[Any], path: Path, start: Start, *, processes: int) -> Child:
    """Start a node's processes of a training; forked from the warm process, if there is one.

    Raises:
        Interrupted: an order came meanwhile.
    """
    place, env = attempt.place, environment()
    told: dict[str, Any] = {
        "processes": processes,
        "first": start.first,
        "world": start.world,
        "address": start.address,
        "port": start.port,
        "seconds": place.settings.gang_seconds,
        "threads": threads_of(env, processes=processes),
    }
    interface = interface_of(place.team.address)
    if interface is not None:
        told["interface"] = interface
    options = [word for name, value in told.items() for word in (f"--{name}", str(value))]
    if place.team.device is Device.cpu:
        options.append("--cpu")

    def go_on() -> bool:
        return attempt.lease.order is Order.go_on

    return Child(
        [*ENGINE, "launch", *options, str(path)],
        env=env,
        folder=attempt.scratch,
        warm=place.warm if place.warm.ready(go_on=go_on) else None,
    )


def alone(port: int, processes: int) -> Start:
    """Return how processes start that have this host to themselves."""
    return Start("127.0.0.1", port, 0, processes)
