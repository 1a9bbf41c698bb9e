"""Where processes of one training meet before they start, and how one tells that it has lost the others."""

import os
from datetime import timedelta

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore

SECONDS = "SPIN_ENGINE_MEET_SECONDS"
"""Set by ``launch``; other launchers have rendezvous of their own."""
LOST = ("closed by peer", "reset by peer", "broken pipe", "timed out", "connection refused", "remote process")


class PeersLostError(RuntimeError):
    """The other processes of this training are not to be reached."""


def meet() -> TCPStore | None:
    """Wait for the other processes; None where there is none, or another launcher's.

    What is returned has to live until accelerate has met them too: it does so in the same place.

    Raises:
        PeersLostError: not all came in time.
    """
    world, seconds = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get(SECONDS)
    if world == 1 or seconds is None:
        return None
    rank, address, port = int(os.environ["RANK"]), os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        return TCPStore(
            address,
            port,
            world,
            is_master=rank == 0,
            timeout=timedelta(seconds=float(seconds)),
            multi_tenant=True,
        )
    except (dist.DistStoreError, dist.DistNetworkError) as error:
        raise PeersLostError(
            f"process {rank} of {world} did not meet the others at {address}:{port} within {seconds} s: "
            "the workers' --address must be reachable from each other on every TCP port "
            f"({str(error).splitlines()[0]})"
        ) from error


def is_loss_of_peers(error: BaseException) -> bool:
    """Return whether an error says that another process of this training has ended."""
    if isinstance(error, PeersLostError | dist.DistNetworkError | dist.DistStoreError):
        return True
    if os.environ.get("WORLD_SIZE", "1") == "1" or not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return ("gloo" in text or isinstance(error, dist.DistBackendError)) and any(each in text for each in LOST)
