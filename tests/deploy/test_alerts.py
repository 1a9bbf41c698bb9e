"""The alert rules: each fires when it should and only then, is explained, and asks for what there is."""

import re
import subprocess
from pathlib import Path

import yaml

from tests.deploy.scraping import ALERTS, CONFIG, DASHBOARD, ROOT, alerts, expressions, selectors
from tests.programs import program

CASES = Path(__file__).with_name("alerts_test.yaml")
RUNBOOK = ROOT / "docs" / "runbook.md"
OBSERVABILITY = ROOT / "docs" / "observability.md"
COMPOSE = ROOT / "deploy" / "compose"


def promtool(*arguments: str) -> None:
    command = [program("promtool", package="prometheus"), *arguments]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_fires_when_it_should_and_is_silent_when_it_nearly_should() -> None:
    promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(CASES))
    fires, silent = set(), set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for query in case.get("promql_expr_test", []):
            [name] = re.findall(r'alertname="(\w+)"', query["expr"])
            (fires if query["exp_samples"] else silent).add(name)
    assert fires == silent == alerts().keys()


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in {"warning", "critical"}, name
        told = rule["annotations"]
        assert told["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        assert told["summary"].endswith("."), name
        assert re.search(r"\{\{ \$value|\d", told["description"]), f"{name} tells no number"


def test_the_runbook_has_an_entry_for_each_alert_and_no_other() -> None:
    text = RUNBOOK.read_text()
    entries = dict(re.findall(r"^## (Spindle\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(entries) == list(alerts())
    for name, entry in entries.items():
        for part in ("**Means.**", "**Look.**", "**Do.**", "**Do not.**"):
            assert part in entry, f"{name} lacks {part}"


def test_what_is_asked_for_is_described() -> None:
    """docs/observability.md has every metric that the dashboard and the alerts use."""
    asked = {each for _, text in expressions() for each in selectors(text)}
    asked |= {each for rule in alerts().values() for each in selectors(rule["expr"])}
    names = {re.split(r"\{", each)[0] for each in asked if each.startswith("spindle_")}
    described = set(re.findall(r"`(spindle_\w+)`", OBSERVABILITY.read_text()))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert len(bare) > 40
    assert bare - described == set()


def test_promtool_takes_the_config_of_compose(tmp_path: Path) -> None:
    """As it stands, but for the rules, which lie elsewhere in the container."""
    text = CONFIG.read_text()
    assert text.count("/etc/prometheus/alerts.yaml") == 1
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/alerts.yaml", str(ALERTS)))
    promtool("check", "config", str(tmp_path / "prometheus.yml"))
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in yaml.safe_load(text)["scrape_configs"]}
    assert (jobs["spindle-api"]["names"], jobs["spindle-api"]["port"]) == (["api"], 8000)
    workers = jobs["spindle-worker"]
    assert (workers["names"], workers["port"]) == (["worker", "aside", "serve", "beat"], 9464)


def test_what_compose_mounts_fits_together() -> None:
    provisioning = COMPOSE / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    [provider] = yaml.safe_load((provisioning / "dashboards" / "spindle.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    collector = yaml.safe_load((COMPOSE / "otel-collector.yaml").read_text())
    [pipeline] = collector["service"]["pipelines"].values()
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(":4318")
    for part in ("receivers", "processors", "exporters"):
        assert set(pipeline[part]) == collector[part].keys()


def test_every_panel_says_what_it_shows_and_asks_the_chosen_source() -> None:
    text = DASHBOARD.read_text()
    board = yaml.safe_load(text)  # JSON is YAML
    variables = {each["name"] for each in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) - {"__rate_interval"} <= variables | {"value"}
    rows = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    assert rows[0] == "At a glance"
    assert len(rows) == 8
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
    assert len(places) == len(ids)
    for panel in board["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
