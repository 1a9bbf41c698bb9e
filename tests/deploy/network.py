"""Who may reach whom by a set of NetworkPolicies, as networking.k8s.io/v1 says; no cluster is asked."""

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.deploy.release import NAMESPACE, Manifest, Release

NAMESPACE_NAME = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Pod:
    """A pod: where it is, what it is labelled, and the names of its ports."""

    labels: dict[str, str]
    namespace: str = NAMESPACE
    ports: dict[str, int] = field(default_factory=dict)


Place = Pod | str
"""A pod, or the address of something that is none of the cluster's."""


def pods_of(release: Release) -> dict[str, Pod]:
    """Return the pods of a release by component."""
    return {component: _pod(made) for component, made in release.pods().items()}


def _pod(made: Manifest) -> Pod:
    ports = {
        port["name"]: port["containerPort"]
        for container in made["spec"]["containers"]
        for port in container.get("ports", [])
    }
    return Pod(made["metadata"]["labels"], NAMESPACE, ports)


def stranger(namespace: str) -> Pod:
    """Return a pod of another release, in some namespace."""
    return Pod({"app": "other"}, namespace)


def may_reach(
    policies: list[Manifest], source: Place, target: Place, port: int, protocol: str = "TCP"
) -> bool:
    """Tell whether a connection is allowed where it leaves and where it arrives."""
    return _lets(policies, "Egress", source, target, (target, port, protocol)) and _lets(
        policies, "Ingress", target, source, (target, port, protocol)
    )


def _lets(
    policies: list[Manifest], way: str, here: Place, there: Place, wanted: tuple[Place, int, str]
) -> bool:
    if isinstance(here, str):
        return True  # nothing of the cluster's to say so
    specs = [
        each["spec"]
        for each in policies
        if here.namespace == NAMESPACE
        and selects(each["spec"]["podSelector"], here.labels)
        and way in each["spec"]["policyTypes"]
    ]
    rules = [rule for spec in specs for rule in spec.get(way.lower(), [])]
    peers = "to" if way == "Egress" else "from"
    return not specs or any(
        _is_port(rule.get("ports"), *wanted)
        and (not rule.get(peers) or any(_is_peer(each, there) for each in rule[peers]))
        for rule in rules
    )


def _is_port(ports: list[dict[str, Any]] | None, target: Place, port: int, protocol: str) -> bool:
    names = {} if isinstance(target, str) else target.ports
    return not ports or any(
        each.get("protocol", "TCP") == protocol
        and ("port" not in each or names.get(each["port"], each["port"]) == port)
        for each in ports
    )


def _is_peer(peer: dict[str, Any], place: Place) -> bool:
    if isinstance(place, str):
        block = peer.get("ipBlock")
        inside = block is not None and ip_address(place) in ip_network(block["cidr"])
        return inside and not any(ip_address(place) in ip_network(each) for each in block.get("except", []))
    if "ipBlock" in peer:
        return False
    at_home = place.namespace == NAMESPACE
    fits = (
        selects(peer["namespaceSelector"], {NAMESPACE_NAME: place.namespace})
        if "namespaceSelector" in peer
        else at_home
    )
    return fits and selects(peer.get("podSelector", {}), place.labels)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Tell whether a label selector selects these labels; an empty one selects all."""
    alike = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In", f"not known here: {each['operator']}"
        alike = alike and labels.get(each["key"]) in each["values"]
    return alike
