"""The dashboard: pages for people, made here and brought to life by a little script."""

from fastapi import APIRouter

from api.web import (
    audit,
    comparisons,
    comparisons_results,
    datasets,
    job_form,
    jobs,
    keys,
    models,
    models_detail,
    models_names,
    overview,
    playground,
    project,
    queue,
    signing,
    static_files,
    webhooks,
)

router = APIRouter(include_in_schema=False)
for pages in (
    overview,
    job_form,
    jobs,
    datasets,
    project,
    keys,
    webhooks,
    audit,
    queue,
    models,
    models_names,
    models_detail,
    playground,
    comparisons,
    comparisons_results,
    signing,
    static_files,
):
    router.include_router(pages.router)
