"""The NetworkPolicies, by what they mean: who reaches whom, and that nothing else does."""

from typing import Any

import helm_python
import pytest

from tests.deploy.network import Place, Pod, may_reach, pods_of, stranger
from tests.deploy.release import SCENARIOS, Release, render, scenario

PORTS = (22, 53, 80, 443, 2379, 4318, 5432, 6379, 6380, 6443, 8000, 8333, 8888, 9333, 9464, 29500)
INTERNET = "93.184.216.34"
INSIDE = "10.3.7.9"
SOURCES = ("ingress-nginx", "ingress", "monitoring", "keda", "kube-system", "elsewhere", "team")
"""Namespaces from which something knocks; the last is the release's own."""
OURS = ("api", "beat", "serve", "worker-gpu", "worker-aside")


def policies(release: Release) -> list[dict[str, Any]]:
    return list(release.of("NetworkPolicy").values())


def reached_from_outside(release: Release) -> set[tuple[str, str, int]]:
    """Return (namespace, component, port) of all that strangers reach."""
    rules = policies(release)
    return {
        (namespace, component, port)
        for namespace in SOURCES
        for component, pod in pods_of(release).items()
        for port in PORTS
        if may_reach(rules, stranger(namespace), pod, port)
    }


def reached_within(release: Release) -> set[tuple[str, str, int]]:
    """Return (from, to, port) of all that the release's pods reach of each other."""
    rules, pods = policies(release), pods_of(release)
    return {
        (source, target, port)
        for source, pod in pods.items()
        for target, other in pods.items()
        for port in PORTS
        if may_reach(rules, pod, other, port)
    }


def reached(release: Release, target: Place, protocol: str = "TCP") -> set[tuple[str, int]]:
    """Return (component, port) of all that reach one place."""
    rules = policies(release)
    return {
        (component, port)
        for component, pod in pods_of(release).items()
        for port in PORTS
        if may_reach(rules, pod, target, port, protocol)
    }


