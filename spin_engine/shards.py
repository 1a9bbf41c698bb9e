"""Encoded shards through a window of bounded size: a data set may be larger than memory and disk."""

from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file
from torch import Tensor

from spin_engine.store import Store


def shard_name(number: int) -> str:
    """Return the file of a shard."""
    return f"shard-{number:05d}.safetensors"


class Shards:
    """At most ``most`` shards, mapped into memory; the one that was not asked for the longest goes first.

    A shard on this machine costs the pages that are read of it. A remote one is copied to the disk for as
    long as it is open, so the disk holds ``most`` shards whatever the size of the data.
    """

    def __init__(self, store: Store, *, most: int) -> None:
        """Open nothing yet."""
        assert most > 0, "nothing could be read"
        self._store = store
        self._most = most
        self._open: OrderedDict[int, dict[str, Tensor]] = OrderedDict()
        self.fetched = 0
        """How many times a shard was opened."""

    def __len__(self) -> int:
        """Return how many shards are open."""
        return len(self._open)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return a shard's tensors; they stay mapped as long as somebody holds one."""
        found = self._open.get(number)
        if found is None:
            while len(self._open) >= self._most:
                self._open.popitem(last=False)
            found = self._open[number] = self._map(number)
            self.fetched += 1
        self._open.move_to_end(number)
        return found

    def _map(self, number: int) -> dict[str, Tensor]:
        """Map a shard; a copy has no name any more, so it is gone from the disk when nobody holds it."""
        with TemporaryDirectory() as scratch:
            return load_file(self._store.local(shard_name(number), Path(scratch)))
