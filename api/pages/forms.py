"""How a request is sent by hand: a line for a terminal, and a form in the page."""

import json
import shlex
from html import escape
from typing import Any


def resolve(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return what a reference stands for, or the schema itself."""
    reference = schema.get("$ref", "")
    found = schemas.get(reference.rpartition("/")[2], schema) if reference else schema
    return dict(found)


def curl_of(method: str, path: str, operation: dict[str, Any]) -> str:
    """Return a command that sends the example; ``$KEY`` and what stands in braces is to be filled in."""
    words = [f'curl -X {method.upper()} "$SPINDLE_URL{path}"']
    if "security" in operation:
        words.append('-H "Authorization: Bearer $KEY"')
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        example = media.get("example", {})
        if kind == "multipart/form-data":
            binary = _binary(media["schema"])
            words += [
                f"-F {shlex.quote(f'{name}=@{value}' if name in binary else f'{name}={value}')}"
                for name, value in example.items()
            ]
        else:
            words.append(f"--json {shlex.quote(json.dumps(example))}")
    return " \\\n  ".join(words)


def form_of(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    """Return a form that docs.js sends: its fields are named by where they go."""
    fields = [
        f"<label>{escape(each['name'])} <input name='{each['in']}:{escape(each['name'])}'"
        f"{' required' if each['required'] else ''}></label>"
        for each in operation.get("parameters", ())
    ]
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        example = media.get("example", {})
        if kind == "multipart/form-data":
            schema = resolve(media["schema"], schemas)
            fields += [_part(name, example.get(name), schema) for name in schema["properties"]]
        else:
            text = json.dumps(example, indent=2, ensure_ascii=False)
            rows = text.count("\n") + 1
            fields.append(f"<label>body <textarea name=body rows={rows}>{escape(text)}</textarea></label>")
    return (
        f'<form data-method="{method.upper()}" data-path="{escape(path)}">{"".join(fields)}'
        "<button>Send</button><pre hidden></pre></form>"
    )


def _part(name: str, example: Any | None, schema: dict[str, Any]) -> str:
    """Return the field of one part of a multipart form."""
    required = " required" if name in schema.get("required", ()) else ""
    kind = "type=file" if name in _binary(schema) else f'value="{escape(str(example or ""))}"'
    return f"<label>{escape(name)} <input name='form:{escape(name)}' {kind}{required}></label>"


def _binary(schema: dict[str, Any]) -> set[str]:
    return {name for name, each in schema.get("properties", {}).items() if each.get("format") == "binary"}
