"""An API server that keeps what it is told, so that the real Helm engine can install, upgrade and uninstall.

Nothing runs: a Job has succeeded as soon as it is there. What it shows is Helm's side, the order of what is
asked for and what is left behind, and nothing of a cluster's.
"""

import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import helm_python
import yaml

from tests.deploy.release import NAMESPACE

KINDS = {
    "v1": ("Pod", "Secret", "Service", "ServiceAccount", "ConfigMap"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "batch/v1": ("Job",),
    "networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "policy/v1": ("PodDisruptionBudget",),
}
PATH = re.compile(rf"/(?:api|apis)/(.+?)/namespaces/{NAMESPACE}/(\w+)(?:/([^/]+))?")
DONE = {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}


def plural(kind: str) -> str:
    """Return a kind's name in an address."""
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}es" if name.endswith("s") else f"{name}s"


NAMES = {plural(kind): (group, kind) for group, kinds in KINDS.items() for kind in kinds}


@dataclass
class Cluster:
    """What is there now, by kind and name, and what happened: ("made" or "deleted", kind, name)."""

    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[str, str, str]] = field(default_factory=list)
    kubeconfig: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def config(self) -> helm_python.Config:
        """Return a connection of Helm's."""
        return helm_python.Config(
            kubeconfig_content=self.kubeconfig,
            namespace=NAMESPACE,
            storage_driver="memory",
            burst_limit=1000,
            qps=1000,
        )

    def keep(self, kind: str, told: dict[str, Any]) -> dict[str, Any]:
        """Make or change an object."""
        name = told["metadata"]["name"]
        self.history.append(("changed" if (kind, name) in self.objects else "made", kind, name))
        kept = told | {"metadata": told["metadata"] | {"namespace": NAMESPACE, "uid": name}}
        kept["metadata"]["resourceVersion"] = str(len(self.history))
        if kind == "Job":
            kept["status"] = DONE
        if kind == "Secret":  # what is told as text is kept as base64
            told_as_text = {
                key: b64encode(text.encode()).decode() for key, text in kept.pop("stringData", {}).items()
            }
            kept["data"] = kept.get("data", {}) | told_as_text
        self.objects[kind, name] = kept
        return kept


def discovery(path: str) -> dict[str, Any] | None:
    """Return what the server says of itself."""
    groups = [
        {"name": each.split("/")[0], "versions": [{"groupVersion": each, "version": "v1"}]}
        for each in KINDS
        if "/" in each
    ]
    known: dict[str, dict[str, Any]] = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        "/openapi/v3": {"paths": {}},
    }
    for group, kinds in KINDS.items():
        resources = [
            {
                "name": plural(kind),
                "singularName": kind.lower(),
                "namespaced": True,
                "kind": kind,
                "verbs": [],
            }
            for kind in kinds
        ]
        found = {"kind": "APIResourceList", "groupVersion": group, "resources": resources}
        known[f"/{'apis' if '/' in group else 'api'}/{group}"] = found
    return known.get(path)


class Api(BaseHTTPRequestHandler):
    """Answers requests about a cluster."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def answer(self, status: int, body: dict[str, Any] | bytes) -> None:
        """Send an answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def missing(self) -> None:
        """Say that there is no such thing."""
        self.answer(404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404})

    def about(self) -> tuple[str, str]:
        """Return the kind and the name that the address is about."""
        found = PATH.fullmatch(urlsplit(self.path).path)
        assert found is not None, self.path
        return NAMES[found[2]][1], found[3] or ""

    def told(self) -> dict[str, Any]:
        """Return what was sent."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return dict(yaml.safe_load(body) or {})

    def do_GET(self) -> None:
        """Tell what is there."""
        path = urlsplit(self.path).path
        if path == "/openapi/v2":
            return self.answer(200, b"")  # an empty document: every kind is one of others', and let through
        if (found := discovery(path)) is not None:
            return self.answer(200, found)
        if PATH.fullmatch(path) is None:
            return self.missing()
        kind, name = self.about()
        if name:
            kept = self.server.cluster.objects.get((kind, name))
            return self.answer(200, kept) if kept is not None else self.missing()
        return self.listed(kind)

    def listed(self, kind: str) -> None:
        """Tell all of a kind."""
        query = parse_qs(urlsplit(self.path).query)
        if "sendInitialEvents" in query:  # as a server that is older than that
            return self.answer(422, {"kind": "Status", "status": "Failure", "reason": "Invalid"})
        if "watch" in query:
            return self.watched()
        kept = tuple(self.server.cluster.objects.items())  # other threads make some meanwhile
        wanted = [each for (of, _), each in kept if of == kind]
        for selector in query.get("fieldSelector", []):
            wanted = [each for each in wanted if selector == f"metadata.name={each['metadata']['name']}"]
        return self.answer(
            200,
            {
                "kind": f"{kind}List",
                "apiVersion": next(group for group, kinds in KINDS.items() if kind in kinds),
                "metadata": {"resourceVersion": str(len(self.server.cluster.history))},
                "items": wanted,
            },
        )

    def watched(self) -> None:
        """Tell nothing more, until the end."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.server.cluster.ended.wait()
        self.close_connection = True

    def do_POST(self) -> None:
        """Make an object."""
        kind, _ = self.about()
        self.answer(201, self.server.cluster.keep(kind, self.told()))

    def do_PATCH(self) -> None:
        """Change an object, or make it: Helm's server-side apply."""
        kind, name = self.about()
        told = self.told()
        before = self.server.cluster.objects.get((kind, name), {"metadata": {}})
        metadata = before["metadata"] | told.get("metadata", {}) | {"name": name}
        self.answer(200, self.server.cluster.keep(kind, before | told | {"metadata": metadata}))

    def do_DELETE(self) -> None:
        """Remove an object."""
        kind, name = self.about()
        self.told()  # how: at once, or what belongs to it first; nothing does
        if self.server.cluster.objects.pop((kind, name), None) is None:
            return self.missing()
        self.server.cluster.history.append(("deleted", kind, name))
        return self.answer(200, {"kind": "Status", "status": "Success"})

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Serves one cluster on the loopback."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.cluster = cluster


@contextmanager
def running() -> Iterator[Cluster]:
    """Run one."""
    cluster = Cluster()
    with Server(cluster) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        one = [{"name": "one", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}]
        context = [{"name": "one", "context": {"cluster": "one", "user": "one", "namespace": NAMESPACE}}]
        cluster.kubeconfig = yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": one,
                "contexts": context,
                "users": [{"name": "one", "user": {}}],
                "current-context": "one",
            }
        )
        try:
            yield cluster
        finally:
            cluster.ended.set()
            server.shutdown()
