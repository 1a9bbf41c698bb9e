"""The schema of this API for machines, with what FastAPI cannot see: methods, scopes, errors, examples."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from spin_engine.config import Method

REFERENCE = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"
LOOKED_UP = {"model"}  # fields of a query that name something, which may not be there
ERRORS = {
    "400": "The body is not JSON.",
    "401": "There is no key, or it is not known, revoked or expired.",
    "403": "The key does not have the scope.",
    "404": "What the request names is not there, or is another project's.",
    "408": "The body did not come in time.",
    "409": "Not possible as things stand, or the first request with this Idempotency-Key still runs.",
    "413": "The body is larger than this address takes.",
    "422": "A field cannot be used as it is, or the Idempotency-Key was used for something else.",
    "429": "Over the key's rate, or over a limit of the project.",
    "431": "The headers are too large.",
    "503": "A part of the platform does not answer now.",
}


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
    parts = made["components"]
    schemas = parts["schemas"]
    method = TypeAdapter(Method).json_schema(ref_template=REFERENCE)
    problem = Problem.model_json_schema(ref_template=REFERENCE)
    schemas |= method.pop("$defs") | problem.pop("$defs") | {"Problem": problem}
    told = schemas["JobCreate"]["properties"]["method"]
    schemas["JobCreate"]["properties"]["method"] = method | {
        name: told[name] for name in ("description", "examples", "title")
    }
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for name, each in schemas.items():
        if name.endswith("Hyperparameters"):
            each["properties"] = {key: _or_auto(field) for key, field in each["properties"].items()}
    content = {PROBLEM: {"schema": {"$ref": REFERENCE.format(model="Problem")}}}
    parts["responses"] = {
        f"Error{status}": {"description": text, "content": content} for status, text in ERRORS.items()
    }
    for path, operations in made["paths"].items():
        for verb, operation in operations.items():
            _complete(operation, schemas, verb=verb, path=path)
    app.openapi_schema = made
    return made


def _complete(operation: dict[str, Any], schemas: dict[str, Any], *, verb: str, path: str) -> None:
    """Add to an operation its summary, its scope, an example of its body and the errors it may answer."""
    text = operation.get("description", "")
    operation["summary"] = text.partition("\n")[0].partition(". ")[0].rstrip(".")
    scope = _narrow(operation, verb)
    if scope is not None:
        operation["description"] = f"{text}\n\nNeeds a key with the scope `{scope}`."
    body = operation.get("requestBody", {}).get("content", {})
    for media in body.values():
        example = _example_of(media["schema"], schemas)
        if example is not None:
            media.setdefault("example", example)
    operation["responses"].pop("422", None)
    operation["responses"] = {
        status: {"$ref": f"#/components/responses/Error{status}"}
        for status in _errors(operation, verb=verb, path=path, scope=scope)
    } | operation["responses"]


def _or_auto(field: dict[str, Any]) -> dict[str, Any]:
    """Return a hyperparameter's schema with the word that stands for the recommendation."""
    told = {name: field[name] for name in ("title", "description", "default") if name in field}
    kind = {name: each for name, each in field.items() if name not in told}
    return told | {"anyOf": [*kind.get("anyOf", [kind]), {"const": "auto"}]}


def _errors(operation: dict[str, Any], *, verb: str, path: str, scope: str | None) -> list[str]:
    """Return the statuses of the errors that an operation may answer."""
    has_body = "requestBody" in operation
    asked = {each.get("name") for each in operation.get("parameters", ()) if each.get("in") == "query"}
    found = {"422", "431", "503"} if path.startswith("/v1/") else {"431", "503"}
    if scope is not None:
        found |= {"401", "403", "429"}
    if "{" in path or has_body or asked & LOOKED_UP:
        found.add("404")
    if verb != "get":
        found |= {"409"}
    if has_body:
        found |= {"400", "408", "413"}
    return sorted(found)


def _example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any | None:
    """Return the example of a body: its model's own."""
    for each in (schema, *schema.get("anyOf", ())):
        model = schemas.get(each.get("$ref", "").rpartition("/")[2], each)
        if "examples" in model:
            return model["examples"][0]
    return None


def _narrow(operation: dict[str, Any], verb: str) -> str | None:
    """Return the one scope that an operation wants, and tell it; None where no key is needed."""
    if "security" not in operation:
        return None
    [(scheme, scopes)] = operation["security"][0].items()
    if scopes == ["read", "train"]:  # api.deps.caller
        scopes = ["read" if verb == "get" else "train"]
    [scope] = scopes
    operation["security"] = [{scheme: [scope]}]
    return str(scope)
