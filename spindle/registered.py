"""What the API answers of registered names, exports, imports and cards."""

from typing import Any

from spindle.results import Result


class Split(Result):
    """A part of the requests, which goes to another version."""

    version: int
    share: float


class AliasBrief(Result):
    """An alias in the description of its name."""

    alias: str
    version: int
    split: Split | None = None


class Name(Result):
    """A registered name; ``latest`` is the number of its newest version."""

    id: str
    name: str
    description: str | None = None
    created: int = 0
    versions: int = 0
    latest: int | None = None
    aliases: tuple[AliasBrief, ...] = ()


class Version(Result):
    """One version of a name; its ``id`` is a model's name as well."""

    id: str
    name: str
    version: int
    model: str
    notes: str | None = None
    created: int = 0
    created_by: str | None = None
    aliases: tuple[str, ...] = ()


class Alias(Result):
    """What an alias points at; its ``id`` is a model's name as well."""

    id: str
    name: str
    alias: str
    version: int
    split: Split | None = None
    updated: int = 0


class Move(Result):
    """One move of an alias; ``restores`` is the number of the move that a rollback went back to."""

    number: int
    cause: str
    version: int | None = None
    split: Split | None = None
    restores: int | None = None
    created: int = 0
    created_by: str | None = None


class Export(Result):
    """A model in a form that other programs read."""

    id: str
    model: str
    format: str
    status: str
    filename: str = ""
    bytes: int | None = None
    sha256: str | None = None
    failure: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether it can be downloaded, or never will be."""
        return self.status != "pending"


class Import(Result):
    """A file that becomes a model; ``model`` is its name, once ``status`` is ready."""

    id: str
    file: str
    status: str
    model: str | None = None
    base_model: str | None = None
    licence: str | None = None
    found: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    created: int = 0

    @property
    def finished(self) -> bool:
        """Whether it has become a model, or was refused."""
        return self.status != "pending"


class Card(Result):
    """A model card: the text, and the facts that it was written from."""

    id: str
    markdown: str
    facts: dict[str, Any]
