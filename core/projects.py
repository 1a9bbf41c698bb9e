"""Projects and their limits; ``python -m core.projects`` is for whoever runs the platform."""

import argparse
import sys
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core import keys
from core.db import Database, transaction
from core.errors import AppError, NotFound
from core.ids import new_id
from core.models import Project
from core.settings import Settings

LIMITS = ("max_running", "max_jobs", "gpu_seconds_limit", "max_bytes")


def create_project(session: Session, *, name: str) -> Project:
    """Make a project without limits."""
    project = Project(id=new_id("proj-"), name=name)
    session.add(project)
    session.flush()
    return project


def get_project(session: Session, *, project_id: str) -> Project:
    """Return a project as it is now."""
    project = session.get(Project, project_id, populate_existing=True)
    if project is None:
        raise NotFound(f"there is no project {project_id}", param="project_id", code="project_not_found")
    return project


def list_projects(session: Session) -> list[Project]:
    """Return all projects, oldest first."""
    return list(session.scalars(select(Project).order_by(Project.created_at, Project.id)))


def set_limits(session: Session, *, project_id: str, limits: dict[str, float | None]) -> Project:
    """Change limits of a project, by their columns' names; None takes one away.

    What is running, reserved or stored stays: a limit holds for what comes from now on.
    """
    project = get_project(session, project_id=project_id)
    for name, value in limits.items():
        if name not in LIMITS:
            raise ValueError(f"{name} is no limit; there are {', '.join(LIMITS)}")
        if value is not None and value < 0:
            raise ValueError(f"{name} must be 0 or more, not {value:g}")
        setattr(project, name, value)
    session.flush()
    return project


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        database = Database(Settings.load())
        try:
            with transaction(database) as session:
                lines = _do(session, given)
        finally:
            database.dispose()
    except (ValueError, AppError, SQLAlchemyError) as error:
        sys.stderr.write(f"{str(error).splitlines()[0]}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m core.projects", description="Make projects, and limit what they use."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show projects, their limits and what they used")
    create = commands.add_parser("create", help="make a project; prints its id and its first key")
    create.add_argument("name")
    limit = commands.add_parser("limit", help="change a project's limits; none takes one away")
    limit.add_argument("project")
    limit.add_argument("--running", dest="max_running", type=_whole, help="units at once")
    limit.add_argument("--jobs", dest="max_jobs", type=_whole, help="open jobs at once")
    limit.add_argument("--gpu-seconds", dest="gpu_seconds_limit", type=_number, help="GPU seconds in all")
    limit.add_argument("--bytes", dest="max_bytes", type=_whole, help="bytes of its files and uploads")
    return parser


def _whole(text: str) -> int | str:
    return "none" if text == "none" else int(text)


def _number(text: str) -> float | str:
    return "none" if text == "none" else float(text)


def _do(session: Session, given: argparse.Namespace) -> list[str]:
    if given.command == "create":
        project = create_project(session, name=given.name)
        _, secret = keys.create_key(session, project_id=project.id, name=keys.FIRST_KEY)
        return [project.id, secret]
    if given.command == "limit":
        asked = {name: getattr(given, name) for name in LIMITS if getattr(given, name) is not None}
        limits = {name: None if value == "none" else value for name, value in asked.items()}
        return [_line(set_limits(session, project_id=given.project, limits=limits))]
    return [_line(project) for project in list_projects(session)]


def _line(project: Project) -> str:
    limits = [
        f"{name} {getattr(project, name):.15g}" for name in LIMITS if getattr(project, name) is not None
    ]
    used = f"{project.gpu_seconds_used:.0f} used, {project.gpu_seconds_reserved:.0f} reserved"
    told = (
        project.id,
        project.name,
        ", ".join(limits) or "no limits",
        f"{project.open_jobs} open jobs",
        used,
        f"{project.stored_bytes} bytes stored",
    )
    return "  ".join(told)


if __name__ == "__main__":
    sys.exit(main())
