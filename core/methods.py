"""A job's method, as its row keeps it and as the engine reads it."""

from typing import Any

from pydantic import TypeAdapter

from spin_engine.config import Method
from spin_engine.hyperparameters import Hyperparameters

METHOD: TypeAdapter[Method] = TypeAdapter(Method)


def hyperparameters_of(method: Any) -> Hyperparameters:
    """Return what a method that was once accepted is run with."""
    return METHOD.validate_python(method).hyperparameters
