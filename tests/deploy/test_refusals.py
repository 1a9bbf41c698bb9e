"""What the chart refuses, and that it says what to do."""

import shutil
from pathlib import Path
from typing import Any

import helm_python
import pytest

from core.models import UnitKind
from tests.deploy.release import CHART, NAME, render, scenario

ALL_KINDS = [kind.value for kind in UnitKind]
GANG = {"name": "gang", "nodes": 2, "kinds": ["train"], "queues": ["big"], "gpus": 8, "shm": "1Gi"}
POOL = {"name": "pool", "gpus": 1}
REST = {"name": "rest", "replicas": 1, "queues": ["default", "big"]}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"settings": {"public_url": ""}}, "public_url"),
        ({"settings": {"lease_second": 60}}, "lease_second"),
        ({"settings": {"max_attempts": 0}}, "max_attempts"),
        ({"worker": []}, "'worker'"),
        ({"workers": [{"name": "gpu", "gpu": 1}]}, "'gpu'"),
        ({"workers": [{"name": "gpu", "kinds": ["training"]}]}, "kinds"),
        ({"workers": [{"name": "gpu", "queues": ["a'; DROP TABLE unit"]}]}, "queues"),
        ({"workers": [{"name": "gpu", "queues": ["Big"]}]}, "queues"),
        ({"workers": [{"name": "gpu", "gpuMemory": "80Gi"}]}, "gpuMemory"),
        ({"workers": [{"name": "Gpu"}]}, "name"),
        ({"images": {"api": {"digest": "sha256:12"}}}, "digest"),
        ({"images": {"engine": {"repository": "a"}}}, "'engine'"),
        ({"autoscaling": {"mode": "on"}}, "mode"),
        ({"api": {"resources": {"limit": {}}}}, "'limit'"),
        ({"serve": {"affinity": {"nodes": {}}}}, "'nodes'"),
        ({"beat": {"tolerations": [{"key": "a", "operator": "Is"}]}}, "operator"),
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmValuesError, match=told):
        render(scenario("minimal", **wrong))


@pytest.mark.parametrize(
    ("pools", "changes", "told"),
    [
        ([POOL, POOL], {}, "two pools are named pool; give each a name of its own"),
        ([POOL | {"max": 2}], {}, "pool pool has max while autoscaling.mode is none"),
        ([POOL | {"max": 2, "replicas": 1}], {"mode": "scaledObject"}, "has replicas and max"),
        ([POOL | {"min": 2}], {"mode": "scaledObject"}, "has min and no max"),
        (
            [POOL | {"min": 3, "max": 2}],
            {"mode": "scaledObject"},
            "min 3 above max 2; raise max or lower min",
        ),
        ([GANG], {}, "has nodes 2 and one worker; give replicas: 2"),
        ([GANG | {"replicas": 3}], {}, "replicas 3, which is no multiple of its nodes, 2"),
        ([GANG | {"min": 1, "max": 4}], {"mode": "scaledObject"}, "min 1, which is no multiple"),
        ([GANG | {"max": 5}], {"mode": "scaledObject"}, "max 5, which is no multiple"),
        ([GANG | {"max": 4}], {"mode": "scaledJob"}, "a ScaledJob makes one pod a unit"),
        ([GANG | {"replicas": 2, "kinds": ["train", "encode"]}], {}, r"set kinds: \[train\]"),
        ([POOL | {"gpus": 0, "gpuProduct": "NVIDIA-L4"}], {}, "describes a GPU and takes none"),
        (
            [POOL | {"shm": "2Gi", "resources": {"limits": {"memory": "2048Mi"}}}],
            {},
            "counts as memory of the pod",
        ),
        ([POOL | {"disk": "50Gi"}], {}, "raise disk, or lower worker_cache_bytes"),
        ([POOL | {"disk": "20Gi"}], {"settings": {"worker_cache_bytes": 21474836480}}, "raise disk"),
        (
            [POOL | {"terminationGracePeriodSeconds": 320}],
            {"settings": {"shutdown_grace_seconds": 300}},
            "killed after 320 seconds, but settings.shutdown_grace_seconds lets a checkpoint take 300",
        ),
        (
            [POOL | {"name": "a-name-of-20-letters"}],
            {"name": "a-release-that-has-a-very-long-name"},
            "shorten",
        ),
    ],
)
def test_pools_without_sense_are_refused(
    pools: list[dict[str, Any]], changes: dict[str, Any], told: str
) -> None:
    scaling = {"mode": changes.get("mode", "none")}
    values = scenario(
        "minimal", workers=[*pools, REST], autoscaling=scaling, settings=changes.get("settings", {})
    )
    with pytest.raises(helm_python.HelmRenderError, match=told):
        render(values, name=changes.get("name", NAME))


@pytest.mark.parametrize(
    ("pools", "told"),
    [
        (
            [],
            "no pool claims ingest, encode, generate, train, evaluate, publish, export, import on queue",
        ),
        (
            [POOL | {"kinds": ["train"]}],
            "no pool claims ingest, encode, generate, evaluate, publish, export, import",
        ),
        ([POOL | {"kinds": [k for k in ALL_KINDS if k != "train"]}], "no pool claims train on queue default"),
        ([POOL | {"queues": ["big"]}], "on queue default"),
        (
            [POOL, POOL | {"name": "big", "queues": ["big"], "kinds": ["train"]}],
            "no pool claims encode, generate, evaluate, publish on queue big",
        ),
    ],
)
def test_work_that_nobody_would_do_is_refused(pools: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match=told):
        render(scenario("minimal", workers=pools))
    render(scenario("minimal", workers=pools, workersElsewhere=True))


@pytest.mark.parametrize(
    ("part", "scaling", "told"),
    [
        ("api", {"min": 5, "max": 2}, "api.autoscaling has min 5 above max 2"),
        ("serve", {"min": 5, "max": 2}, "serve.autoscaling has min 5 above max 2"),
        ("serve", {"metric": "cpu"}, "of which the processor tells nothing"),
        ("serve", {"metric": "external"}, "give external.name"),
        ("serve", {"metric": "external", "min": 0, "external": {"name": "a"}}, "has min 0"),
    ],
)
def test_scaling_without_sense_is_refused(part: str, scaling: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmRenderError, match=told):
        render(scenario("minimal", **{part: {"autoscaling": {"enabled": True} | scaling}}))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(helm_python.HelmRenderError) as refused:
        render(scenario("minimal", workers=[POOL | {"max": 2, "replicas": 1, "disk": "1Gi"}, REST]))
    assert "replicas and max" in str(refused.value)
    assert "raise disk" in str(refused.value)


def test_a_cluster_without_keda_is_told_so(tmp_path: Path) -> None:
    """No cluster is asked here: a kind that Helm knows by itself stands for what only clusters have."""
    copy = shutil.copytree(CHART, tmp_path / "spindle")
    checks = copy / "templates" / "_checks.tpl"
    assert "apiregistration.k8s.io/v1" in checks.read_text()
    checks.write_text(checks.read_text().replace("apiregistration.k8s.io/v1", "apps/v1"))
    with helm_python.Chart.load(copy) as chart:
        with pytest.raises(helm_python.HelmRenderError, match="this cluster has no KEDA"):
            chart.render(scenario("scaled-job"), name=NAME)
        assert chart.render(scenario("minimal"), name=NAME)
