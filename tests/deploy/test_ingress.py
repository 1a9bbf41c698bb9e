"""The API's address from outside: an Ingress or an HTTPRoute, with large bodies and long answers."""

from typing import Any

import helm_python
import pytest

from tests.deploy.release import render, scenario

NGINX = "nginx.ingress.kubernetes.io"
DEFAULTS = {
    f"{NGINX}/proxy-body-size": "0",
    f"{NGINX}/proxy-request-buffering": "off",
    f"{NGINX}/proxy-buffering": "off",
    f"{NGINX}/proxy-read-timeout": "3600",
    f"{NGINX}/proxy-send-timeout": "3600",
}
GATEWAY = {"name": "public", "namespace": "gateways", "sectionName": "https"}


def ingress(**given: Any) -> dict[str, Any]:
    return render(scenario("minimal", ingress={"enabled": True} | given)).of("Ingress")["api"]


def backend(of: dict[str, Any]) -> tuple[str, Any]:
    [path] = of["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    service = path["backend"]["service"]
    return service["name"], service["port"]["name"]


def test_nothing_is_offered_outside_unless_asked() -> None:
    release = render(scenario("minimal"))
    assert release.of("Ingress") == release.of("HTTPRoute") == {}


def test_the_host_is_that_of_the_public_address() -> None:
    made = ingress(className="nginx", tls=[{"secretName": "spindle-tls"}])
    assert made["metadata"]["annotations"] == DEFAULTS
    assert made["spec"]["ingressClassName"] == "nginx"
    assert made["spec"]["tls"] == [{"secretName": "spindle-tls", "hosts": ["spindle.example.org"]}]
    [rule] = made["spec"]["rules"]
    assert rule["host"] == "spindle.example.org"
    service = render(scenario("minimal")).of("Service")["api"]
    assert backend(rule) == (service["metadata"]["name"], service["spec"]["ports"][0]["name"])


def test_annotations_come_on_top_of_the_defaults_and_replace_them() -> None:
    mine = {f"{NGINX}/proxy-read-timeout": "60", "cert-manager.io/cluster-issuer": "letsencrypt"}
    assert ingress(annotations=mine)["metadata"]["annotations"] == DEFAULTS | mine
    alone = {"haproxy.org/timeout-server": "1h"}
    assert ingress(controller="none", annotations=alone)["metadata"]["annotations"] == alone
    assert "annotations" not in ingress(controller="none")["metadata"]


def test_more_hosts_share_the_rule_and_the_certificate() -> None:
    hosts = ["spindle.example.org", "pictures.example.org"]
    made = ingress(hosts=hosts, tls=[{"secretName": "one"}, {"secretName": "two", "hosts": hosts[1:]}])[
        "spec"
    ]
    assert [rule["host"] for rule in made["rules"]] == hosts
    assert [each["hosts"] for each in made["tls"]] == [hosts, hosts[1:]]
    assert len({backend(rule) for rule in made["rules"]}) == 1
    assert ingress(hosts=["*.example.org"])["spec"]["rules"][0]["host"] == "*.example.org"


def test_a_route_has_no_time_limit() -> None:
    given = {"enabled": True, "parentRefs": [GATEWAY], "annotations": {"example.org/owner": "team"}}
    route = render(scenario("minimal", gateway=given)).of("HTTPRoute")["api"]
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["metadata"]["annotations"] == {"example.org/owner": "team"}
    assert route["spec"] == {
        "parentRefs": [GATEWAY],
        "hostnames": ["spindle.example.org"],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "timeouts": {"request": "0s"},
                "backendRefs": [{"name": "demo-api", "port": 80}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"ingress": {"enabled": True, "hosts": ["a.example.org"]}},
            r"ingress.hosts: the host of settings.pub",
        ),
        ({"ingress": {"enabled": True, "hosts": ["*.other.org"]}}, "spindle.example.org"),
        ({"ingress": {"enabled": True, "hosts": ["https://spindle.example.org"]}}, "hosts"),
        ({"ingress": {"enabled": True, "controller": "nginx"}}, "controller"),
        ({"ingress": {"enabled": True, "tls": [{"hosts": []}]}}, "secretName"),
        ({"ingress": {"enabled": True, "host": "a"}}, "'host'"),
        (
            {"ingress": {"enabled": True}, "settings": {"public_url": "http://10.0.0.7:8000"}},
            "10.0.0.7 is an address",
        ),
        ({"gateway": {"enabled": True}}, "gateway.parentRefs: name the Gateway"),
        (
            {"gateway": {"enabled": True, "parentRefs": [GATEWAY], "hostnames": ["b.org"]}},
            "gateway.hostnames",
        ),
    ],
)
def test_what_could_not_work_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(helm_python.HelmError, match=told):
        render(scenario("minimal", **wrong))
