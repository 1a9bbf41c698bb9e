"""Every pod of every scenario is one that Kubernetes' Pod Security Standard "restricted" lets in."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.release import SCENARIOS, render, scenario

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe", "postStart", "preStop")


def forbidden(pod: dict[str, Any]) -> Iterator[str]:
    """Tell what of a pod's spec the standard forbids: baseline and restricted, as of Kubernetes 1.34."""
    own = pod.get("securityContext", {})
    yield from (f"{key} is shared" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key))
    yield from ("a Windows host process" for _ in [0] if own.get("windowsOptions", {}).get("hostProcess"))
    yield from (f"sysctl {each['name']}" for each in own.get("sysctls", []))
    for volume in pod.get("volumes", []):
        yield from (f"a volume of {kind}" for kind in volume.keys() - {"name"} - VOLUMES)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        yield from _of_container(own, container)


def _of_container(pods: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = pods | own
    capabilities = own.get("capabilities", {})
    wrong = {
        "privileged": own.get("privileged", False),
        "may gain privileges": own.get("allowPrivilegeEscalation") is not False,
        "may be root": both.get("runAsNonRoot") is not True or both.get("runAsUser", 1) == 0,
        "no seccomp profile": both.get("seccompProfile", {}).get("type")
        not in {"RuntimeDefault", "Localhost"},
        "keeps capabilities": "ALL" not in capabilities.get("drop", []),
        "gets capabilities": bool(set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}),
        "a mount of /proc of its own": own.get("procMount", "Default") != "Default",
        "another SELinux user or role": bool(both.get("seLinuxOptions", {}).keys() & {"user", "role"}),
        "AppArmor is off": both.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined",
        "a port of the host": any(port.get("hostPort") for port in container.get("ports", [])),
        "a probe of another host": any(
            action.get("host")
            for name in HANDLERS
            for handler in [container.get(name) or container.get("lifecycle", {}).get(name) or {}]
            for action in (handler.get("httpGet", {}), handler.get("tcpSocket", {}))
        ),
    }
    yield from (f"{container['name']}: {what}" for what, is_so in wrong.items() if is_so)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_pod_may_run_in_a_restricted_namespace(name: str) -> None:
    pods = render(scenario(name)).pods()
    assert {"api", "beat", "serve", "test"} <= pods.keys()
    assert {component: list(forbidden(pod["spec"])) for component, pod in pods.items()} == {
        component: [] for component in pods
    }
    assert {pod["spec"]["automountServiceAccountToken"] for pod in pods.values()} == {False}


def test_what_the_standard_forbids_is_seen() -> None:
    """The rules above are of use: each of these is told."""
    container = {"name": "a", "securityContext": {"privileged": True}, "ports": [{"hostPort": 80}]}
    pod = {"containers": [container], "hostNetwork": True, "volumes": [{"name": "a", "hostPath": {}}]}
    assert list(forbidden(pod)) == [
        "hostNetwork is shared",
        "a volume of hostPath",
        "a: privileged",
        "a: may gain privileges",
        "a: may be root",
        "a: no seccomp profile",
        "a: keeps capabilities",
        "a: a port of the host",
    ]
