"""What the Prometheus Operator and Grafana are handed: whole files, and selectors that meet our pods."""

import json
from typing import Any

import helm_python
import pytest
import yaml

from tests.deploy.network import pods_of, selects
from tests.deploy.release import CHART, Release, render, scenario

RELEASE_LABEL = {"release": "kube-prometheus-stack"}
ALL = {
    "serviceMonitor": {"enabled": True, "labels": RELEASE_LABEL},
    "prometheusRule": {"enabled": True, "labels": RELEASE_LABEL},
    "dashboard": {"enabled": True},
}


@pytest.fixture(scope="module")
def watched() -> Release:
    return render(scenario("gpu-pools", monitoring=ALL))


def test_nothing_of_it_is_made_unless_asked() -> None:
    kinds = {each["kind"] for each in render(scenario("gpu-pools")).objects}
    assert kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"} == set()


def test_the_service_of_the_api_is_scraped(watched: Release) -> None:
    monitor = watched.of("ServiceMonitor")["api"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["metadata"]["labels"].items() >= RELEASE_LABEL.items()
    assert monitor["spec"]["endpoints"] == [
        {"port": "http", "path": "/metrics", "interval": "30s", "scrapeTimeout": "10s"}
    ]
    services = watched.of("Service")
    met = {
        name
        for name, each in services.items()
        if selects(monitor["spec"]["selector"], each["metadata"]["labels"])
    }
    assert met == {"api"}
    assert "http" in [port["name"] for port in services["api"]["spec"]["ports"]]


def test_all_pods_with_a_port_for_metrics_are_scraped_and_no_others(watched: Release) -> None:
    monitor = watched.of("PodMonitor")["pods"]
    pods = pods_of(watched)
    met = {name for name, pod in pods.items() if selects(monitor["spec"]["selector"], pod.labels)}
    assert met == {name for name, pod in pods.items() if pod.ports.get("metrics") == 9464}
    assert met == {"beat", "serve"} | {f"worker-{pool['name']}" for pool in scenario("gpu-pools")["workers"]}
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


def test_the_job_is_the_component(watched: Release) -> None:
    """The operator takes the job's name from this label of the Service or pod."""
    label = "app.kubernetes.io/component"
    assert watched.of("ServiceMonitor")["api"]["spec"]["jobLabel"] == label
    assert watched.of("PodMonitor")["pods"]["spec"]["jobLabel"] == label
    assert watched.of("Service")["api"]["metadata"]["labels"][label] == "api"


def test_the_rules_are_those_of_the_file(watched: Release) -> None:
    rule = watched.of("PrometheusRule")["alerts"]
    assert rule["metadata"]["labels"].items() >= RELEASE_LABEL.items()
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    assert "{{" in json.dumps(rule["spec"]), "the rules' own templates reach Prometheus as they are"


def test_the_dashboard_is_that_of_the_file(watched: Release) -> None:
    made = watched.of("ConfigMap")["dashboard"]
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    [(name, text)] = made["data"].items()
    assert name.endswith(".json")
    assert json.loads(text) == json.loads((CHART / "files" / "dashboard.json").read_text())


def test_grafana_may_look_for_another_label_and_folder() -> None:
    given = {"enabled": True, "labels": {"dashboards": "yes"}, "annotations": {"grafana_folder": "Spindle"}}
    made = render(scenario("minimal", monitoring={"dashboard": given})).of("ConfigMap")["dashboard"]
    assert made["metadata"]["labels"]["dashboards"] == "yes"
    assert made["metadata"]["annotations"] == {"grafana_folder": "Spindle"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"serviceMonitor": {"interval": "30"}}, "interval"),
        ({"prometheusRule": {"enabled": "yes"}}, "enabled"),
        ({"grafana": {}}, "'grafana'"),
        ({"dashboard": {"labels": {"grafana_dashboard": 1}}}, "grafana_dashboard"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=told):
        render(scenario("minimal", monitoring=wrong))