NARROW = {
    "database": {"to": [{"ipBlock": {"cidr": "10.20.0.5/32"}}]},
    "broker": {"to": [{"ipBlock": {"cidr": "10.20.0.6/32"}}]},
    "store": {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_only_the_controller_and_the_monitoring_reach_anything(name: str) -> None:
    release = render(scenario(name))
    controller = "ingress" if name == "gpu-pools" else "ingress-nginx"
    watched = {component for component, pod in pods_of(release).items() if "metrics" in pod.ports}
    expected = {("monitoring", component, 9464) for component in watched}
    expected |= {(controller, "api", 8000), ("monitoring", "api", 8000)}
    assert reached_from_outside(release) == expected


def test_pods_of_the_release_do_not_reach_each_other() -> None:
    """Only the pod of `helm test` asks the API; the database and the queue are what they meet at."""
    release = render(scenario("minimal", networkPolicy=NARROW))
    assert reached_within(release) == {("test", "api", 8000)}


def test_each_part_reaches_database_queue_and_store_and_nothing_else() -> None:
    release = render(scenario("minimal", networkPolicy=NARROW | {"webhooks": {"enabled": False}}))
    everyone = {*OURS, "migrate"}
    assert reached(release, "10.20.0.5") == {(each, 5432) for each in everyone}
    assert reached(release, "10.20.0.6") == {(each, 6379) for each in everyone}
    assert reached(release, stranger("storage")) == {(each, 443) for each in everyone}
    assert reached(release, INTERNET) == reached(release, INSIDE) == set()
    assert reached(release, "2606:2800:21f:cb07:6820:80da:af6b:8b2c") == set()


def test_without_addresses_the_ports_are_open_anywhere_and_no_other() -> None:
    release = render(scenario("minimal"))
    expected = {(each, port) for each in {*OURS, "migrate"} for port in (443, 5432, 6379)}
    assert reached(release, INTERNET) == reached(release, INSIDE) == expected


def test_names_are_asked_of_the_cluster_alone() -> None:
    release = render(scenario("minimal", networkPolicy=NARROW | {"webhooks": {"enabled": False}}))
    everyone = {(each, 53) for each in {*OURS, "migrate", "test"}}
    for protocol in ("TCP", "UDP"):
        assert reached(release, stranger("kube-system"), protocol) == everyone
        assert reached(release, "169.254.20.10", protocol) == everyone
        assert reached(release, "8.8.8.8", protocol) == set()


def test_webhooks_go_to_the_internet_and_to_the_networks_that_are_allowed() -> None:
    values = scenario("minimal", networkPolicy=NARROW)
    release = render(values)
    assert reached(release, INTERNET) == {("beat", 443)}
    for address in (INSIDE, "172.20.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "fd00::1"):
        assert reached(release, address) == set(), address
    values["settings"] |= {"webhook_networks": "10.3.0.0/16, fd00::/64"}
    allowed = render(values)
    assert reached(allowed, INSIDE) == reached(allowed, "fd00::1") == {("beat", 443)}


@pytest.mark.parametrize(
    ("setting", "address", "port", "senders"),
    [
        ("otlp_endpoint", "http://collector.observe:4318", 4318, OURS),
        ("otlp_endpoint", "http://collector.observe", 80, OURS),
        ("c2pa_timestamp_url", "http://tsa.example.org", 80, ["serve"]),
        ("c2pa_timestamp_url", "https://tsa.example.org/rfc3161", 443, ["serve"]),
    ],
)
def test_a_setting_with_an_address_opens_its_port(
    setting: str, address: str, port: int, senders: list[str]
) -> None:
    part = {"otlp_endpoint": "telemetry", "c2pa_timestamp_url": "timestamps"}[setting]
    peer = {"ipBlock": {"cidr": "10.3.7.0/24"}}
    values = scenario("minimal", networkPolicy=NARROW | {part: {"to": [peer]}})
    values["settings"] |= {setting: address}
    assert reached(render(values), INSIDE) == {(each, port) for each in senders}


def test_workers_fetch_by_address_where_that_is_allowed() -> None:
    shut = NARROW | {"webhooks": {"enabled": False}}
    release = render(scenario("minimal", networkPolicy=shut | {"addresses": {"enabled": True}}))
    assert reached(release, INTERNET) == {(each, 443) for each in OURS if each not in {"api", "beat"}}
    mirror = {"enabled": True, "ports": [8000], "to": [{"ipBlock": {"cidr": "10.3.7.9/32"}}]}
    release = render(scenario("minimal", networkPolicy=shut | {"addresses": mirror}))
    assert reached(release, INTERNET) == set()
    assert {port for _, port in reached(release, INSIDE)} == {8000}


def test_a_gang_meets_on_every_port_and_with_nobody_else() -> None:
    pool = {"name": "many", "nodes": 4, "replicas": 4, "gpus": 8, "kinds": ["train"]}
    other = {"name": "one", "replicas": 1}
    release = render(scenario("minimal", networkPolicy=NARROW, workers=[pool, other]))
    everywhere = {("worker-many", "worker-many", port) for port in PORTS}
    assert reached_within(release) == everywhere | {("test", "api", 8000)}
    gang = pods_of(release)["worker-many"]
    assert not may_reach(policies(release), gang, gang, 29500, "UDP")
    twin = Pod(gang.labels | {"app.kubernetes.io/instance": "other"}, ports=gang.ports)
    assert not may_reach(policies(release), twin, gang, 29500)


def test_the_migration_brings_its_own_policy_and_takes_it_along() -> None:
    """It runs before the release, so Helm makes the policy before the Job: the lower weight goes first."""
    release = render(scenario("minimal"))
    policy = release.of("NetworkPolicy")["migrate"]
    job = release.of("Job")["migrate"]
    assert policy["metadata"]["annotations"] == {
        "helm.sh/hook": "pre-install,pre-upgrade",
        "helm.sh/hook-weight": "-5",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert "helm.sh/hook-weight" not in job["metadata"]["annotations"]
    alone = [policy]
    pod = pods_of(release)["migrate"]
    assert may_reach(alone, pod, INSIDE, 5432)
    assert not may_reach(alone, pod, INSIDE, 22)
    assert not may_reach(alone, stranger("team"), pod, 8000)


def test_servers_for_trying_out_are_reached_by_ours_alone_and_reach_nothing() -> None:
    release = render(scenario("trial", networkPolicy={"webhooks": {"enabled": False}}))
    ours = {"api", "beat", "serve", "worker-units", "worker-aside"}
    servers = {"postgres": 5432, "redis": 6379, "seaweedfs": 8333}
    meetings = {(part, server, port) for part in ours for server, port in servers.items()}
    assert reached_within(release) == meetings | {("test", "api", 8000)}
    for target in (INTERNET, INSIDE, stranger("storage")):
        assert reached(release, target) == set()
    assert {component for component, _ in reached(release, stranger("kube-system"))} == ours | {"test"}


def test_without_a_way_to_the_internet_nothing_tries_to_go_there() -> None:
    release = render(scenario("air-gapped"))
    assert reached(release, INTERNET) == reached(release, INSIDE) == reached(release, "2606:2800::1") == set()
    servers = {(each, port) for each in {*OURS, "migrate"} for port in (5432, 6379, 8333)}
    assert reached(release, "10.20.0.5") == servers


def test_keda_reaches_the_database_for_trying_out_when_it_scales() -> None:
    serve = {"autoscaling": {"enabled": True, "metric": "waiting"}}
    found = reached_from_outside(render(scenario("trial", serve=serve)))
    assert {each for each in found if each[0] == "keda"} == {("keda", "postgres", 5432)}


def test_without_policies_there_are_none() -> None:
    assert render(scenario("minimal", networkPolicy={"enabled": False})).of("NetworkPolicy") == {}
    assert render(scenario("trial", networkPolicy={"enabled": False})).of("NetworkPolicy") == {}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"api": {"from": [{}]}}, "from"),
        ({"api": {"from": [{"namespace": "a"}]}}, "'namespace'"),
        ({"database": {"ports": [0]}}, "ports"),
        ({"database": {"ports": []}}, "ports"),
        ({"store": {"to": [{"ipBlock": {"cidr": "s3.example.org"}}]}}, "cidr"),
        ({"webhooks": {"except": ["10.0.0.0"]}}, "except"),
        ({"egressPorts": [443]}, "'egressPorts'"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=told):
        render(scenario("minimal", networkPolicy=wrong))
