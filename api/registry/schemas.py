"""The shape of registered names, their versions and their aliases."""

from typing import Annotated, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.schemas import Input, Timestamp
from core.models import AliasMove, ModelAlias, ModelVersion, RegisteredModel
from core.registered.aliases import Split, target_of
from core.registered.names import Named

LARGEST = 2**31 - 1
Name = Annotated[str, Path(max_length=200, description="A registered name.")]
Alias = Annotated[str, Path(max_length=200, description="An alias of the name.")]
Version = Annotated[int, Path(ge=1, le=LARGEST, description="The number of a version.")]
NOTES = "What people should know of the version."
DESCRIPTION = "What the models of this name are for."


class NameCreate(Input):
    """What registers a name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "portrait", "description": "Portraits of foxes."}]}
    )

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="1 to 64 letters, digits, dots, dashes, underscores; not the name of a base model.",
    )
    description: str | None = Field(None, max_length=2000, description=DESCRIPTION)


class NameUpdate(Input):
    """What changes of a name."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "Portraits, also of owls."}]})

    description: str | None = Field(max_length=2000, description=DESCRIPTION)


class VersionCreate(Input):
    """What makes a version, and what is to point at it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "ftckpt-01k9v3m5x7q8r2s4t6w8y0z1ab", "notes": "Sharper eyes.", "alias": "staging"}
            ]
        }
    )

    model: str = Field(min_length=1, max_length=200, description="A result, a checkpoint or an import.")
    notes: str | None = Field(None, max_length=2000, description=NOTES)
    alias: str | None = Field(
        None,
        pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,63}$",
        description="An alias that is to point at the new version, alone, from the same moment.",
    )
    create: bool = Field(
        default=False, strict=True, description="Register the name if the project has none such."
    )


class VersionUpdate(Input):
    """What changes of a version."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notes": "Soft at 1024 pixels."}]})

    notes: str | None = Field(max_length=2000, description=NOTES)


class SplitObject(Input):
    """A part of the requests that goes to another version."""

    version: int = Field(ge=1, le=LARGEST, strict=True, description="The other version.")
    share: float = Field(gt=0, lt=1, strict=True, description="The part of the requests: 0.1 is a tenth.")

    @property
    def split(self) -> Split:
        """As the core has it."""
        return Split(self.version, self.share)


class AliasSet(Input):
    """What an alias is to point at."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"version": 2},
                {"version": 2, "split": {"version": 1, "share": 0.1}, "expected": 1},
            ]
        }
    )

    version: int = Field(ge=1, le=LARGEST, strict=True, description="A version of the name.")
    split: SplitObject | None = Field(None, description="Another version, for a share of the requests.")
    expected: int | None = Field(
        None,
        ge=0,
        le=LARGEST,
        strict=True,
        description="The version at which it must point until now, 0 when it must be new; else 409.",
    )


class AliasRollback(Input):
    """How an alias is taken back; nothing has to be told."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    expected: int | None = Field(
        None, ge=1, le=LARGEST, strict=True, description="The version at which it must point now; else 409."
    )


class AliasBrief(BaseModel):
    """An alias in the description of its name."""

    alias: str
    version: int
    split: SplitObject | None

    @classmethod
    def of(cls, row: ModelAlias) -> Self:
        """Render a row of an alias that is there."""
        assert row.version is not None
        return cls(alias=row.alias, version=row.version, split=_split(row))


def _split(row: ModelAlias | AliasMove) -> SplitObject | None:
    split = target_of(row).split
    return None if split is None else SplitObject(version=split.version, share=split.share)


class NameObject(BaseModel):
    """A registered name."""

    id: str
    object: Literal["registry.model"] = "registry.model"
    name: str
    description: str | None
    created: Timestamp
    created_by: str | None
    versions: int
    latest: int | None
    aliases: list[AliasBrief]

    @classmethod
    def of(cls, named: Named) -> Self:
        """Render a name with what it has."""
        row = named.row
        return cls(
            id=row.name,
            name=row.name,
            description=row.description,
            created=row.created_at,
            created_by=row.created_by,
            versions=named.versions,
            latest=named.latest,
            aliases=[AliasBrief.of(each) for each in named.aliases],
        )


class VersionObject(BaseModel):
    """One version of a name; its ``id`` is a model's name as well."""

    id: str
    object: Literal["registry.version"] = "registry.version"
    name: str
    version: int
    model: str
    notes: str | None
    created: Timestamp
    created_by: str | None
    aliases: list[str]

    @classmethod
    def of(cls, name: RegisteredModel, row: ModelVersion, aliases: list[str]) -> Self:
        """Render a row."""
        return cls(
            id=f"{name.name}@{row.version}",
            name=name.name,
            version=row.version,
            model=row.model_id,
            notes=row.notes,
            created=row.created_at,
            created_by=row.created_by,
            aliases=aliases,
        )


class AliasObject(BaseModel):
    """An alias; its ``id`` is a model's name as well."""

    id: str
    object: Literal["registry.alias"] = "registry.alias"
    name: str
    alias: str
    version: int
    split: SplitObject | None
    updated: Timestamp

    @classmethod
    def of(cls, name: RegisteredModel, row: ModelAlias) -> Self:
        """Render a row of an alias that is there."""
        assert row.version is not None
        return cls(
            id=f"{name.name}@{row.alias}",
            name=name.name,
            alias=row.alias,
            version=row.version,
            split=_split(row),
            updated=row.updated_at,
        )


class MoveObject(BaseModel):
    """One move of an alias: what it pointed at from then on; no version, when it was deleted.

    ``restores`` is the number of the move that a rollback went back to.
    """

    id: str
    object: Literal["registry.move"] = "registry.move"
    number: int
    cause: Literal["set", "rollback", "delete"]
    version: int | None
    split: SplitObject | None
    restores: int | None
    created: Timestamp
    created_by: str | None

    @classmethod
    def of(cls, row: AliasMove) -> Self:
        """Render a row."""
        return cls(
            id=str(row.number),
            number=row.number,
            cause=row.cause.value,
            version=row.version,
            split=_split(row),
            restores=row.restores,
            created=row.created_at,
            created_by=row.created_by,
        )
