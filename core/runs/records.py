"""What a running unit tells becomes rows. Every write proves its fence first; a stale one changes nothing."""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.events import NewEvent, NewMetric, measure, tell
from core.ids import new_id
from core.models import Checkpoint, Level, Metric, Sample, Unit
from core.runs.claims import Claim, hold
from core.runs.lifecycle import QUIETLY, note_time
from core.runs.retention import thin
from core.upsert import insert

Line = dict[str, Any]
EVALUATION_STEP = 0


def record_events(session: Session, claim: Claim, lines: Sequence[Line]) -> None:
    """Write lines of type ``progress``, ``metrics``, ``evaluation`` and ``message``.

    Of progress only the last line counts. A number that is not finite is told as null and not kept.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    progress = next((line for line in reversed(lines) if line["type"] == "progress"), None)
    values = (
        {} if progress is None else {"progress": {key: progress[key] for key in progress if key != "type"}}
    )
    job = hold(session, claim, **values)
    if job is None:
        return
    if progress is not None:
        note_time(session, job)
    events: list[NewEvent] = []
    for line in lines:
        match line["type"]:
            case "metrics":
                events += _metrics(session, job.id, line)
            case "evaluation":
                events += _evaluation(session, job.id, line)
            case "message":
                level = Level.warn if line.get("level") == "warn" else Level.info
                events.append(NewEvent("message", str(line["text"]), {"unit": claim.unit_id}, level))
    tell(session, job.id, events)


def _metrics(session: Session, job_id: str, line: Line) -> list[NewEvent]:
    iteration, step, values = line["iteration"], line["step"], line["values"]
    finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    fresh = measure(
        session, job_id, [NewMetric(iteration, step, name, value) for name, value in finite.items()]
    )
    if finite and not fresh:
        return []  # this step was measured before the unit was resumed
    shown = ", ".join(f"{name} {value:.4g}" for name, value in list(finite.items())[:4])
    data = {"iteration": iteration, "step": step} | {name: finite.get(name) for name in values}
    level = Level.info if len(finite) == len(values) else Level.warn
    return [NewEvent("metrics", f"Iteration {iteration}, step {step}: {shown}", data, level)]


def _evaluation(session: Session, job_id: str, line: Line) -> list[NewEvent]:
    iteration, values = line["iteration"], line["values"]
    finite = {
        name: found["value"]
        for name, found in values.items()
        if found["value"] is not None and math.isfinite(found["value"])
    }
    fresh = measure(
        session,
        job_id,
        [NewMetric(iteration, EVALUATION_STEP, f"eval/{name}", value) for name, value in finite.items()],
    )
    if finite and not fresh:
        return []
    told = {name: {key: _number(value) for key, value in found.items()} for name, found in values.items()}
    what = "The base model" if iteration < 0 else f"Iteration {iteration}"
    shown = ", ".join(f"{name} {value:.4g}" for name, value in finite.items())
    return [
        NewEvent(
            "evaluation",
            f"{what} is measured: {shown or 'no numbers'}",
            {"iteration": iteration, "values": told},
        )
    ]


def _number(value: Any) -> Any:
    """Return None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def record_sample(
    session: Session, claim: Claim, *, iteration: int, index: int, prompt: str, seed: int, key: str
) -> None:
    """Show a preview picture that lies in the store; a later attempt's takes the place of an earlier one's.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    job = hold(session, claim)
    assert job is not None, "only units of jobs draw samples"
    told = {"prompt": prompt, "seed": seed, "key": key}
    session.execute(
        insert(session, Sample)
        .values(job_id=job.id, iteration=iteration, index=index, **told)
        .on_conflict_do_update(index_elements=["job_id", "iteration", "index"], set_=told)
    )


def record_checkpoint(
    session: Session,
    claim: Claim,
    *,
    iteration: int,
    step: int,
    files: list[dict[str, Any]],
    metrics: dict[str, float] | None = None,
) -> str:
    """Make a checkpoint visible whose objects lie in the store, verified; return its id.

    It is progress, which forgives earlier failures. The same step of a unit twice is one checkpoint.

    Args:
        session: an open transaction.
        claim: what ``claim_unit`` gave.
        iteration: of the job.
        step: of the iteration.
        files: the manifest, ``[{path, key, sha256, size}, ...]``.
        metrics: numbers at that step; by default the last that were measured.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    job = hold(session, claim)
    assert job is not None, "only units of jobs have checkpoints"
    known = session.scalar(
        select(Checkpoint.id).where(Checkpoint.unit_id == claim.unit_id, Checkpoint.step == step)
    )
    if known is not None:
        return known
    checkpoint = Checkpoint(
        id=new_id("ftckpt-"),
        job_id=job.id,
        unit_id=claim.unit_id,
        iteration=iteration,
        step=step,
        files=files,
        metrics=metrics or _last_metrics(session, job.id, iteration, step),
    )
    session.add(checkpoint)
    session.flush()
    session.execute(
        update(Unit).where(Unit.id == claim.unit_id).values(failures=0, alike=0).execution_options(**QUIETLY)
    )
    told = {"checkpoint": checkpoint.id, "iteration": iteration, "step": step, "unit": claim.unit_id}
    tell(
        session,
        job.id,
        [NewEvent("checkpoint", f"Iteration {iteration}, step {step}: checkpoint saved.", told)],
    )
    return checkpoint.id


def thin_checkpoints(session: Session, claim: Claim) -> list[str]:
    """Let a job's expendable checkpoints go; return the keys of their objects, which may be deleted now.

    Raises:
        StaleFence: the claim is lost; nothing may be committed.
    """
    job = hold(session, claim)
    assert job is not None, "only units of jobs have checkpoints"
    return thin(session, job)


def _last_metrics(session: Session, job_id: str, iteration: int, step: int) -> dict[str, float]:
    same = (Metric.job_id == job_id, Metric.iteration == iteration, Metric.step > EVALUATION_STEP)
    newest = select(func.max(Metric.step)).where(*same, Metric.step <= step).scalar_subquery()
    rows = session.execute(select(Metric.name, Metric.value).where(*same, Metric.step == newest))
    return {name: value for name, value in rows}  # noqa: C416  dict() of rows does not type
