"""How registered names are written: ``portrait``, ``portrait@3``, ``portrait@production``. Pure."""

import hashlib
import re
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
NEWEST = "latest"
"""What is no alias, but always the newest version."""


@dataclass(frozen=True)
class Reference:
    """What was asked for: a name's newest version, one version, or what an alias points at."""

    name: str
    version: int | None = None
    alias: str | None = None


def reference(written: str) -> Reference | None:
    """Return what a model's name refers to if it is a registered one; None when it cannot be."""
    name, at, rest = written.partition("@")
    if NAME.fullmatch(name) is None:
        return None
    if not at or rest == NEWEST:
        return Reference(name)
    if NUMBER.fullmatch(rest):
        return Reference(name, version=int(rest))
    return Reference(name, alias=rest) if ALIAS.fullmatch(rest) else None


def falls_to_split(alias_id: str, request_key: str, share: float) -> bool:
    """Tell whether a request goes to the other version of a split: the same key always the same way.

    The key is hashed together with what names the alias, so that those who fall to the other version of one
    alias are not those of every alias. A share that grows keeps whom it had.
    """
    digest = hashlib.sha256(f"{alias_id}\0{request_key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
