"""Models: base models, results, and checkpoints under their ids."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api.deps import CallerDep, PlatformDep, SessionDep
from api.models.schemas import Lineage, ModelObject
from api.schemas import Deleted, Listed, ListQuery, page_of
from api.streams import attachment, entries_of, zip_chunks
from core import registry

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", response_model=Listed[ModelObject])
def list_models(session: SessionDep, who: CallerDep, query: ListQuery) -> object:
    """List the base models and the project's results. Checkpoints are listed by their job."""
    page = registry.list_models(session, project_id=who.project_id, after=query.after, limit=query.limit)
    return page_of([ModelObject.of(model) for model in page.items], has_more=page.has_more)


@router.get("/{model_id}", response_model=ModelObject)
def retrieve(model_id: str, session: SessionDep, who: CallerDep) -> ModelObject:
    """Return one model, or one checkpoint as a model."""
    return ModelObject.of(registry.get_model(session, project_id=who.project_id, model_id=model_id))


@router.delete("/{model_id}", response_model=Deleted)
def delete(model_id: str, session: SessionDep, who: CallerDep) -> Deleted:
    """Delete a result. Its job and checkpoints stay."""
    registry.delete_model(session, project_id=who.project_id, model_id=model_id)
    return Deleted(id=model_id, object="model")


@router.get("/{model_id}/lineage", response_model=Lineage)
def lineage(model_id: str, session: SessionDep, who: CallerDep) -> object:
    """Tell where a model comes from: dataset version, job, iteration, checkpoint, model."""
    steps = registry.lineage(session, project_id=who.project_id, model_id=model_id)
    return {"id": model_id, "data": steps}


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
