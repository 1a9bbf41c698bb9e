"""What Helm says after an installation: commands that are real, about what is there, and what is missing."""

import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click
import pytest
import typer.main

from spindle.cli.main import app
from tests.deploy.image import ROOT
from tests.deploy.release import CHART, NAMESPACE, SCENARIOS, Release, render, scenario

KINDS = {"deployment": "Deployment", "service": "Service"}


def commands(release: Release) -> list[list[str]]:
    """Return the commands of the notes as a shell would read them."""
    lines = [line.strip() for line in release.notes.splitlines() if line.startswith("  ")]
    asked = [re.sub(r"^export \w+=\$\((.*)\)$", r"\1", line) for line in lines]
    return [
        shlex.split(line, comments=True)
        for line in asked
        if line.startswith(("kubectl ", "helm ", "spindle "))
    ]


def minded(**changes: Any) -> list[str]:
    """Return what is to be minded, a sentence each."""
    _, _, told = render(scenario("minimal", **changes)).notes.partition("To mind:\n\n")
    return [line.removeprefix("- ") for line in told.partition("\n\n")[0].splitlines() if line]


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_it_says_to_do_is_about_objects_that_are_there(name: str) -> None:
    release = render(scenario(name))
    secrets = {
        each["valueFrom"]["secretKeyRef"]["name"]
        for pod in release.pods().values()
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        for each in container.get("env", [])
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    seen = set()
    for command in commands(release):
        if command[0] == "spindle":
            continue
        assert command[1:3] == ["-n", NAMESPACE]
        seen.add(command[3])
        if command[3] == "get":
            assert command[4] == "secret"
            assert command[5] in secrets
        for kind, _, thing in (word.partition("/") for word in command if word.startswith(tuple(KINDS))):
            assert thing.removeprefix("demo-") in release.of(KINDS[kind])
    assert {"rollout", "test", "get"} <= seen


def test_the_commands_of_the_platform_are_real() -> None:
    told = [command[1:] for command in commands(render(scenario("minimal"))) if command[0] == "spindle"]
    archive = "examples/emoji/data/train.zip"
    job = ["jobs", "create", "starter", archive, "--method", "sft", "--set", "steps=20", "--follow"]
    assert told == [["workers"], job]
    for words in told:
        understood(typer.main.get_command(app), words)
    assert (ROOT / archive).is_file()


def understood(command: click.Command, words: list[str]) -> None:
    """Let a command of the platform read its words; click raises when it does not know one."""
    if isinstance(command, click.Group) and words:
        understood(command.commands[words[0]], words[1:])
    else:
        command.make_context(command.name, list(words))


def test_it_tells_what_was_installed() -> None:
    told = render(scenario("minimal")).notes
    assert "Spindle 0.1.0 is installed: demo in team, told to clients as https://spindle.example.org." in told
    assert "  worker-gpu: encode, generate, train, evaluate, publish; 1 GPU a pod\n" in told
    assert "  worker-aside: ingest, export, import\n" in told
    assert "checkpoint" not in told
    again = render(scenario("minimal"), upgrade=True).notes
    assert "Spindle 0.1.0 is upgraded: demo in team" in again
    assert "each after its checkpoint (120 s at most)" in again
    assert (ROOT / "docs" / "deploy-kubernetes.md").read_text().count("## When it does not work") == 1


def test_with_an_address_of_its_own_nothing_is_forwarded() -> None:
    offered = render(scenario("minimal", ingress={"enabled": True, "tls": [{"secretName": "a"}]})).notes
    assert "port-forward" not in offered
    assert "export SPINDLE_URL=https://spindle.example.org\n" in offered
    assert "To mind" not in offered
    without = render(scenario("minimal")).notes
    assert "port-forward service/demo-api 8000:80" in without
    assert "export SPINDLE_URL=http://127.0.0.1:8000\n" in without


def test_a_trial_forwards_the_store_too() -> None:
    told = render(scenario("trial")).notes
    assert "port-forward service/demo-api 8000:80\n" in told
    assert "port-forward service/demo-seaweedfs 8333:8333 " in told
    assert "get secret demo-trial -o" in told
    assert "are for trying out: one pod each, no backup, no TLS between pods." in told


HTTP = {"public_url": "http://spindle.example.org"}
POOL = {"name": "one", "kinds": ["train", "encode"]}
LEFT = "Left to workers elsewhere on the queue default: {}."
OUTSIDE = "Neither ingress nor gateway is enabled: what leads {} to demo-api is yours to make."


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, [OUTSIDE.format("https://spindle.example.org")]),
        ({"settings": {"public_url": "http://127.0.0.1:8000"}}, []),
        (
            {"settings": HTTP},
            [
                f"{HTTP['public_url']} is without TLS: keys and pictures cross the network in the clear.",
                OUTSIDE.format("http://spindle.example.org"),
            ],
        ),
        (
            {"ingress": {"enabled": True}},
            ["ingress.tls is empty: something before the ingress has to hold the certificate."],
        ),
        (
            {
                "gateway": {"enabled": True, "parentRefs": [{"name": "a"}]},
                "networkPolicy": {"api": {"from": []}},
            },
            ["networkPolicy.api.from is empty: nobody reaches the API, the controller before it neither."],
        ),
        (
            {
                "workersElsewhere": True,
                "workers": [POOL],
                "settings": {"public_url": "http://localhost:8000"},
            },
            [LEFT.format("ingest, generate, evaluate, publish, export, import")],
        ),
        (
            {"serve": {"replicas": 0}, "networkPolicy": {"enabled": False}},
            [
                "serve.replicas is 0: nothing draws pictures.",
                OUTSIDE.format("https://spindle.example.org"),
                "networkPolicy.enabled is false: every pod of the cluster reaches these.",
            ],
        ),
    ],
)
def test_what_is_missing_is_told(changes: dict[str, Any], told: list[str]) -> None:
    assert minded(**changes) == told


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def ready() -> dict[str, Any]:
    """What the pod of `helm test` runs, from the rendered chart."""
    [container] = render(scenario("minimal")).pods()["test"]["spec"]["containers"]
    assert container["command"] == ["python", "-c"]
    code, address = container["args"]
    assert code == (CHART / "files" / "ready.py").read_text()
    assert address == "http://demo-api.team.svc"
    assert container.get("env") is None
    names: dict[str, Any] = {"__name__": "ready"}
    exec(code, names)  # noqa: S102  as the pod does
    return names


def test_helm_test_passes_when_all_is_there(
    ready: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(200, b"{}") as address:
        assert ready["main"](address) == 0
    assert capsys.readouterr().out == "ready: database, store, queue and a worker are there\n"


def test_helm_test_tells_what_is_missing(ready: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    checks = b'{"status": "not ready", "checks": {"database": "ok", "workers": "none was seen"}}'
    with answering(503, checks) as address:
        assert ready["main"](address, pause=0) == 1
    assert capsys.readouterr().err == "not ready: workers: none was seen\n"
    assert ready["main"](address, pause=0) == 1
    assert "the API does not answer at http://127.0.0.1" in capsys.readouterr().err
