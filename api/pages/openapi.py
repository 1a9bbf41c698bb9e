"""The schema of this API for machines, with what FastAPI cannot see: the methods' fields and the errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from spin_engine.config import Method

REFERENCE = "#/components/schemas/{model}"


class ErrorObject(BaseModel):
    """An error as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class FieldError(BaseModel):
    """One field that is wrong."""

    param: str
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 has it; ``errors`` is there when fields are wrong."""

    type: str
    title: str
    status: int
    detail: str
    error: ErrorObject
    errors: list[FieldError] | None = None


def schema_of(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas = made["components"]["schemas"]
    method = TypeAdapter(Method).json_schema(ref_template=REFERENCE)
    problem = Problem.model_json_schema(ref_template=REFERENCE)
    schemas |= method.pop("$defs") | problem.pop("$defs") | {"Problem": problem}
    told = schemas["JobCreate"]["properties"]["method"]
    schemas["JobCreate"]["properties"]["method"] = method | {
        name: told[name] for name in ("description", "examples", "title")
    }
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    answer = {
        "description": "An error.",
        "content": {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }
    for operations in made["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = answer
    app.openapi_schema = made
    return made
