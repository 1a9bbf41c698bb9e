"""Models: base models, results, and checkpoints under their ids."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.deps import CallerDep, PlatformDep, SessionDep
from api.models.schemas import CardFacts, Lineage, ModelListing, ModelObject
from api.schemas import Deleted, Listed, page_of
from api.streams import attachment, entries_of, zip_chunks
from core import registry
from core.cards.facts import facts_of
from core.cards.markdown import write
from core.lineage import graph, picture, steps
from core.models import ModelKind
from core.registered.lookup import versions_of

router = APIRouter(prefix="/models", tags=["models"])

LINK_SECONDS = 3600
MARKDOWN = "text/markdown"
SVG = "image/svg+xml"
ALONE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}
"""A drawing that a browser shows by itself loads and runs nothing."""


@router.get("", response_model=Listed[ModelObject])
def list_models(session: SessionDep, who: CallerDep, query: Annotated[ModelListing, Query()]) -> object:
    """List the base models and the project's results and imports. Checkpoints are listed by their job."""
    page = registry.list_models(
        session,
        project_id=who.project_id,
        after=query.after,
        limit=query.limit,
        kind=None if query.kind is None else ModelKind(query.kind),
        search=query.search,
    )
    registered = versions_of(session, [model.id for model in page.items])
    data = [ModelObject.of(model, registered.get(model.id, [])) for model in page.items]
    return page_of(data, has_more=page.has_more)


@router.get("/{model_id}", response_model=ModelObject)
def retrieve(model_id: str, session: SessionDep, who: CallerDep) -> ModelObject:
    """Return one model by any of its names, or one checkpoint as a model."""
    model = registry.get_model(session, project_id=who.project_id, model_id=model_id)
    return ModelObject.of(model, versions_of(session, [model.id]).get(model.id, []))


@router.delete("/{model_id}", response_model=Deleted)
def delete(model_id: str, session: SessionDep, who: CallerDep) -> Deleted:
    """Delete a result or an import that no version names. Its job and checkpoints stay."""
    registry.delete_model(session, project_id=who.project_id, model_id=model_id)
    return Deleted(id=model_id, object="model")


@router.get("/{model_id}/lineage", response_model=Lineage)
def lineage(model_id: str, session: SessionDep, who: CallerDep) -> object:
    """Tell where a model comes from, and what came of it.

    `data` are the steps that led to it, one after the other. `nodes` and `edges` are those as a graph, and
    beyond the model its versions and aliases, the jobs that started from it, and the newest pictures.
    """
    model = registry.get_model(session, project_id=who.project_id, model_id=model_id)
    return {
        "id": model.id,
        "data": steps.lineage(session, project_id=who.project_id, model_id=model.id),
        **graph.graph_of(session, project_id=who.project_id, model_id=model.id).as_json(),
    }


@router.get(
    "/{model_id}/lineage.svg",
    response_class=Response,
    responses={200: {"content": {SVG: {"schema": {"type": "string"}}}}},
)
def draw_lineage(model_id: str, session: SessionDep, who: CallerDep) -> Response:
    """Draw the graph of a model's lineage as an SVG, for light and dark."""
    found = graph.graph_of(session, project_id=who.project_id, model_id=model_id)
    return Response(picture.picture_of(found), media_type=SVG, headers=ALONE)


@router.get(
    "/{model_id}/card",
    response_model=CardFacts,
    responses={200: {"content": {MARKDOWN: {"schema": {"type": "string"}}}}},
)
def card(
    model_id: str,
    session: SessionDep,
    parts: PlatformDep,
    who: CallerDep,
    accept: Annotated[str, Header(max_length=1000)] = "",
) -> Response:
    """Return the model card, written from the facts: data, method, settings, metrics, licences.

    Markdown with the front matter that model hubs read; with `Accept: application/json` the facts as well.
    Links to pictures are good for an hour.
    """
    model = registry.get_model(session, project_id=who.project_id, model_id=model_id)
    facts = facts_of(session, model)
    written = write(facts, link=lambda each: parts.store.signed_url(each.file.key, LINK_SECONDS))
    told = {"Vary": "Accept"}
    if "application/json" in accept:
        found = CardFacts(id=model.id, markdown=written, facts=facts.as_json())
        return JSONResponse(jsonable_encoder(found), headers=told)
    return Response(written, media_type=MARKDOWN, headers=told)


@router.get("/{model_id}/content", response_class=StreamingResponse)
def content(model_id: str, session: SessionDep, parts: PlatformDep, who: CallerDep) -> StreamingResponse:
    """Download a model as a zip of its diffusers folder, made while it is read."""
    source = registry.files_of(session, project_id=who.project_id, model_id=model_id)
    name = model_id.replace(":", "-").replace("/", "-") + ".zip"
    return StreamingResponse(
        zip_chunks(entries_of(parts.store, source)),
        media_type="application/zip",
        headers={"Content-Disposition": attachment(name), "X-Content-Type-Options": "nosniff"},
    )
