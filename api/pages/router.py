"""The few pages for people: the reference of this API, from its own schema, without a network."""

from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from api.pages.forms import curl_of, form_of, resolve

router = APIRouter(include_in_schema=False)

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1c1e}
h1,h2{font-weight:600}h2{margin-top:2.5rem}details{border:1px solid #d8d8dc;border-radius:6px;margin:.5rem 0}
summary{padding:.5rem .75rem;cursor:pointer}summary code{font-weight:600}details>div{padding:0 1rem 1rem}
code,pre{font:14px ui-monospace,monospace}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid #ececf0}
.m{display:inline-block;min-width:4.5rem;color:#5b3cc4}p.q{color:#55555c}
form label{display:block;margin:.25rem 0}input,textarea{font:14px ui-monospace,monospace;max-width:100%}
textarea{width:100%;box-sizing:border-box}pre{overflow:auto;background:#8881;padding:.5rem;border-radius:4px}
@media (prefers-color-scheme:dark){body{background:#17171a;color:#eaeaee}details{border-color:#3a3a40}
td,th{border-color:#2c2c31}.m{color:#b7a3ff}p.q{color:#a0a0a8}}
"""
SCRIPT = Path(__file__).with_name("docs.js").read_text()
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def _kind(schema: dict[str, Any]) -> str:
    """Say in a few words what a value may be."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _told(schema: dict[str, Any]) -> str:
    """Return a field's description and its default."""
    default = schema.get("default")
    return str(schema.get("description", "")) + (f" Default: {default}." if default is not None else "")


def _rows(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    return "".join(
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}</td>"
        f"<td>{escape(_kind(one))}</td><td>{escape(_told(one))}</td></tr>"
        for name, one in schema.get("properties", {}).items()
    )


def _body(operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parts = []
    given = [each for each in operation.get("parameters", []) if each["in"] != "path"]
    if given:
        told = {each["name"]: each["schema"] | {"description": each.get("description", "")} for each in given}
        parts.append(f"<h4>Query and headers</h4><table>{_rows({'properties': told})}</table>")
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows = _rows(resolve(content["schema"], schemas))
        parts.append(f"<h4>Body, <code>{escape(kind)}</code></h4><table>{rows}</table>")
    answer = operation.get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
    rows = _rows(resolve(answer.get("schema", {}), schemas))
    if rows:
        parts.append(f"<h4>Answer</h4><table>{rows}</table>")
    return "".join(parts)


def _use(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return what sends a request: a line for a terminal, and a form."""
    return (
        f"<h4>Try it</h4><pre>{escape(curl_of(method, path, operation))}</pre>"
        f"{form_of(method, path, operation, schemas)}"
    )


def _methods(schemas: dict[str, Any]) -> str:
    """Return the hyperparameters of every method."""
    return "".join(
        f"<details><summary><code>{escape(name.removesuffix('Hyperparameters').lower())}</code></summary><div>"
        f"<p>{escape(one.get('description', ''))}</p><table>{_rows(one)}</table></div></details>"
        for name, one in schemas.items()
        if name.endswith("Hyperparameters")
    )


def _operations(schema: dict[str, Any]) -> dict[str, list[str]]:
    """Return one HTML block an operation, by tag."""
    schemas = schema.get("components", {}).get("schemas", {})
    found: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            block = (
                f"<details><summary><code><span class=m>{method.upper()}</span>{escape(path)}</code>"
                f"</summary><div><p>{escape(operation.get('description', ''))}</p>"
                f"{_body(operation, schemas)}{_use(method, path, operation, schemas)}</div></details>"
            )
            found.setdefault((operation.get("tags") or ["other"])[0], []).append(block)
    return found


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Show every address with its fields."""
    schema = request.app.openapi()
    sections = "".join(
        f"<h2>{escape(tag)}</h2>{''.join(blocks)}" for tag, blocks in _operations(schema).items()
    )
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Spindle API</title><style>{STYLE}</style>"
        f"<h1>Spindle {escape(schema['info']['version'])}</h1>"
        f"<p class=q>{escape(schema['info']['summary'])} Send <code>Authorization: Bearer KEY</code>; the "
        "unmodified OpenAI client works with <code>base_url=…/v1</code>. * marks what is required. "
        'The same for machines: <a href="/openapi.json">openapi.json</a>.</p>'
        "<p><label>Key for the forms below; it stays in this page: "
        '<input id="key" type="password" size="50" autocomplete="off"></label></p>'
        f"<script src=/docs.js defer></script>{sections}"
        f"<h2>hyperparameters of the methods</h2>{_methods(schema['components']['schemas'])}</html>"
    )
    return HTMLResponse(page, headers=HEADERS)


@router.get("/docs.js")
def script() -> Response:
    """Return what sends the forms of the reference."""
    return Response(SCRIPT, media_type="text/javascript", headers={"X-Content-Type-Options": "nosniff"})
