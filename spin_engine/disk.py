"""Whether an error says that a disk has no room."""

import errno
import re

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
DISK_FULL = re.compile(
    r"no space left on device|disk quota exceeded|file too large|disk is full", re.IGNORECASE
)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error says that a disk, a quota or a file can grow no more.

    By its words too: what is written by native code (safetensors, SQLite) comes without a number.
    """
    return (isinstance(error, OSError) and error.errno in NO_ROOM) or DISK_FULL.search(str(error)) is not None
