"""Pools of workers, what scales them, and what is refused, by the objects that Helm would send."""

from typing import Any

from tests.deploy.kubernetes import VERSIONS, assert_valid
from tests.deploy.release import COMPONENT, Manifest, Release, render, scenario

GANG = {"name": "gang", "nodes": 2, "kinds": ["train"], "queues": ["big"], "gpus": 8, "shm": "1Gi"}
REST = {"name": "rest", "replicas": 1, "queues": ["default", "big"]}


def with_pools(*pools: dict[str, Any], mode: str = "none", **changes: Any) -> Release:
    """Render a release whose pools are these; one for everything is beside them."""
    values = scenario("minimal", autoscaling={"mode": mode}, workers=[*pools, REST], **changes)
    return render(values)


def of_pool(release: Release, name: str) -> Manifest:
    spec = release.of("Deployment")[f"worker-{name}"]["spec"]
    assert isinstance(spec, dict)
    return spec


def container_of(spec: Manifest) -> Manifest:
    [container] = spec["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def test_pools_take_their_gpus_nodes_and_kinds() -> None:
    release = render(scenario("gpu-pools"))
    train = release.pods()["worker-train"]["spec"]
    assert train["containers"][0]["resources"]["limits"] == {"memory": "512Gi", "nvidia.com/gpu": 8}
    assert train["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "500Gi"
    assert train["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert train["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert train["priorityClassName"] == "training"
    shm = next(each for each in train["volumes"] if each["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    mounted = {each["name"]: each["mountPath"] for each in train["containers"][0]["volumeMounts"]}
    assert mounted["shm"] == "/dev/shm"  # noqa: S108  a mount in the pod
    [spread] = release.pods()["worker-draw"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"][COMPONENT] == "worker-draw"
    mig = render(scenario("external-everything")).pods()["worker-gpu"]["spec"]["containers"][0]
    assert mig["resources"]["limits"]["nvidia.com/mig-3g.40gb"] == 1
    assert "nvidia.com/gpu" not in mig["resources"]["limits"]


def test_a_worker_is_killed_only_after_a_checkpoint_and_its_upload() -> None:
    pods = render(scenario("gpu-pools")).pods()
    stopping = {
        name: pods[name]["spec"]["terminationGracePeriodSeconds"]
        for name in pods
        if name.startswith(("worker-", "serve"))
    }
    cut = {"worker-train": 360, "worker-draw": 360, "worker-cpu": 360, "serve": 360}
    assert stopping == cut | {"worker-gang": 900}
    own = with_pools({"name": "big", "terminationGracePeriodSeconds": 900})
    assert own.pods()["worker-big"]["spec"]["terminationGracePeriodSeconds"] == 900
    none = render(scenario("minimal", settings={"shutdown_grace_seconds": 0}))
    assert none.pods()["worker-gpu"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_a_drain_of_nodes_is_never_held_up_and_takes_one_at_a_time() -> None:
    release = with_pools({"name": "one", "replicas": 1}, GANG | {"replicas": 4})
    budgets = release.of("PodDisruptionBudget")
    for name, budget in budgets.items():
        assert "minAvailable" not in budget["spec"]
        assert budget["spec"]["maxUnavailable"] == (2 if name == "worker-gang" else 1)
        selected = budget["spec"]["selector"]["matchLabels"]
        assert selected[COMPONENT] == name
        assert selected.items() <= release.pods()[name]["metadata"]["labels"].items()
    assert set(budgets) == set(release.of("Deployment"))


def test_a_new_worker_waits_for_the_gpu_of_the_old_one() -> None:
    release = with_pools(GANG | {"replicas": 4})
    rolling = {name: each["spec"].get("strategy") for name, each in release.of("Deployment").items()}
    assert (
        rolling["worker-rest"] == {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}} == rolling["serve"]
    )
    assert rolling["worker-gang"] == {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 2}}
    assert rolling["api"] is None  # it takes no GPU: a new one comes before an old one goes


def test_a_fixed_number_is_in_the_deployment_and_a_scaled_one_is_not() -> None:
    release = with_pools(
        {"name": "scaled", "min": 1, "max": 5}, {"name": "fixed", "replicas": 0}, mode="scaledObject"
    )
    assert "replicas" not in of_pool(release, "scaled")
    assert of_pool(release, "fixed")["replicas"] == 0
    assert list(release.of("ScaledObject")) == ["worker-scaled"]
    assert set(with_pools().of("TriggerAuthentication")) == set()
    assert "replicas" not in render(scenario("gpu-pools")).of("Deployment")["api"]["spec"]


def test_keda_scales_a_pool_between_its_bounds_by_units() -> None:
    release = render(scenario("gpu-pools"))
    scaled = release.of("ScaledObject")["worker-train"]["spec"]
    assert scaled["scaleTargetRef"] == {"name": release.of("Deployment")["worker-train"]["metadata"]["name"]}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 4)
    assert scaled["cooldownPeriod"] == 600
    hpa = scaled["advanced"]["horizontalPodAutoscalerConfig"]
    assert hpa["behavior"]["scaleDown"] == {
        "stabilizationWindowSeconds": 600,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
    }
    [trigger] = scaled["triggers"]
    assert trigger["metadata"]["targetQueryValue"] == "1"
    authentication = release.of("TriggerAuthentication")["database"]
    assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "connection", "name": "spindle", "key": "SPINDLE_DATABASE_URL"}
    ]


def test_a_scaled_job_runs_one_unit_and_is_left_alone() -> None:
    release = render(scenario("scaled-job"))
    assert set(release.of("ScaledJob")) == {"worker-train", "worker-draw"}
    train = release.of("ScaledJob")["worker-train"]["spec"]
    job = train["jobTargetRef"]
    [container] = job["template"]["spec"]["containers"]
    assert container["args"][-1] == "--once"
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["backoffLimit"] == 0
    assert "activeDeadlineSeconds" not in job
    assert train["rollout"] == {"strategy": "gradual"}
    assert "worker-train" not in release.of("Deployment")
    assert "worker-train" not in release.of(
        "PodDisruptionBudget"
    )  # a Job has no scale: nothing could be evicted
    [authentication] = release.of("TriggerAuthentication").values()
    [where] = authentication["spec"]["secretTargetRef"]
    assert (where["name"], where["key"]) == ("spindle-keda", "connection")


def test_a_gang_comes_and_goes_together() -> None:
    release = with_pools(GANG | {"min": 2, "max": 8}, mode="scaledObject")
    container = container_of(of_pool(release, "gang"))
    assert container["args"][-4:] == ["--nodes", "2", "--address", "$(POD_IP)"]
    assert {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}} in container["env"]
    scaled = release.of("ScaledObject")["worker-gang"]["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["policies"] == [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    assert behavior["scaleUp"]["policies"] == [{"type": "Pods", "value": 8, "periodSeconds": 15}]
    assert scaled["triggers"][0]["metadata"]["query"].startswith("SELECT CAST(2 * ")
    affinity = of_pool(release, "gang")["template"]["spec"]["affinity"]
    [near] = affinity["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert near["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone"
    for version in VERSIONS:
        for each in release.objects:
            assert_valid(each, version)


def test_hpas_scale_api_and_serve_by_what_tells_of_them() -> None:
    pools, outside = render(scenario("gpu-pools")), render(scenario("external-everything"))
    api = pools.of("HorizontalPodAutoscaler")["api"]["spec"]
    assert api["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo-api"}
    assert (api["minReplicas"], api["maxReplicas"]) == (2, 10)
    [metric] = api["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    [metric] = pools.of("HorizontalPodAutoscaler")["serve"]["spec"]["metrics"]
    assert metric["external"]["metric"] == {
        "name": "spindle_pictures_waiting",
        "selector": {"matchLabels": {"namespace": "spindle"}},
    }
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "16"}
    [metric] = outside.of("HorizontalPodAutoscaler")["serve"]["spec"]["metrics"]
    assert metric["resource"]["name"] == "cpu"
    waiting = render(scenario("scaled-job")).of("ScaledObject")["serve"]["spec"]
    assert (waiting["minReplicaCount"], waiting["maxReplicaCount"]) == (0, 4)
    assert waiting["triggers"][0]["metadata"]["targetQueryValue"] == "32"


def test_what_is_wanted_of_one_part_is_where_kubernetes_looks() -> None:
    release = render(scenario("external-everything"))
    api = release.pods()["api"]
    assert api["metadata"]["annotations"] == {"example.org/owner": "images"}
    assert api["metadata"]["labels"]["example.org/cost-centre"] == "4711"
    assert api["spec"]["priorityClassName"] == "serving"
    assert set(api["spec"]["affinity"]) == {"nodeAffinity"}
    assert [each["topologyKey"] for each in api["spec"]["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
