"""A release of the chart as the real Helm engine renders it: its objects, its pods, its notes."""

from dataclasses import dataclass
from typing import Any

import helm_python
import yaml

from tests.deploy.image import ROOT

CHART = ROOT / "helm" / "spindle"
SCENARIOS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir())
NAME = "demo"
NAMESPACE = "team"
COMPONENT = "app.kubernetes.io/component"
Manifest = dict[str, Any]


def scenario(name: str, **changes: Any) -> dict[str, Any]:
    """Return the values of a scenario of ci/, changed as `-f` changes them: deep in maps, whole in lists."""
    loaded = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    assert isinstance(loaded, dict)
    return merged(loaded, changes)


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return values with changes, deep in maps."""
    result = dict(values)
    for key, value in changes.items():
        before = result.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        result[key] = merged(before, value) if both and before is not None else value
    return result


@dataclass(frozen=True)
class Release:
    """What Helm would send to a cluster, and what it would say."""

    objects: list[Manifest]
    notes: str

    def of(self, kind: str) -> dict[str, Manifest]:
        """Return the objects of a kind by their names, without the release's."""
        found = [each for each in self.objects if each["kind"] == kind]
        return {each["metadata"]["name"].removeprefix(f"{NAME}-"): each for each in found}

    def pods(self) -> dict[str, Manifest]:
        """Return what pods are made from (metadata, spec), by component."""
        found = [
            each if each["kind"] == "Pod" else each["spec"]["template"]
            for each in self.objects
            if each["kind"] in {"Pod", "Deployment", "StatefulSet", "Job"}
        ]
        found += [
            each["spec"]["jobTargetRef"]["template"] for each in self.objects if each["kind"] == "ScaledJob"
        ]
        return {each["metadata"]["labels"][COMPONENT]: each for each in found}


def render(values: dict[str, Any], *, upgrade: bool = False, name: str = NAME) -> Release:
    """Render the chart; HelmError tells what is wrong with the values."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(
            values, name=name, namespace=NAMESPACE, is_install=not upgrade, is_upgrade=upgrade
        )
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    [notes] = [text for name, text in files.items() if name.endswith("NOTES.txt")]
    return Release([one for text in texts for one in yaml.safe_load_all(text) if one], notes)
