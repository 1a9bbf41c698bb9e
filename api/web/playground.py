"""The playground: a form that draws, and what the project has drawn lately."""

import json
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.deps import PlatformDep, SessionDep
from api.web.links import steady_url
from api.web.models_choice import choices
from api.web.pages import VisitorDep, page
from core import drawings, workers
from core.models import Drawing, DrawingState
from core.storage.store import ObjectStore

router = APIRouter(include_in_schema=False)

SHOWN = 18
ASKED = 40
Text = Annotated[str, Query(max_length=4000)]


@dataclass(frozen=True)
class Picture:
    """One picture of the history; ``settings`` are what draws it again, in JSON."""

    url: str | None
    prompt: str
    model: str
    seed: int
    state: DrawingState
    settings: str
    failure: str | None


@router.get("/playground")
def playground(
    request: Request,
    session: SessionDep,
    parts: PlatformDep,
    who: VisitorDep,
    model: Text = "",
    beside: Text = "",
    prompt: Text = "",
) -> Response:
    """Show the form, filled with what the address says."""
    found = choices(session, project_id=who.project_id)
    newest = drawings.list_drawings(session, project_id=who.project_id, limit=ASKED, background=False)
    return page(
        request,
        "playground/page.html",
        who=who,
        models=found,
        asked=model,
        beside=beside,
        prompt=prompt,
        serving=workers.seen(session, within=workers.LIVING_SECONDS).get("serve", 0),
        drawn=[
            one
            for drawing in newest.items
            if drawing.state is not DrawingState.cancelled
            for one in pictures_of(drawing, parts.store)
        ][:SHOWN],
    )


def pictures_of(drawing: Drawing, store: ObjectStore) -> list[Picture]:
    """Return what a drawing has to show: a picture a seed, or in their place how it stands."""
    request, files = drawing.request, (drawing.result or {}).get("files", [])
    size = f"{request['width']}x{request['height']}" if request["width"] else "auto"
    model = drawing.alias or drawing.model_id
    told = {name: request[name] for name in ("prompt", "negative_prompt", "steps", "guidance_scale")}
    failure = (drawing.failure or {}).get("message")
    return [
        Picture(
            url=steady_url(store, files[place]["key"]) if files else None,
            prompt=request["prompt"],
            model=model,
            seed=seed,
            state=drawing.state,
            settings=json.dumps(told | {"model": model, "seed": seed, "size": size}),
            failure=failure,
        )
        for place, seed in enumerate(request["seeds"] if files else request["seeds"][:1])
    ]
