"""Every image that Spindle needs, read from the Dockerfile, the compose files and the chart: never stale.

``python -m deploy.images.listing [PART]`` prints them, a line each: the reference, a tab, and who uses it.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.images.build import ROOT, pinned_base

PARTS = ("build", "compose", "chart")
CHART = Path("helm/spindle")
VARIABLE = re.compile(r"\$\{(\w+)(?::?-([^}]*))?\}")
TAG = re.compile(r"(?<=:) !(?:override|reset)\b")  # they only say how compose files are merged


@dataclass(frozen=True)
class Needed:
    """An image and who uses it."""

    reference: str
    users: tuple[str, ...]

    @property
    def ours(self) -> bool:
        """Is it one that ``make images`` builds?"""
        return re.search(r"(^|/)spindle-(api|worker|serve)(:|$)", self.reference) is not None


def needed(
    root: Path = ROOT, environment: Mapping[str, str] = os.environ, part: str | None = None
) -> list[Needed]:
    """Return every image once, in the order of the alphabet: all, or those of one of PARTS."""
    parts = {
        "build": [(pinned_base(), "Dockerfile")],
        "compose": [*of_compose(root, environment)],
        "chart": [*of_chart(root)],
    }
    users: dict[str, list[str]] = {}
    for reference, user in parts[part] if part else [each for pairs in parts.values() for each in pairs]:
        users.setdefault(reference, []).append(user)
    return [Needed(reference, tuple(users[reference])) for reference in sorted(users)]


def of_compose(root: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the image of each service in each compose file, whatever its profile."""
    for path in sorted(root.glob("docker-compose*.yml")):
        for name, service in yaml.safe_load(TAG.sub("", path.read_text()))["services"].items():
            if "image" in service:
                yield interpolate(service["image"], environment), f"{path.name}: {name}"


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Fill in ``${NAME:-default}`` as compose does; ValueError for a variable that has neither."""

    def value(match: re.Match[str]) -> str:
        filled = environment.get(match[1]) or match[2]
        if filled is None:
            raise ValueError(f"{text} needs {match[1]}, which is not set and has no default")
        return filled

    return VARIABLE.sub(value, text)


def of_chart(root: Path) -> Iterator[tuple[str, str]]:
    """Return the images of the chart's values, also of parts that are off unless asked for."""
    values = yaml.safe_load((root / CHART / "values.yaml").read_text())
    version = str(yaml.safe_load((root / CHART / "Chart.yaml").read_text())["appVersion"])
    built = "-cuda" if values["images"]["accelerator"] == "cuda" else ""
    for place, image in repositories(values, "values.yaml"):
        suffix = built if place.endswith(("images.worker", "images.serve")) else ""
        reference = f"{image['repository']}:{image.get('tag') or version + suffix}"
        yield reference, place


def repositories(value: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return every mapping below a value that names an image's repository."""
    if isinstance(value, Mapping):
        if "repository" in value:
            yield place, value
        for key, inner in value.items():
            yield from repositories(inner, f"{place}: {key}" if place == "values.yaml" else f"{place}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from repositories(inner, f"{place}[{index}]")


def main(arguments: list[str] | None = None) -> int:
    """Print the list."""
    parser = argparse.ArgumentParser("python -m deploy.images.listing", description=__doc__)
    parser.add_argument(
        "part", nargs="?", choices=PARTS, help="what the images are for (default: everything)"
    )
    for each in needed(part=parser.parse_args(arguments).part):
        print(f"{each.reference}\t{', '.join(each.users)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
