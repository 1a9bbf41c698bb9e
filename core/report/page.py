"""The report: one HTML file that needs no network and no script, written while pictures are read."""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from core.clock import utcnow
from core.contents import rows as rows_of
from core.errors import AppError
from core.formats import duration, number, sentence, size
from core.models import Dataset
from core.report import chart
from core.report.facts import Facts
from core.report.measures import measures_of
from core.report.verdict import DOUBT, best_of, judge
from core.storage.store import ObjectStore

HERE = Path(__file__).parent
STYLE = (HERE / "report.css").read_text() + chart.STYLE.read_text()
STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{STYLE_DIGEST}'; base-uri 'none'; "
    "form-action 'none'"
)
LARGEST_SIDE = 384
"""Pixels of a picture in a report: it is looked at, not worked with."""
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {"duration": duration, "number": number, "size": size, "sentence": sentence}
TEMPLATES.globals |= {
    "line_chart": chart.line_chart,
    "iteration_chart": chart.iteration_chart,
    "interval_strip": chart.interval_strip,
    "cost_bars": chart.cost_bars,
    "spanned": chart.spanned,
    "best_of": best_of,
    "measures_of": measures_of,
}


def render(
    facts: Facts, *, store: ObjectStore, dataset: Dataset | None, program: str = "spindle"
) -> Iterator[str]:
    """Yield the report as HTML, a picture at a time. Reads the store; no session is needed.

    Args:
        facts: of the job.
        store: where the pictures lie.
        dataset: whose captions are drawn; its own pictures stand beside them. None: they are left out.
        program: how the command line is called.
    """
    facts = with_something(facts)
    template = TEMPLATES.get_template("report.html")
    return template.generate(
        facts=facts,
        verdict=judge(facts),
        doubt=DOUBT,
        style=STYLE,
        policy=POLICY,
        picture=lambda found: _embedded(store, found.key),
        real=_real(store, facts, dataset),
        versions=_versions(store, facts) | {"spindle": version("spindle")},
        now=utcnow(),
        program=program,
    )


def with_something(facts: Facts) -> Facts:
    """Leave out the models of which nothing was drawn or measured yet."""
    kept = [
        index
        for index, column in enumerate(facts.columns)
        if column.role == "base" or column.measured or any(row.pictures[index] for row in facts.rows)
    ]
    return replace(
        facts,
        columns=tuple(facts.columns[index] for index in kept),
        rows=tuple(replace(row, pictures=tuple(row.pictures[index] for index in kept)) for row in facts.rows),
    )


def _embedded(store: ObjectStore, key: str) -> str | None:
    """Return a picture as a data URI, made smaller if it is large; None when it cannot be had."""
    try:
        with store.open(key) as stream:
            data = stream.read()
        with Image.open(io.BytesIO(data)) as picture:
            kind = picture.format or "PNG"
            if max(picture.size) > LARGEST_SIDE:
                picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
                out = io.BytesIO()
                picture.convert("RGB").save(out, "WEBP", quality=88)
                data, kind = out.getvalue(), "WEBP"
    except (OSError, AppError):
        return None
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"


def _real(store: ObjectStore, facts: Facts, dataset: Dataset | None) -> dict[int, str]:
    """Return the data's own pictures by the row that draws their caption: previews are of its first rows."""
    if dataset is None or not facts.rows:
        return {}
    try:
        found = rows_of(store, dataset, after=None, limit=1 + max(row.index for row in facts.rows))
    except (OSError, AppError):
        return {}
    by_index = {each.index: each for each in found.items}
    return {
        row.index: by_index[row.index].thumbnail
        for row in facts.rows
        if row.index in by_index and by_index[row.index].text == row.prompt
    }


def _versions(store: ObjectStore, facts: Facts) -> dict[str, str]:
    """Return with what the job was run, as its last measurement wrote it down."""
    for key in facts.report_keys[:1]:
        try:
            with store.open(key) as stream:
                told = json.loads(stream.read()).get("versions") or {}
        except (OSError, AppError, ValueError):
            return {}
        return {str(name): str(value) for name, value in told.items()}
    return {}
