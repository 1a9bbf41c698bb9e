"""An iteration of a job against the one before it: which models these are, and what the job previews."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.comparisons.records import Contender, Question, Sitting
from core.errors import Conflict, Invalid
from core.methods import hyperparameters_of
from core.models import Checkpoint, Job, Model, Sample, Unit, UnitKind, UnitState
from core.planner import EVALUATE_BASE
from core.runs.jobs import get_job
from spin_engine.hyperparameters import Hyperparameters

BASE = "base"


@dataclass(frozen=True)
class Round:
    """Two iterations of a job, the earlier one first, and what pictures of the job are drawn with."""

    job: Job
    iteration: int
    contenders: tuple[Contender, Contender]
    sitting: Sitting


def round_of(session: Session, *, project_id: str, job_id: str, iteration: int | None) -> Round:
    """Return an iteration and the one before it, by default the newest that is trained.

    Raises:
        NotFound: there is no such job.
        Invalid: it has no such iteration.
        Conflict: one of the two has no weights yet, or none any more.
    """
    job = get_job(session, project_id=project_id, job_id=job_id)
    asked = hyperparameters_of(job.method)
    trained = _trained(session, job)
    if iteration is None:
        if not trained:
            raise _untrained(job, asked.iterations[0])
        iteration = trained[-1]
    if iteration not in asked.iterations:
        raise Invalid(
            f"iteration: {job.id} has the iterations {asked.iterations[0]} to {asked.iterations[-1]}",
            param="iteration",
            code="no_such_iteration",
        )
    place = asked.iterations.index(iteration)
    before = EVALUATE_BASE if place == 0 else asked.iterations[place - 1]
    contenders = tuple(_contender(session, job, asked, each, trained) for each in (before, iteration))
    return Round(job, iteration, (contenders[0], contenders[1]), _sitting(asked))


def previewed(session: Session, *, job: Job) -> list[Question]:
    """Return the prompts that a job previews, each with its seed; none before the base is evaluated."""
    shown = select(Sample.index, Sample.prompt, Sample.seed).where(Sample.job_id == job.id)
    found: dict[str, tuple[int, ...]] = {}
    for _, prompt, seed in session.execute(shown.distinct().order_by(Sample.index)):
        seeds = found.get(prompt, ())
        found[prompt] = seeds if seed in seeds else (*seeds, seed)
    return [Question(prompt, seeds) for prompt, seeds in found.items()]


def _sitting(asked: Hyperparameters) -> Sitting:
    side = asked.resolution
    return Sitting(steps=asked.eval_steps, guidance_scale=asked.eval_guidances[0], width=side, height=side)


def _trained(session: Session, job: Job) -> Sequence[int]:
    done = select(Unit.iteration).where(
        Unit.job_id == job.id, Unit.kind == UnitKind.train, Unit.state == UnitState.succeeded
    )
    return session.scalars(done.order_by(Unit.iteration)).all()


def _contender(
    session: Session, job: Job, asked: Hyperparameters, iteration: int, trained: Sequence[int]
) -> Contender:
    """Return the model that an iteration is: what the job began with, its result, or its last checkpoint."""
    if iteration == EVALUATE_BASE:
        return Contender(job.model_id, BASE)
    if iteration not in trained:
        raise _untrained(job, iteration)
    label = f"iteration {iteration}"
    if iteration == asked.iterations[-1] and job.result_model_id is not None:
        result = session.get(Model, job.result_model_id)
        if result is not None and result.deleted_at is None:
            return Contender(result.id, label)
    last = session.scalar(
        select(Checkpoint.id)
        .where(Checkpoint.job_id == job.id, Checkpoint.iteration == iteration)
        .order_by(Checkpoint.step.desc())
        .limit(1)
    )
    if last is None:
        raise Conflict(
            f"iteration {iteration} of {job.id} keeps no checkpoint any more: its retention has let it go",
            param="iteration",
            code="iteration_not_kept",
        )
    return Contender(last, label)


def _untrained(job: Job, iteration: int) -> Conflict:
    return Conflict(
        f"iteration {iteration} of {job.id} has no weights yet; compare it when it is trained",
        param="iteration",
        code="iteration_not_trained",
    )
