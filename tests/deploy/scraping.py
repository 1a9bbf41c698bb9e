"""A real Prometheus that scrapes real processes every second, configured as compose configures it."""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.programs import program
from tests.services import free_ports

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "deploy" / "compose" / "prometheus.yml"
ALERTS = ROOT / "helm" / "spindle" / "files" / "alerts.yaml"
DASHBOARD = ROOT / "helm" / "spindle" / "files" / "dashboard.json"
Sample = tuple[dict[str, str], float]
SUBSTITUTES = {"$__rate_interval": "1h", "$job": ".*", "$instance": ".*", "$queue": ".*", "$project": ".*"}


@dataclass(frozen=True)
class Prometheus:
    """A server, and what it can be asked."""

    url: str

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer of its API; ValueError with what it says is wrong."""
        told = httpx2.get(f"{self.url}/api/v1/{path}", params=query, timeout=120).json()
        if told["status"] != "success":
            raise ValueError(f"{query}: {told['error']}")
        return told["data"]

    def query(self, expression: str) -> list[Sample]:
        """Return the samples of an expression now."""
        data = self.ask("query", query=expression)
        assert data["resultType"] == "vector", expression
        return [(each["metric"], float(each["value"][1])) for each in data["result"]]

    def healthy(self) -> set[str]:
        """Return the addresses of the targets that answered last."""
        active = self.ask("targets", state="active")["activeTargets"]
        return {each["labels"]["instance"] for each in active if each["health"] == "up"}


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Run Prometheus with the config of compose, but for where the targets are and how often it asks.

    Args:
        folder: for its data.
        targets: addresses by the names of the config's jobs.
    """
    command = [program("prometheus", package="prometheus")]
    told = yaml.safe_load(CONFIG.read_text())
    told["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    told["rule_files"] = [str(ALERTS)]
    for job in told["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(told))
    [port] = free_ports(1)
    command += [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Prometheus(f"http://127.0.0.1:{port}")
    try:
        _wait(server, process, folder / "prometheus.log")
        yield server
    finally:
        process.kill()
        process.wait()


def _wait(server: Prometheus, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while True:
        try:
            if httpx2.get(f"{server.url}/-/ready", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alert rules by their names."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    found = {rule["alert"]: rule for rule in rules}
    assert len(found) == len(rules), "two alerts have one name"
    return found


def expressions() -> list[tuple[str, str]]:
    """Return every expression of the dashboard with its panel's title, Grafana's variables filled in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = []
    for panel in panels:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for variable, value in SUBSTITUTES.items():
                expression = expression.replace(variable, value)
            assert "$" not in expression, f"{panel['title']}: a variable is unknown here"
            found.append((panel["title"], expression))
    return found


def selectors(expression: str) -> list[str]:
    """Return the vectors that an expression selects: ``name{matchers}``, without ranges and functions."""
    return re.findall(r"\b(?:(?:spindle|process)_\w+|up)(?:\{[^}]*\})?", expression)
