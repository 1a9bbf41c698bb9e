"""A model card from the facts: Markdown with the front matter that model hubs read. Pure, but for card_of."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml
from sqlalchemy.orm import Session

from core.cards.facts import Facts, Measured, Training, facts_of
from core.cards.previews import Shown
from core.models import Model

PREVIEW_FOLDER = "previews"
BASE = -1
NOT_KNOWN = "-"
SPECIAL = str.maketrans(
    {each: f"\\{each}" for each in "\\|`*_[]#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)
USE = """
## Use

Exported as `diffusers`, the folder is a pipeline of plain diffusers:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained(".", use_safetensors=True)
pipeline("a red fox").images[0].save("fox.png")
```
"""
Link = Callable[[Shown], str]


def card_of(session: Session, model: Model, *, link: Link) -> str:
    """Return the card of a model; ``link`` is where a grid of previews is found."""
    return write(facts_of(session, model), link=link)


def write(facts: Facts, *, link: Link) -> str:
    """Return the card of what is known."""
    training = facts.training
    parts = [f"# {text(facts.id)}", _about(facts)]
    if training is not None:
        parts += [
            _data(training),
            _method(training),
            _measured(training.metrics),
            _pictures(training.previews, link),
            _libraries(training.versions),
        ]
    parts += [_imported(facts), _lineage(facts), _licences(facts), USE.strip()]
    if training is not None:
        parts.append(_again(training))
    return front_matter(facts) + "\n" + "\n\n".join(part for part in parts if part) + "\n"


def front_matter(facts: Facts) -> str:
    """Return what hubs read of a card: licence, base model, task, tags, and results."""
    training = facts.training
    tags = ["text-to-image", "diffusers", "spindle"]
    told: dict[str, Any] = {
        "license": facts.licence or "unknown",
        "pipeline_tag": "text-to-image",
        "library_name": "diffusers",
    }
    if facts.base_model is not None:
        told["base_model"] = facts.base_model
        told["base_model_relation"] = "adapter" if facts.adapter else "finetune"
    if facts.adapter:
        tags.append("lora")
    if training is not None:
        tags.append(training.method)
        told["datasets"] = sorted({each.name for each in training.data})
        results = _results(facts, training)
        if results:
            told["model-index"] = [{"name": facts.id, "results": results}]
    told["tags"] = tags
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}---\n"


def _results(facts: Facts, training: Training) -> list[dict[str, Any]]:
    """Return the numbers of the last iteration as hubs list them."""
    last = max((each.iteration for each in training.metrics), default=None)
    metrics = [
        {"type": each.name, "name": each.name, "value": each.value}
        for each in training.metrics
        if each.iteration == last and each.value is not None
    ]
    names = [f"{each.name} v{each.version}" for each in training.data[-1:]]
    dataset = {"name": names[0] if names else facts.id, "type": "image"}
    return [{"task": {"type": "text-to-image"}, "dataset": dataset, "metrics": metrics}] if metrics else []


def _about(facts: Facts) -> str:
    made = f"{datetime.fromtimestamp(facts.created, UTC):%Y-%m-%d}"
    base = "" if facts.base_model is None else f" of `{facts.base_model}`"
    what = f"A model{base}, imported on {made}."
    if facts.training is not None:
        what = f"A fine-tune{base} by `{facts.training.method}`, made on {made} with Spindle."
    elif facts.kind == "base":
        what = "A base model."
    named = ", ".join(f"`{each}`" for each in facts.registered)
    return f"{what} Registered as {named}." if named else what


def _data(training: Training) -> str:
    rows = [
        (each.role, f"{text(each.name)} v{each.version}", _number(each.rows), f"`{each.sha256}`")
        for each in training.data
    ]
    licence = text(training.data_licence or "not told")
    listed = table(("role", "dataset", "rows", "sha256"), rows)
    return f"## Data\n\n{listed}\n\nLicence of the data: {licence}."


def _method(training: Training) -> str:
    told = (
        f"`{training.method}`, started from `{training.started_from}`, seed `{training.seed}`, "
        f"job `{training.job}`."
    )
    if training.iteration is not None:
        told += f" This is its checkpoint of iteration {training.iteration}, step {training.step}."
    return f"## Method\n\n{told}\n\n{table(('setting', 'value'), _quoted(training.hyperparameters))}"


def _quoted(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f"`{name}`", f"`{json.dumps(value)}`") for name, value in sorted(values.items())]


def _measured(metrics: Sequence[Measured]) -> str:
    if not metrics:
        return ""
    iterations = sorted({each.iteration for each in metrics})
    values = {(each.name, each.iteration): each for each in metrics}
    rows = [
        (f"`{name}`", *(_value(values.get((name, number))) for number in iterations))
        for name in sorted({each.name for each in metrics})
    ]
    listed = table(("metric", *(_iteration(number) for number in iterations)), rows)
    return f"## Metrics\n\nIn brackets the 95% interval.\n\n{listed}"


def _value(measured: Measured | None) -> str:
    if measured is None or measured.value is None:
        return NOT_KNOWN
    shown = f"{measured.value:.4g}"
    if measured.low is None or measured.high is None:
        return shown
    return f"{shown} ({measured.low:.4g} to {measured.high:.4g})"


def _iteration(number: int) -> str:
    return "start" if number == BASE else f"iteration {number}"


def _pictures(previews: Sequence[Shown], link: Link) -> str:
    if not previews:
        return ""
    parts = ["## Previews", "The same captions and seeds each time."]
    for each in previews:
        title = _iteration(each.iteration)
        parts += [f"**{title}**", f"![{title}]({link(each)})"]
    return "\n\n".join(parts)


def _libraries(versions: dict[str, str]) -> str:
    return f"## Software\n\n{table(('library', 'version'), sorted(versions.items()))}" if versions else ""


def _imported(facts: Facts) -> str:
    if facts.origin is None:
        return ""
    found = {name: value for name, value in (facts.origin.found or {}).items() if name != "size"}
    notes = f"\n\n{text(facts.origin.notes)}" if facts.origin.notes else ""
    return f"## Import\n\n{table(('what', 'found'), _quoted(found))}{notes}"


def _lineage(facts: Facts) -> str:
    listed = table(("what", "id"), [(each["type"], f"`{each['id']}`") for each in facts.lineage])
    return (
        "## Lineage\n\nFrom this model, whose files have the digest "
        f"`{facts.digest}`, back to its beginning.\n\n{listed}"
    )


def _licences(facts: Facts) -> str:
    base = text(facts.base_licence or "not told")
    own = text(facts.licence or "not told; ask before you pass it on")
    return f"## Licences\n\nBase model: {base}. This model: {own}."


def _again(training: Training) -> str:
    """Return how to make the same model again: the request, and the file for the engine alone."""
    body = json.dumps(training.request, indent=2, ensure_ascii=False)
    alone = {
        "model": f"FOLDER OF {training.started_from}",
        "training_data": "FOLDER OR ZIP OF THE DATA ABOVE",
        "seed": training.seed,
        "method": training.request["method"],
    }
    written = yaml.safe_dump(alone, sort_keys=False, allow_unicode=True)
    return "\n".join(
        [
            "## How to reproduce",
            "",
            "Where it was made, `POST /v1/fine_tuning/jobs` with",
            "",
            f"```json\n{body}\n```",
            "",
            "or with the engine alone, `python -m spin_engine job.yaml --out DIR`:",
            "",
            f"```yaml\n{written}```",
            "",
            "The same device, libraries and seed give the same weights, bit for bit.",
        ]
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def text(words: str) -> str:
    """Return somebody's words so that Markdown shows them as they are, in one line."""
    return " ".join(words.split()).translate(SPECIAL)


def _number(value: int | None) -> str:
    return NOT_KNOWN if value is None else f"{value:,}"
