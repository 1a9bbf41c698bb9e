"""Before there is a job: what it can be made of, and what it would come to."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.deps import CallerDep, OnceDep, SessionDep
from api.fine_tuning.plan_schemas import EstimateObject, MethodListing, MethodObject
from api.fine_tuning.schemas import JobCreate
from api.schemas import Listed, page_at
from core import offers, registry
from core.models import Device
from core.runs.forecast import forecast

router = APIRouter(prefix="/fine_tuning", tags=["fine-tuning"])


@router.post("/estimates", response_model=EstimateObject)
def estimate(body: JobCreate, session: SessionDep, who: CallerDep, once: OnceDep) -> JSONResponse:
    """Tell what a job with this body would come to. Nothing is made; mistakes are told as for a job."""
    return once(
        session,
        lambda: EstimateObject.of(
            forecast(
                session,
                project_id=who.project_id,
                model=body.model,
                training_file=body.training_file,
                method=body.method,
                validation_file=body.validation_file,
                priority=body.priority,
                queue=body.queue,
                device=None if body.device == "auto" else Device(body.device),
            )
        ),
        recorded=False,
    )


@router.get("/methods", response_model=Listed[MethodObject])
def list_methods(session: SessionDep, who: CallerDep, query: Annotated[MethodListing, Query()]) -> object:
    """List the methods with their hyperparameters and presets, as a model recommends them."""
    defaults = None
    if query.model is not None:
        found = registry.get_model(session, project_id=who.project_id, model_id=query.model)
        defaults = found.defaults
    data = [MethodObject.of(each) for each in offers.offers(defaults)]
    return page_at(data, [each.type for each in data], has_more=False)
