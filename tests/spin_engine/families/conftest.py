"""A tiny pipeline of each family, built when a test first asks for it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_families import build

Base = Callable[[str], Path]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """Return a function from a name in ``tiny_families.PIPELINES`` to its folder."""
    root = tmp_path_factory.mktemp("bases")

    def folder(name: str) -> Path:
        if not (root / name).is_dir():
            build(name, root / name)
        return root / name

    return folder
