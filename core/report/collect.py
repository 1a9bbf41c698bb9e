"""Collects the facts of a job from its rows. Reads the database alone: no picture is opened here."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.formats import duration, sentence, setting, size
from core.methods import hyperparameters_of
from core.models import (
    Checkpoint,
    Dataset,
    Event,
    Job,
    Level,
    Reason,
    Sample,
    Unit,
    UnitKind,
    UnitState,
)
from core.report.facts import (
    BASE,
    Column,
    Data,
    Facts,
    Interval,
    Picture,
    Reckoning,
    Role,
    Row,
    Subject,
    Told,
)
from core.report.training import charts, cost
from core.runs.retries import RULES, first_line

EVENTS_TOLD = 30
ORDINALS = ("first", "second", "third", "fourth", "fifth")


def facts_of(session: Session, job: Job, *, compared_with: Job | None = None) -> Facts:
    """Return the facts of a job, beside those of another one if there is one.

    Args:
        session: an open transaction.
        job: in any state.
        compared_with: another job of the same project; its last iteration is a column.
    """
    asked = hyperparameters_of(job.method)
    name, other_name = _names(job, compared_with)
    own = _columns(session, job, name, "own")
    columns = [own[0]]
    if compared_with is not None:
        columns += _columns(session, compared_with, other_name, "other")[-1:]
    columns += own[1:]
    jobs = [(name, job)] if compared_with is None else [(other_name, compared_with), (name, job)]
    data = _data(session, job)
    rows_measured = data[-1].rows
    captions = asked.eval_samples if rows_measured is None else min(asked.eval_samples, rows_measured)
    return Facts(
        own=_subject(job),
        other=None if compared_with is None else _subject(compared_with),
        columns=tuple(columns),
        rows=_rows(session, [each for _, each in jobs], columns),
        charts=charts(session, jobs),
        costs=tuple(cost(session, each, label, _role(each, job)) for label, each in jobs),
        settings=_settings(jobs),
        data=data,
        events=_told(session, job),
        event_count=job.event_seq,
        guidances=asked.eval_guidances,
        captions=captions,
        held_out=job.validation_dataset_id is not None,
        report_keys=_reports(session, job),
    )


def _role(job: Job, own: Job) -> Role:
    return "own" if job is own else "other"


def _names(job: Job, other: Job | None) -> tuple[str, str]:
    """Return short names of both jobs that tell them apart: by method, else by suffix or id."""
    own = job.method["type"].upper()
    if other is None:
        return own, ""
    theirs = other.method["type"].upper()
    if own != theirs:
        return own, theirs
    if job.suffix and other.suffix and job.suffix != other.suffix:
        return job.suffix, other.suffix
    return job.id[-6:], other.id[-6:]


def _subject(job: Job) -> Subject:
    failure = job.failure
    rule = None if failure is None else RULES.get(_reason(failure["reason"]))
    return Subject(
        id=job.id,
        name=job.suffix or job.id,
        method=job.method["type"],
        state=job.state.value,
        started_from=job.model_id,
        made=job.result_model_id,
        seed=job.seed,
        failure=failure,
        why="" if rule is None else rule.who,
        message="" if failure is None else sentence(first_line(failure.get("message") or "")),
        what_to_do="" if rule is None else rule.advice,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        reckoned=_reckoned(job.estimate or {}),
        base_digest=job.pipeline_digest,
    )


def _reckoned(estimate: dict[str, Any]) -> tuple[Reckoning, ...]:
    actual = estimate.get("actual") or {}
    told = (
        ("time", duration, actual.get("seconds"), estimate.get("seconds"), ""),
        ("memory", size, actual.get("memory_bytes"), estimate.get("memory_bytes_at_least"), "at least "),
        ("disk", size, actual.get("disk_bytes"), estimate.get("disk_bytes"), "up to "),
    )
    return tuple(
        Reckoning(name, write(took) if took else "", f"{bound}{write(thought)} estimated" if thought else "")
        for name, write, took, thought, bound in told
        if took or thought
    )


def _reason(word: str) -> Reason:
    return Reason(word) if word in set(Reason) else Reason.internal


def _columns(session: Session, job: Job, name: str, role: Role) -> list[Column]:
    """Return the base model and what each iteration made."""
    measured = _measured(session, job)
    measuring = select(Unit.iteration, Unit.state).where(
        Unit.job_id == job.id, Unit.kind == UnitKind.evaluate
    )
    states = {iteration: state.value for iteration, state in session.execute(measuring)}
    models = _models(session, job)
    iterations = hyperparameters_of(job.method).iterations
    rounds = len([number for number in iterations if number > 0])
    found = []
    for iteration in (BASE, *iterations):
        label, note = _label(name, iteration, rounds)
        found.append(
            Column(
                label=label,
                role="base" if iteration == BASE else role,
                job_id=job.id,
                iteration=iteration,
                model=job.model_id if iteration == BASE else models.get(iteration),
                note=note,
                state=states.get(iteration, UnitState.waiting.value),
                measured=measured.get(iteration, {}),
            )
        )
    return found


def _label(name: str, iteration: int, rounds: int) -> tuple[str, str]:
    if iteration == BASE:
        return "Base", "before fine-tuning"
    if iteration == 0:
        return "SFT start", "after the supervised steps"
    if rounds == 1:
        return name, "after fine-tuning"
    count = ORDINALS[iteration - 1] if iteration <= len(ORDINALS) else f"{iteration}th"
    return f"{name} {iteration}", f"after the {count} round"


def _measured(session: Session, job: Job) -> dict[int, dict[str, Interval]]:
    """Return the measures of each iteration; of one that was measured twice, the later."""
    told = select(Event.data).where(Event.job_id == job.id, Event.type == "evaluation").order_by(Event.seq)
    found: dict[int, dict[str, Interval]] = {}
    for data in session.scalars(told):
        if data is None:
            continue
        found[data["iteration"]] = {
            name: Interval(each["value"], each["low"], each["high"])
            for name, each in data["values"].items()
            if None not in (each["value"], each["low"], each["high"])  # null: not a finite number
        }
    return found


def _models(session: Session, job: Job) -> dict[int, str]:
    """Return under which name each iteration's weights are used: its last checkpoint, or the result."""
    last = (
        select(Checkpoint.iteration, Checkpoint.id)
        .where(Checkpoint.job_id == job.id)
        .order_by(Checkpoint.step, Checkpoint.id)
    )
    found = {iteration: checkpoint_id for iteration, checkpoint_id in session.execute(last)}  # noqa: C416  dict() of rows does not type
    if job.result_model_id is not None:
        found[hyperparameters_of(job.method).iterations[-1]] = job.result_model_id
    return found


