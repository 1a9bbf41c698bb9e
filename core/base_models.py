"""Base models: those that lie in the folders that the platform was given."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import digests
from core.clock import utcnow
from core.models import Model, ModelKind
from core.settings import Settings
from spin_engine.sizes import PipelineSize, of_pipeline

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class BaseModel:
    """A base model as it lies in its folder."""

    name: str
    folder: Path
    digest: str
    defaults: dict[str, Any] | None
    size: PipelineSize | None


def base_models(settings: Settings) -> list[BaseModel]:
    """Read the base models that lie in their folders now; slow, and so before any transaction.

    Raises:
        ValueError: a folder has no usable name or defaults.
    """
    found = []
    for name, folder in settings.base_model_folders().items():
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{folder}: name a base model's folder by letters, digits, dot, dash, underscore"
            )
        recommended = folder / "spindle" / "defaults.json"
        defaults = json.loads(recommended.read_text()) if recommended.is_file() else None
        if defaults is not None and not isinstance(defaults, dict):
            raise ValueError(f"{recommended} is not an object of hyperparameters by method")
        found.append(BaseModel(name, folder, digests.of_folder(folder), defaults, of_pipeline(folder)))
    return found


def register_base_models(session: Session, found: Sequence[BaseModel]) -> list[str]:
    """Make the base models those that were found, and return their names.

    One that is gone is no longer offered; jobs and results that came from it stay.
    """
    known = {model.id: model for model in session.scalars(select(Model).where(Model.kind == ModelKind.base))}
    for one in found:
        model = known.pop(one.name, None) or Model(id=one.name, kind=ModelKind.base, created_at=utcnow())
        model.source = f"folder:{one.folder}"
        model.digest = one.digest
        model.defaults = one.defaults
        model.size = None if one.size is None else one.size.as_json()
        model.deleted_at = None
        session.add(model)
    for model in known.values():
        model.deleted_at = model.deleted_at or utcnow()
    session.flush()
    return [one.name for one in found]
