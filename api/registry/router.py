"""The registry: names of a project's own, their versions, and aliases that move between these."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.deps import CallerDep, OnceDep, SessionDep
from api.registry.schemas import (
    Alias,
    AliasObject,
    AliasRollback,
    AliasSet,
    MoveObject,
    Name,
    NameCreate,
    NameObject,
    NameUpdate,
    Version,
    VersionCreate,
    VersionObject,
    VersionUpdate,
)
from api.schemas import Deleted, Listed, ListQuery, page_of
from core.registered import aliases, names, versions

router = APIRouter(prefix="/registry", tags=["registry"])


@router.post("", response_model=NameObject)
def create(body: NameCreate, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Register a name, under which models come out as versions 1, 2, ..."""

    def work() -> NameObject:
        row = names.create_name(
            session,
            project_id=who.project_id,
            name=body.name,
            description=body.description,
            key_id=who.key_id,
        )
        return NameObject.of(names.describe(session, [row])[0])

    return once(session, work)


@router.get("", response_model=Listed[NameObject])
def list_names(session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List the project's registered names with their aliases, newest first."""
    page = names.list_names(session, project_id=who.project_id, after=query.after, limit=query.limit)
    data = [NameObject.of(each) for each in names.describe(session, page.items)]
    return page_of(data, has_more=page.has_more)


@router.get("/{name}", response_model=NameObject)
def retrieve(name: Name, session: SessionDep, who: CallerDep) -> NameObject:
    """Return a registered name with its aliases."""
    row = names.get_name(session, project_id=who.project_id, name=name)
    return NameObject.of(names.describe(session, [row])[0])


@router.patch("/{name}", response_model=NameObject)
def change(name: Name, body: NameUpdate, session: SessionDep, who: CallerDep) -> NameObject:
    """Change what is said of a name."""
    row = names.change_name(session, project_id=who.project_id, name=name, description=body.description)
    return NameObject.of(names.describe(session, [row])[0])


@router.delete("/{name}", response_model=Deleted)
def delete(name: Name, session: SessionDep, who: CallerDep) -> Deleted:
    """Remove a name that has no alias, with its versions. The models stay."""
    names.delete_name(session, project_id=who.project_id, name=name)
    return Deleted(id=name, object="registry.model")


@router.post("/{name}/versions", response_model=VersionObject)
def add_version(
    name: Name, body: VersionCreate, session: SessionDep, who: CallerDep, once: OnceDep
) -> JSONResponse:
    """Make a model the next version of a name, and let an alias point at it.

    The model can be deleted no more, until the version is.
    """

    def work() -> VersionObject:
        made = versions.add_version(
            session,
            project_id=who.project_id,
            name=name,
            model=body.model,
            notes=body.notes,
            create=body.create,
            key_id=who.key_id,
        )
        if body.alias is not None:
            aliases.point(
                session,
                project_id=who.project_id,
                name=name,
                alias=body.alias,
                version=made.version,
                key_id=who.key_id,
            )
        row = names.get_name(session, project_id=who.project_id, name=name)
        return VersionObject.of(row, made, [] if body.alias is None else [body.alias])

    return once(session, work)


@router.get("/{name}/versions", response_model=Listed[VersionObject])
def list_versions(name: Name, session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List a name's versions, newest first, each with the aliases that point at it."""
    row, page = versions.list_versions(
        session, project_id=who.project_id, name=name, after=query.after, limit=query.limit
    )
    pointing = versions.aliases_of(session, row.id)
    data = [VersionObject.of(row, each, pointing[each.version]) for each in page.items]
    return page_of(data, has_more=page.has_more)


@router.get("/{name}/versions/{version}", response_model=VersionObject)
def retrieve_version(name: Name, version: Version, session: SessionDep, who: CallerDep) -> VersionObject:
    """Return one version of a name."""
    row, found = versions.get_version(session, project_id=who.project_id, name=name, version=version)
    return VersionObject.of(row, found, versions.aliases_of(session, row.id)[version])


@router.patch("/{name}/versions/{version}", response_model=VersionObject)
def change_version(
    name: Name, version: Version, body: VersionUpdate, session: SessionDep, who: CallerDep
) -> VersionObject:
    """Change what is said of a version. Which model it is never changes."""
    row, found = versions.change_version(
        session, project_id=who.project_id, name=name, version=version, notes=body.notes
    )
    return VersionObject.of(row, found, versions.aliases_of(session, row.id)[version])


@router.delete("/{name}/versions/{version}", response_model=Deleted)
def delete_version(name: Name, version: Version, session: SessionDep, who: CallerDep) -> Deleted:
    """Let go of a version at which no alias points. The model stays; the number is not given again."""
    versions.delete_version(session, project_id=who.project_id, name=name, version=version)
    return Deleted(id=f"{name}@{version}", object="registry.version")


@router.get("/{name}/aliases", response_model=Listed[AliasObject])
def list_aliases(name: Name, session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List a name's aliases by the alphabet."""
    row, page = aliases.list_aliases(
        session, project_id=who.project_id, name=name, after=query.after, limit=query.limit
    )
    return page_of([AliasObject.of(row, each) for each in page.items], has_more=page.has_more)


@router.put("/{name}/aliases/{alias}", response_model=AliasObject)
def point(name: Name, alias: Alias, body: AliasSet, session: SessionDep, who: CallerDep) -> AliasObject:
    """Make an alias point at a version, and for a share of the requests at another.

    It moves in one statement: whoever asks gets what was before or what is after. With ``expected`` it moves
    only if it still points there.
    """
    row, moved = aliases.point(
        session,
        project_id=who.project_id,
        name=name,
        alias=alias,
        version=body.version,
        split=None if body.split is None else body.split.split,
        expected=body.expected,
        key_id=who.key_id,
    )
    return AliasObject.of(row, moved)


@router.get("/{name}/aliases/{alias}", response_model=AliasObject)
def retrieve_alias(name: Name, alias: Alias, session: SessionDep, who: CallerDep) -> AliasObject:
    """Return what an alias points at."""
    row, found = aliases.get_alias(session, project_id=who.project_id, name=name, alias=alias)
    return AliasObject.of(row, found)


@router.delete("/{name}/aliases/{alias}", response_model=Deleted)
def delete_alias(name: Name, alias: Alias, session: SessionDep, who: CallerDep) -> Deleted:
    """Take an alias away. Its history stays, and goes on if it comes back."""
    aliases.delete_alias(session, project_id=who.project_id, name=name, alias=alias, key_id=who.key_id)
    return Deleted(id=f"{name}@{alias}", object="registry.alias")


@router.get("/{name}/aliases/{alias}/history", response_model=Listed[MoveObject])
def history(name: Name, alias: Alias, session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List every move of an alias, newest first: where to, when, by which key, and why."""
    _, page = aliases.history(
        session,
        project_id=who.project_id,
        name=name,
        alias=alias,
        after=query.after,
        limit=query.limit,
    )
    return page_of([MoveObject.of(each) for each in page.items], has_more=page.has_more)


@router.post("/{name}/aliases/{alias}/rollback", response_model=AliasObject)
def rollback(
    name: Name,
    alias: Alias,
    session: SessionDep,
    who: CallerDep,
    once: OnceDep,
    body: AliasRollback | None = None,
) -> JSONResponse:
    """Make an alias point where it did before, split and all; once more, and it goes one further back."""

    def work() -> AliasObject:
        row, moved = aliases.rollback(
            session,
            project_id=who.project_id,
            name=name,
            alias=alias,
            expected=None if body is None else body.expected,
            key_id=who.key_id,
        )
        return AliasObject.of(row, moved)

    return once(session, work)