def _rows(session: Session, jobs: Sequence[Job], columns: Sequence[Column]) -> tuple[Row, ...]:
    """Return a row a preview of the last job, with the other's picture for the same prompt and seed."""
    drawn = select(Sample).where(Sample.job_id.in_([job.id for job in jobs])).order_by(Sample.index)
    samples = list(session.scalars(drawn))
    shown: dict[tuple[str, int, str, int], Picture] = {}
    rows: dict[tuple[str, int], int] = {}
    for sample in samples:
        place = f"iteration={sample.iteration}&index={sample.index}"
        url = f"/v1/fine_tuning/jobs/{sample.job_id}/samples/content?{place}"
        shown[sample.job_id, sample.iteration, sample.prompt, sample.seed] = Picture(url, sample.key)
        if sample.job_id == jobs[-1].id:
            rows.setdefault((sample.prompt, sample.seed), sample.index)
    return tuple(
        Row(
            index,
            prompt,
            seed,
            tuple(shown.get((column.job_id, column.iteration, prompt, seed)) for column in columns),
        )
        for (prompt, seed), index in rows.items()
    )


def _data(session: Session, job: Job) -> tuple[Data, ...]:
    found = []
    used: list[tuple[Any, str | None]] = [
        ("Training", job.dataset_id),
        ("Validation", job.validation_dataset_id),
    ]
    for use, dataset_id in used:
        if dataset_id is not None:
            dataset = session.get_one(Dataset, dataset_id)
            found.append(Data(use, dataset.id, dataset.name, dataset.version, dataset.rows, dataset.sha256))
    return tuple(found)


def _told(session: Session, job: Job) -> tuple[Told, ...]:
    grave = (
        select(Event)
        .where(Event.job_id == job.id, Event.level != Level.info)
        .order_by(Event.seq.desc())
        .limit(EVENTS_TOLD)
    )
    return tuple(Told(event.level.value, event.message, event.created_at) for event in session.scalars(grave))


def _reports(session: Session, job: Job) -> tuple[str, ...]:
    """Return the keys of what the units wrote that measured well, the last one first."""
    outputs = (
        select(Unit.output)
        .where(Unit.job_id == job.id, Unit.kind == UnitKind.evaluate, Unit.state == UnitState.succeeded)
        .order_by(Unit.position.desc())
    )
    return tuple(
        file["key"]
        for output in session.scalars(outputs)
        for file in (output or {}).get("files", ())
        if file["path"] == "report.json"
    )


def _settings(jobs: Sequence[tuple[str, Job]]) -> tuple[tuple[str, str], ...]:
    """Return the settings of the jobs, once where they agree."""
    seeds = [(label, str(job.seed)) for label, job in jobs]
    found = [("seed", _joined(seeds, len(jobs)))]
    all_of = [(label, job.method[job.method["type"]]["hyperparameters"]) for label, job in jobs]
    for name in dict.fromkeys(name for _, given in all_of for name in given):
        values = [(label, setting(given[name])) for label, given in all_of if name in given]
        found.append((name.replace("_", " "), _joined(values, len(jobs))))
    return tuple(found)


def _joined(values: Sequence[tuple[str, str]], jobs: int) -> str:
    if len(values) == jobs and len({value for _, value in values}) == 1:
        return values[0][1]
    return " · ".join(f"{label} {value}" for label, value in values)
