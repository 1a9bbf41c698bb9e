"""The real Helm installs, upgrades and uninstalls: what comes first, what is kept, what stays behind."""

from base64 import b64decode
from typing import Any

from tests.deploy.cluster import Cluster, running
from tests.deploy.release import CHART, NAME, scenario

DRAWN = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET_KEY", "SPINDLE_FIRST_KEY")
MIGRATION = [
    ("made", "NetworkPolicy", "demo-migrate"),
    ("made", "Job", "demo-migrate"),
    ("deleted", "Job", "demo-migrate"),
    ("deleted", "NetworkPolicy", "demo-migrate"),
]


def secret(cluster: Cluster) -> dict[str, str]:
    data = cluster.objects["Secret", "demo-trial"]["data"]
    return {name: b64decode(text).decode() for name, text in data.items()}


def unchangeable(cluster: Cluster) -> dict[str, Any]:
    """Return what Kubernetes does not let an upgrade change, by kind and name."""
    fields = ("selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy")
    return {
        f"{kind} {name}": {field: each["spec"].get(field) for field in fields}
        for (kind, name), each in cluster.objects.items()
        if kind in {"Deployment", "StatefulSet"}
    }


def test_the_tables_are_moved_behind_their_policy_before_anything_else_changes() -> None:
    given = scenario("minimal")
    with running() as cluster, cluster.config() as helm:
        helm.install(CHART, NAME, given, timeout=240, wait="hookOnly")
        assert cluster.history[:4] == MIGRATION
        kept, after = unchangeable(cluster), len(cluster.history)
        helm.upgrade(CHART, NAME, given | {"beat": {"replicas": 2}}, timeout=240, wait="hookOnly")
        assert cluster.history[after : after + 4] == MIGRATION
        assert cluster.objects["Deployment", "demo-beat"]["spec"]["replicas"] == 2
        assert unchangeable(cluster) == kept
        helm.uninstall(NAME)
        assert cluster.objects == {}


def test_what_a_trial_has_drawn_is_kept_and_outlives_it() -> None:
    given = scenario("trial")
    moved = scenario("trial", trial={"seaweedfs": {"publicUrl": "https://s3.example.org"}})
    with running() as cluster, cluster.config() as helm:
        helm.install(CHART, NAME, given, timeout=240, wait="hookOnly")
        assert "Job" not in {kind for _, kind, _ in cluster.history}
        first, kept = secret(cluster), unchangeable(cluster)
        helm.upgrade(CHART, NAME, moved, timeout=240, wait="hookOnly")
        second = secret(cluster)
        assert [second[name] for name in DRAWN] == [first[name] for name in DRAWN]
        assert second["SPINDLE_DATABASE_URL"] == first["SPINDLE_DATABASE_URL"]
        assert second["SPINDLE_STORE_URL"].endswith("&public=https://s3.example.org")
        assert unchangeable(cluster) == kept
        helm.uninstall(NAME)
        assert list(cluster.objects) == [("Secret", "demo-trial")]
        helm.install(CHART, NAME, given, timeout=240, wait="hookOnly")
        assert secret(cluster) == first
