"""A job as a whole: its curves, its pictures, and the report that is kept."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from api.deps import CallerDep, PlatformDep, SessionDep
from api.fine_tuning.report_schemas import CurveListing, CurveObject, ReportObject, ReportQuery, SampleQuery
from api.schemas import Listed, page_at
from api.streams import attachment, object_bytes
from core.models import Dataset
from core.report.collect import facts_of
from core.report.page import POLICY, render
from core.runs import jobs, views
from core.runs.curves import curves

router = APIRouter(prefix="/fine_tuning/jobs/{job_id}", tags=["fine-tuning"])

KEPT = "private, max-age=3600"
HTML = {"schema": {"type": "string"}}
PNG = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/report",
    response_model=ReportObject,
    responses={200: {"description": "The report, as JSON or as a page.", "content": {"text/html": HTML}}},
)
def report(
    job_id: str,
    session: SessionDep,
    parts: PlatformDep,
    who: CallerDep,
    query: Annotated[ReportQuery, Query()],
    accept: Annotated[str, Header(max_length=200)] = "*/*",
) -> Response:
    """Download the report of a job in any state: one HTML file that needs nothing else.

    Asked with ``Accept: application/json``, its facts.
    """
    job = jobs.get_job(session, project_id=who.project_id, job_id=job_id)
    other = query.other and jobs.get_job(session, project_id=who.project_id, job_id=query.other)
    facts = facts_of(session, job, compared_with=other or None)
    if accept.partition(";")[0].strip() == "application/json":
        return JSONResponse(ReportObject.of(facts).model_dump(mode="json"))
    dataset = session.get(Dataset, job.validation_dataset_id or job.dataset_id)
    return StreamingResponse(
        (piece.encode() for piece in render(facts, store=parts.store, dataset=dataset)),
        media_type="text/html; charset=utf-8",
        headers={
            "Content-Disposition": attachment(f"{facts.own.name}-report.html"),
            "Content-Security-Policy": POLICY,
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get("/curves", response_model=Listed[CurveObject])
def list_curves(
    job_id: str, session: SessionDep, who: CallerDep, query: Annotated[CurveListing, Query()]
) -> object:
    """List a job's training numbers as curves of few points, however long it ran."""
    job = jobs.get_job(session, project_id=who.project_id, job_id=job_id)
    names = query.names.split(",") if query.names else None
    found = curves(session, job, names=names, points=query.points)
    data = [CurveObject.of(each) for each in found]
    return page_at(data, [f"{each.name}/{each.iteration}" for each in found], has_more=False)


@router.get("/samples/content", response_class=Response, responses={200: {"content": {"image/png": PNG}}})
def sample_content(
    job_id: str,
    request: Request,
    session: SessionDep,
    parts: PlatformDep,
    who: CallerDep,
    query: Annotated[SampleQuery, Query()],
) -> Response:
    """Return one preview picture as PNG, at an address that stays."""
    sample = views.get_sample(
        session, project_id=who.project_id, job_id=job_id, iteration=query.iteration, index=query.index
    )
    answer = object_bytes(
        parts.store,
        sample.key,
        request.headers,
        filename=f"{job_id}-{query.iteration}-{query.index}.png",
        media_type="image/png",
    )
    answer.headers["Cache-Control"] = KEPT
    return answer
