"""Where a model comes from and where it went: from datasets and jobs to versions, aliases and pictures.

Bounded on every side: so many generations back, so many children, versions and pictures each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core import registry
from core.models import (
    Checkpoint,
    Comparison,
    ComparisonModel,
    Dataset,
    Drawing,
    DrawingState,
    File,
    Job,
    Model,
    ModelAlias,
    ModelImport,
    ModelKind,
    ModelVersion,
    RegisteredModel,
)

GENERATIONS = 8
"""Models before the one that is asked for, each the start of the next one's job."""
CHILDREN = 12
VERSIONS = 12
PICTURES = 6
LONGEST_LABEL = 60


@dataclass(frozen=True)
class Node:
    """One thing; ``label`` is for people, ``told`` what else is known of it."""

    id: str
    type: str
    label: str
    told: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        return {"id": self.id, "type": self.type, "label": self.label} | self.told


@dataclass
class Graph:
    """Nodes by id in the order in which they were found, and which leads to which.

    ``focus`` is the id of what was asked for; ``left_out`` counts the children, versions and generations
    that are not shown.
    """

    focus: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0

    def add(self, node: Node, *, after: Sequence[str] = ()) -> str:
        """Add a node that other ones led to, and return its id."""
        self.nodes.setdefault(node.id, node)
        for each in after:
            if (each, node.id) not in self.edges:
                self.edges.append((each, node.id))
        return node.id

    def as_json(self) -> dict[str, Any]:
        """Return the graph as the API tells it."""
        nodes = [node.as_json() for node in self.nodes.values()]
        return {"nodes": nodes, "edges": self.edges, "left_out": self.left_out}


def graph_of(session: Session, *, project_id: str, model_id: str) -> Graph:
    """Return what led to a model, and what came of it.

    Raises:
        NotFound: the project has no such model.
    """
    model = registry.get_model(session, project_id=project_id, model_id=model_id)
    graph = Graph(focus=model.id)
    _lead_to(session, graph, model, generations=GENERATIONS)
    if model.kind is ModelKind.checkpoint:
        _published(session, graph, model)
    _children(session, graph, project_id, model.id)
    _registered(session, graph, project_id, model.id)
    _pictures(session, graph, project_id, model.id)
    return graph


def _lead_to(session: Session, graph: Graph, model: Model, *, generations: int) -> str:
    """Add a model after all that led to it, and return its id."""
    if model.id in graph.nodes:
        return model.id
    before: list[str] = []
    job = session.get(Job, model.job_id) if model.job_id is not None else None
    if job is not None:
        before = [_job(session, graph, job, generations=generations)]
        checkpoint = _checkpoint_of(session, job, model)
        if checkpoint is not None:
            before = [_iteration(graph, job, checkpoint, after=before)]
            if model.kind is not ModelKind.checkpoint:
                before = [graph.add(_checkpoint(checkpoint), after=before)]
    elif model.kind is ModelKind.imported:
        before = _upload(session, graph, model)
    return graph.add(_model(model), after=before)


def _job(session: Session, graph: Graph, job: Job, *, generations: int) -> str:
    before = [_dataset(session, graph, job.dataset_id, held_out=False)]
    if job.validation_dataset_id is not None:
        before.append(_dataset(session, graph, job.validation_dataset_id, held_out=True))
    start = _known(session, job.project_id, job.model_id)
    if start is None:
        before.append(graph.add(Node(job.model_id, "model", job.model_id)))
    elif generations > 0:
        before.append(_lead_to(session, graph, start, generations=generations - 1))
    else:
        graph.left_out += 1
        before.append(graph.add(_model(start)))
    return graph.add(_job_node(job), after=before)


def _known(session: Session, project_id: str, model_id: str) -> Model | None:
    """Return what a job started from: also what was deleted since."""
    if model_id.startswith(registry.CHECKPOINT):
        if session.get(Checkpoint, model_id) is None:
            return None
        return registry.get_model(session, project_id=project_id, model_id=model_id)
    return session.get(Model, model_id)


def _checkpoint_of(session: Session, job: Job, model: Model) -> Checkpoint | None:
    """Return the checkpoint that a model is, or the last one before it."""
    if model.kind is ModelKind.checkpoint:
        return session.get(Checkpoint, model.id)
    return session.scalar(
        select(Checkpoint)
        .where(Checkpoint.job_id == job.id)
        .order_by(Checkpoint.iteration.desc(), Checkpoint.step.desc())
        .limit(1)
    )


def _dataset(session: Session, graph: Graph, dataset_id: str, *, held_out: bool) -> str:
    dataset = session.get_one(Dataset, dataset_id)
    told = {
        "name": dataset.name,
        "version": dataset.version,
        "rows": dataset.rows,
        "sha256": dataset.sha256,
        "held_out": held_out,
        "created": _seconds(dataset.created_at),
    }
    before = [] if dataset.comparison_id is None else [_comparison(session, graph, dataset.comparison_id)]
    return graph.add(Node(dataset.id, "dataset", f"{dataset.name} v{dataset.version}", told), after=before)


def _comparison(session: Session, graph: Graph, comparison_id: str) -> str:
    """Add the comparison whose votes chose a dataset's pictures: also one that was deleted since."""
    row = session.get_one(Comparison, comparison_id)
    models = select(ComparisonModel.model_id).where(ComparisonModel.comparison_id == comparison_id)
    told = {
        "models": list(session.scalars(models.order_by(ComparisonModel.position))),
        "votes": row.votes,
        "deleted": row.deleted_at is not None,
    }
    return graph.add(Node(row.id, "comparison", _short(row.name), told | _made(row)))


