"""The models that a person can choose from in a form: the newest of each sort, by what they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core import registry
from core.models import ModelKind
from core.registered import names

NEWEST = 50
LABELS = {
    ModelKind.result: "Results of jobs",
    ModelKind.imported: "Imported models",
    ModelKind.base: "Base models",
}


@dataclass(frozen=True)
class Group:
    """Some names under one label."""

    label: str
    names: Sequence[str]


@dataclass(frozen=True)
class Choices:
    """What there is to choose, in groups. Older ones are reached from their own pages."""

    groups: Sequence[Group]

    @property
    def all(self) -> list[str]:
        """Every name, in order."""
        return [name for group in self.groups for name in group.names]


def choices(session: Session, *, project_id: str, own: bool = False) -> Choices:
    """Return the newest models of each kind after names and aliases; ``own``: results and imports alone."""
    groups = []
    if not own:
        newest = names.list_names(session, project_id=project_id, after=None, limit=NEWEST)
        words = [
            word
            for named in names.describe(session, newest.items)
            if named.versions
            for word in (named.row.name, *(f"{named.row.name}@{each.alias}" for each in named.aliases))
        ]
        groups.append(Group("Registered names", words))
    for kind, label in LABELS.items():
        if own and kind is ModelKind.base:
            continue
        found = registry.list_models(session, project_id=project_id, after=None, limit=NEWEST, kind=kind)
        groups.append(Group(label, [model.id for model in found.items]))
    return Choices([group for group in groups if group.names])
