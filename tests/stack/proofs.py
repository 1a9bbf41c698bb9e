"""What the composed stack is asked to show, in order."""

from pathlib import Path
from typing import Any

import httpx

from spindle.client import Spindle
from tests.stack import training
from tests.stack.engine import Engine
from tests.stack.images import build_ours, prepare_servers
from tests.stack.stack import Stack, composed
from tests.stack.table import Proofs
from tests.stack.tour import follow_link, run_tour
from tests.stack.training import Broken

WORKERS = 2
BUILT = "latest"
OURS = ("api", "worker", "aside", "serve", "beat")
NO_STAND_IN = "Grafana and the OpenTelemetry collector were not run: nothing stands in for their images."
SCRAPE_SECONDS = 180.0
GIVEN_BACK = "preempted"
"""How an attempt ends that stopped at a checkpoint: it costs the unit nothing."""
CONFINED = Path(__file__).with_name("confined.py")


def prove(engine: Engine, folder: Path, proofs: Proofs, *, tag: str | None) -> None:
    """Build, start, use, disturb and take down the stack; Broken or Refused at what is wrong first."""
    proofs.notes.append(f"Engine: {engine.version}.")
    with composed(engine, folder, tag=tag or BUILT) as stack:
        if tag is None:
            with proofs.showing("our images are built") as row:
                row.seen = build_ours(engine)
        with proofs.showing("the servers' images are there") as row:
            stand_ins = prepare_servers(engine, stack.environment)
            row.seen = f"{len(stand_ins)} of them stand-ins"
        proofs.notes += [f"`{image}` was a stand-in: {what}." for image, what in stand_ins.items()]
        with engine.checking_health():
            _use(stack, folder, proofs)
        if not engine.checks_health:
            proofs.notes.append("Health checks were run by this test: without systemd, podman does not.")
    with proofs.showing("all is taken down") as row:
        if left := stack.left():
            raise Broken(f"left behind: {', '.join(left)}")
        row.seen = "no container, volume or network is left"


def _use(stack: Stack, folder: Path, proofs: Proofs) -> None:
    with proofs.showing("`up --wait` with two workers") as row:
        stack.up("--scale", f"worker={WORKERS}")
        running = {service: len(stack.containers(service)) for service in OURS}
        if running != {"api": 1, "worker": WORKERS, "aside": 1, "serve": 1, "beat": 1}:
            raise Broken(f"not all runs: {running}")
        row.seen = "migrated, and every service healthy"
    with proofs.showing("what a container may do") as row:
        row.seen = _confined(stack)
    with proofs.showing("README's tour: curl, openai, spindle") as row:
        model = run_tour(stack, folder)
        row.seen = f"`{model}` trained; it drew apple.png"
    with proofs.showing("a picture by its signed link") as row:
        row.seen = f"from {follow_link(stack, model)}; 403 without the signature"
    _train(stack, folder, proofs)
    with proofs.showing("`up prometheus`, which scrapes every process") as row:
        row.seen = _scraped(stack)
    proofs.notes.append(NO_STAND_IN)


def _train(stack: Stack, folder: Path, proofs: Proofs) -> None:
    with Spindle(url=stack.url, key=stack.key) as client:
        with proofs.showing("a self-play job, undisturbed") as row:
            file = client.files.upload(training.small_archive(folder))
            dataset = client.datasets.create("few", file.id)
            expected = training.weights(
                client, training.finish(client, training.submit(client, dataset.id)), folder
            )
            row.seen = f"weights `{expected[:16]}`"
        with proofs.showing("the same job; its worker gets SIGTERM mid-step") as row:
            job = training.submit(client, dataset.id)
            gone = training.drain(stack, client, job)
            if gone.exit_code != 0:
                raise Broken(f"the drained worker ended with {gone.exit_code}")
            row.seen = (
                f"at step {gone.step} of {training.STEPS}; container ended with 0 in {gone.seconds:.1f} s"
            )
        with proofs.showing("the other worker goes on to the end") as row:
            weights = training.weights(client, training.finish(client, job), folder)
            row.seen = resumed(training.history(stack, job), gone)
        if weights != expected:
            raise Broken(f"weights {weights} are not those of the undisturbed job, {expected}")
        row.seen += f"; weights `{weights[:16]}`, equal"


def resumed(history: list[training.Held], gone: training.Drained) -> str:
    """Tell who held the unit of the worker that went, before and after; Broken when nobody took it well."""
    given = [each for each in history if each.worker == gone.worker and each.outcome == GIVEN_BACK]
    if len(given) != 1:
        raise Broken(f"{gone.worker} gave {len(given)} units back: {history}")
    [before] = given
    holds = [each for each in history if (each.kind, each.iteration) == (before.kind, before.iteration)]
    after = holds[-1]
    if holds != [before, after] or after.worker == before.worker or after.fence != before.fence + 1:
        raise Broken(f"the unit was not taken over as it should: {holds}")
    if after.outcome != "succeeded":
        raise Broken(f"who took the unit over ended {after.outcome}")
    return f"fence {before.fence} given back, fence {after.fence} succeeded on another worker"


def _confined(stack: Stack) -> str:
    for service in OURS:
        [container, *_] = stack.containers(service)
        stack.execute(container, "python", "-c", CONFINED.read_text())
    return "user 10001, no capabilities, no new privileges; writes to /state and /tmp only"


def _scraped(stack: Stack) -> str:
    stack.up("--no-deps", "prometheus")
    address = f"http://127.0.0.1:{stack.environment['PROMETHEUS_PORT']}/api/v1"

    def targets() -> list[dict[str, Any]] | None:
        told = httpx.get(f"{address}/targets", trust_env=False, timeout=60).json()["data"]["activeTargets"]
        return told if told and all(each["health"] == "up" for each in told) else None

    found = training.wait_for(targets, "not every target was scraped", SCRAPE_SECONDS)
    rules = httpx.get(f"{address}/rules", trust_env=False, timeout=60).json()["data"]["groups"]
    number = sum(len(group["rules"]) for group in rules)
    return f"{len(found)} targets up, {number} rules loaded"