def _job_node(job: Job) -> Node:
    method = job.method["type"]
    told = {"method": method, "seed": job.seed, "status": job.state.value}
    return Node(job.id, "job", f"{method} {job.suffix or job.id[-registry.SHORT_ID :]}", told | _made(job))


def _iteration(graph: Graph, job: Job, checkpoint: Checkpoint, *, after: Sequence[str]) -> str:
    number = checkpoint.iteration
    node = Node(f"{job.id}/{number}", "iteration", f"iteration {number}", {"iteration": number})
    return graph.add(node, after=after)


def _checkpoint(checkpoint: Checkpoint) -> Node:
    told = {"iteration": checkpoint.iteration, "step": checkpoint.step} | _made(checkpoint)
    return Node(checkpoint.id, "checkpoint", f"step {checkpoint.step}", told)


def _model(model: Model) -> Node:
    told = {"kind": model.kind.value, "deleted": model.deleted_at is not None} | _made(model)
    if model.kind is ModelKind.checkpoint:
        return Node(model.id, "checkpoint", model.id[-registry.SHORT_ID :], told)
    return Node(model.id, "model", model.id, told)


def _upload(session: Session, graph: Graph, model: Model) -> list[str]:
    """Add the file that a model was imported from, and the base that a LoRA is for."""
    found = session.execute(
        select(ModelImport, File)
        .join(File, File.id == ModelImport.file_id)
        .where(ModelImport.model_id == model.id)
    ).first()
    if found is None:
        return []
    row, file = found
    told = {"sha256": file.sha256, "licence": row.licence} | _made(file)
    before = [graph.add(Node(file.id, "file", _short(file.filename), told))]
    base = None if row.base_model_id is None else session.get(Model, row.base_model_id)
    if base is not None:
        before.append(graph.add(_model(base)))
    return before


def _children(session: Session, graph: Graph, project_id: str, model_id: str) -> None:
    """Add the jobs that started from a model, and what they made."""
    found = session.scalars(
        select(Job)
        .where(Job.project_id == project_id, Job.model_id == model_id)
        .order_by(Job.id.desc())
        .limit(CHILDREN + 1)
    ).all()
    graph.left_out += len(found[CHILDREN:])
    for job in found[:CHILDREN]:
        graph.add(_job_node(job), after=[model_id])
        made = _result(session, job)
        if made is not None:
            graph.add(_model(made), after=[job.id])


def _published(session: Session, graph: Graph, model: Model) -> None:
    """Add the result that was made of a checkpoint, if it was the last of its job."""
    job = session.get_one(Job, model.job_id)
    made = _result(session, job)
    last = None if made is None else _checkpoint_of(session, job, made)
    if made is not None and last is not None and last.id == model.id:
        graph.add(_model(made), after=[model.id])


def _result(session: Session, job: Job) -> Model | None:
    return None if job.result_model_id is None else session.get(Model, job.result_model_id)


def _registered(session: Session, graph: Graph, project_id: str, model_id: str) -> None:
    """Add the versions that name a model, and the aliases that point at these."""
    found = session.execute(
        select(RegisteredModel, ModelVersion)
        .join(ModelVersion, ModelVersion.registered_id == RegisteredModel.id)
        .where(RegisteredModel.project_id == project_id, ModelVersion.model_id == model_id)
        .order_by(ModelVersion.created_at.desc(), RegisteredModel.name)
        .limit(VERSIONS + 1)
    ).all()
    graph.left_out += len(found[VERSIONS:])
    for name, version in found[:VERSIONS]:
        written = f"{name.name}@{version.version}"
        told = {"name": name.name, "version": version.version} | _made(version)
        graph.add(Node(written, "version", written, told), after=[model_id])
        pointing = session.scalars(
            select(ModelAlias)
            .where(
                ModelAlias.registered_id == name.id,
                or_(ModelAlias.version == version.version, ModelAlias.split_version == version.version),
            )
            .order_by(ModelAlias.alias)
        )
        for alias in pointing:
            share = alias.split_share or 0.0
            part = 1 - share if alias.version == version.version else share
            pointed = f"{name.name}@{alias.alias}"
            told = {"alias": alias.alias, "share": part, "created": _seconds(alias.updated_at)}
            graph.add(Node(pointed, "alias", pointed, told), after=[written])


def _pictures(session: Session, graph: Graph, project_id: str, model_id: str) -> None:
    """Add the newest pictures that were drawn with a model, by the alias that was asked for."""
    drawn = session.scalars(
        select(Drawing)
        .where(
            Drawing.project_id == project_id,
            Drawing.model_id == model_id,
            Drawing.state == DrawingState.succeeded,
        )
        .order_by(Drawing.id.desc())
        .limit(PICTURES)
    )
    for drawing in drawn:
        told = {"prompt": drawing.request["prompt"], "seeds": drawing.request["seeds"]} | _made(drawing)
        node = Node(drawing.id, "picture", _short(drawing.request["prompt"]), told)
        graph.add(node, after=[drawing.alias if drawing.alias in graph.nodes else model_id])


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else f"{text[: LONGEST_LABEL - 1]}…"


def _made(row: Any) -> dict[str, Any]:
    return {"created": _seconds(row.created_at)}


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
