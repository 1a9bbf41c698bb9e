"""The chart by the real Helm engine: rendered, held against Kubernetes' schemas, strict with its values."""

import json
import os
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from core.models import UnitKind
from core.settings import Settings
from tests.deploy.image import ROOT, assert_real

CHART = ROOT / "helm" / "spindle"
SCENARIOS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").iterdir())
KUBERNETES = ("1.30", "1.37")
PLACED = {"state", "database_url", "broker_url", "store_url", "base_models", "secret", "first_key"}
LIMITS = {"type", "minimum", "maximum", "exclusiveMinimum", "pattern"}
Manifest = dict[str, Any]


def values(scenario: str) -> dict[str, Any]:
    loaded = yaml.safe_load((CHART / "ci" / f"{scenario}-values.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def render(given: dict[str, Any]) -> list[Manifest]:
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(given, name="demo", namespace="team")
    texts = [text for name, text in files.items() if name.endswith(".yaml")]
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def pods(given: dict[str, Any]) -> dict[str, Manifest]:
    """Return the pods' specs by the name of what makes them, without the release's."""
    return {
        each["metadata"]["name"].removeprefix("demo-"): each["spec"]["template"]["spec"]
        for each in render(given)
        if each["kind"] in {"Deployment", "Job"}
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_chart_passes_the_linter(scenario: str) -> None:
    report = helm_python.lint(CHART, values(scenario), strict=True)
    assert report["errors"] == []
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_kubernetes_knows_every_field(scenario: str, version: str) -> None:
    manifests = render(values(scenario))
    for each in manifests:
        assert kubernetes_validate.validate(each, version, strict=True) == version
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))
    assert {kind for kind, _ in names} == {
        "Deployment",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_commands_are_real(scenario: str) -> None:
    commands = {tuple(pod["containers"][0]["args"]) for pod in pods(values(scenario)).values()}
    assert ("python", "-m", "core.migrate") in commands
    for command in commands:
        assert_real(list(command))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_settings_are_real(scenario: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings refuses a variable that it does not know, and values that it cannot use."""
    secret = {
        "SPINDLE_DATABASE_URL": "postgresql://user:aebc81@db.example.org/spindle",
        "SPINDLE_BROKER_URL": "rediss://:aebc81@redis.example.org:6380/0",
        "SPINDLE_STORE_URL": "s3://key:aebc81@s3.example.org/bucket",
        "SPINDLE_FIRST_KEY": "0123456789abcdef0123456789abcdef",
    }
    for name, pod in pods(values(scenario)).items():
        with monkeypatch.context() as patch:
            for each in pod["containers"][0]["env"]:
                reference = each.get("valueFrom", {}).get("secretKeyRef")
                if reference is not None:
                    assert reference == {"name": "spindle", "key": each["name"]}
                patch.setenv(each["name"], each["value"] if reference is None else secret[each["name"]])
            if "SPINDLE_BASE_MODELS" in os.environ:
                assert os.environ["SPINDLE_BASE_MODELS"] in mounts(pod)
                patch.setenv("SPINDLE_BASE_MODELS", str(tmp_path))
            settings = Settings.load()
        wanted = values(scenario)["settings"]
        assert {key: getattr(settings, key) for key in wanted} == wanted
        assert (settings.first_key is not None) == (name == "migrate")


def test_the_schema_knows_every_setting() -> None:
    """A new setting of core.settings stands in values.schema.json, with its limits, or it cannot be set."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    told = {
        name: {key: limit for key, limit in each.items() if key in LIMITS}
        for name, each in schema["properties"]["settings"]["properties"].items()
    }
    assert told == {
        name: {key: limit for key, limit in each.items() if key in LIMITS}
        for name, each in Settings.model_json_schema()["properties"].items()
        if name not in PLACED
    }
    kinds = schema["$defs"]["pool"]["properties"]["kinds"]["items"]["enum"]
    assert kinds == [kind.value for kind in UnitKind]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"existingSecret": ""}, "existingSecret"),
        ({"settings": {}}, "public_url"),
        ({"settings": {"public_url": "https://a.org", "lease_second": 60}}, "lease_second"),
        ({"settings": {"public_url": "https://a.org", "max_attempts": 0}}, "max_attempts"),
        ({"worker": []}, "'worker'"),
        ({"workers": [{"name": "gpu", "gpu": 1}]}, "'gpu'"),
        ({"workers": [{"name": "gpu", "kinds": ["training"]}]}, "kinds"),
        ({"workers": [{"name": "gpu"}, {"name": "gpu"}]}, "two pools have one name"),
        ({"api": {"resources": {"limit": {}}}}, "'limit'"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=told):
        render(values("minimal") | wrong)


def test_the_chart_has_no_secret_and_asks_for_one() -> None:
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmValuesError) as refused:
        chart.render()
    assert "existingSecret" in str(refused.value)
    assert "kind: Secret" not in "".join(path.read_text() for path in (CHART / "templates").iterdir())


def test_pools_take_their_gpus_nodes_and_kinds() -> None:
    found = pods(values("gpu-pools"))
    train = found["worker-train"]
    assert train["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert train["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert train["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert train["terminationGracePeriodSeconds"] == 300 + 60
    shm = next(each for each in train["volumes"] if each["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert "/dev/shm" in mounts(train)  # noqa: S108  a mount in the pod
    assert "limits" not in found["worker-cpu"]["containers"][0]["resources"]
    pools = [pod for name, pod in found.items() if name.startswith("worker-")]
    claimed = [kind for pod in pools for kind in pod["containers"][0]["args"][-1].split(",")]
    assert sorted(claimed) == sorted(kind.value for kind in UnitKind)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_pods_can_do_little(scenario: str) -> None:
    for pod in pods(values(scenario)).values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"USER {pod['securityContext']['runAsUser']}" in (ROOT / "Dockerfile").read_text()
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"/state", "/tmp"} <= mounts(pod)  # noqa: S108  mounts in the pod


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_only_the_api_can_be_reached(scenario: str) -> None:
    everyone, api = (each["spec"] for each in render(values(scenario)) if each["kind"] == "NetworkPolicy")
    assert everyone["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in everyone
    assert "app.kubernetes.io/component" not in everyone["podSelector"]["matchLabels"]
    assert api["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert ("from" in api["ingress"][0]) == (scenario == "gpu-pools")


def mounts(pod: Manifest) -> set[str]:
    return {each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
