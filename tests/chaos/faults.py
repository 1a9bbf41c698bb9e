"""How each victim is hit, once its moment has come."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from core.db import transaction
from core.models import Job, JobState, Unit, UnitState
from tests.chaos import schedule
from tests.chaos.proxy import Act, Phase, Proxy, Rule
from tests.chaos.scene import FAILING, FITS, Missed, Scene, Target, target_of, to_hook
from tests.chaos.schedule import Fault
from tests.chaos.stack import LEASE, Process
from tests.worker.platform import engines
from tests.worker.processes import gone

zombies = threading.Semaphore(1)
clocks = threading.Semaphore(1)
TINY_FILE = 4096
AWAY = 2.5 * LEASE
HOOK_FAILURES = (
    (Act.refuse, Phase.asked),
    (Act.cut, Phase.asked),
    (Act.cut, Phase.half),
    (Act.cut, Phase.answered),
)


def hit(scene: Scene, fault: Fault, number: int) -> list[Target]:
    """Inject one fault and return the claims that it hit.

    Raises:
        Missed: its moment did not come.
    """
    return VICTIMS[fault.victim](scene, fault, number)


def _trainer(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault) as target:
        assert target is not None
        _signal(_engines(scene, target), signal.SIGKILL)
        return [target]


def _group(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault) as target:
        assert target is not None
        groups = {os.getpgid(pid) for pid in _engines(scene, target)} - {os.getpgrp()}
        if not groups:
            raise Missed
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        return [target]


def _supervisor(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault) as target:
        process, others = _process(scene, target, fault.chance)
        process.kill(away=fault.chance * AWAY)
        return others if target is None else [target]


def _terminated(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault) as target:
        process, _others = _process(scene, target, fault.chance)
        assert target is not None
        process.not_before = time.monotonic() + fault.chance * AWAY
        os.kill(process.pid, signal.SIGTERM)
        return [target]


def _zombie(scene: Scene, fault: Fault, _: int) -> list[Target]:
    """Stop a worker and its child until another has the unit, and two leases are over; then let it go on."""
    with zombies:
        with scene.at(fault) as target:
            assert target is not None
            process, _others = _process(scene, target, fault.chance)
            name = f"{target.unit}-{target.fence}"
            children = engines(scene.stack.work, name) if fault.chance < 0.5 else []
            stopped = [process.pid, *children]
            _signal(stopped, signal.SIGSTOP)
            since = time.monotonic()
        try:
            with suppress(Missed):
                scene.wait(lambda: _taken(scene, target), 40)
            time.sleep(max(0.0, 2 * LEASE - (time.monotonic() - since)))
        finally:
            _signal(stopped, signal.SIGCONT)
        return [target]


def _api(scene: Scene, fault: Fault, number: int) -> list[Target]:
    """Kill the API while it answers a job's POST: at a random moment, or before its message is sent."""
    api = scene.stack.processes["api"]
    sender = threading.Thread(target=scene.submit, args=(number,), name="sender")
    if fault.moment == schedule.REQUEST:
        sender.start()
        time.sleep(fault.chance * 0.08)
        api.kill()
    else:
        rule = scene.stack.bell.add(Rule(lambda _, sent: "LPUSH" in sent, Act.hold))
        sender.start()
        try:
            scene.wait(rule.met.is_set)
            api.kill(away=fault.chance)
            time.sleep(0.2)
        finally:
            scene.stack.bell.drop(rule)
    sender.join()
    return []


def _beat(scene: Scene, fault: Fault, _: int) -> list[Target]:
    """Kill the beat; while an answer to it is held, the answer stays away until it is dead."""
    with scene.at(fault):
        beat = scene.stack.processes["beat"]
        pid = beat.pid
        beat.kill(away=fault.chance * AWAY)
        scene.wait(lambda: gone(pid), 10)
        return []


def _redis(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault):
        if fault.victim == "Redis FLUSHALL":
            scene.stack.redis.flush()
        else:
            scene.stack.redis.kill()
            time.sleep(fault.chance * 2)
            scene.stack.redis.start()
        return _all(scene)


def _postgres(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault):
        hit = _all(scene)
        scene.stack.postgres.crash()
        time.sleep(fault.chance)
        scene.stack.postgres.start()
        return hit


def _store(scene: Scene, fault: Fault, _: int) -> list[Target]:
    """Let requests to the store go wrong, more of them in a row than its client tries again by itself."""
    times = 1 + int(fault.chance * 10)
    act, phase, seconds = {
        "S3 errors": (Act.refuse, Phase.asked, 0.0),
        "S3 slow": (Act.delay, Phase.asked, 0.7),
        "S3 cut": (Act.cut, Phase.half, 0.0),
        "S3 answer lost": (Act.cut, Phase.answered, 0.0),
    }[fault.victim]
    rule = Rule(FITS[fault.moment], act, phase, times=times, seconds=seconds)
    target = _spoil(scene, scene.stack.s3, rule)
    return [target] if fault.moment != schedule.STAGING else []


def _webhooks(scene: Scene, fault: Fault, _: int) -> list[Target]:
    """Let webhooks go wrong for some seconds: an error, or a cut before, amid or after the event is there."""
    act, phase = HOOK_FAILURES[int(fault.chance * len(HOOK_FAILURES))]
    _spoil(scene, scene.stack.hooks, to_hook(FAILING, act, phase, times=10))
    return []


def _spoil(scene: Scene, proxy: Proxy, rule: Rule) -> Target:
    """Let a rule act, from the first request that fits until it is used up, for 8 s at most."""
    proxy.add(rule)
    try:
        scene.wait(rule.met.is_set)
        target = target_of(rule.path)
        with suppress(Missed):
            scene.wait(lambda: rule.times == 0, 8)
    finally:
        proxy.drop(rule)
    return target


def _disk(scene: Scene, fault: Fault, _: int) -> list[Target]:
    """Let no file of a worker and its child grow for a while, as on a disk without room."""
    with scene.at(fault) as target:
        assert target is not None
        # What is staged belongs to another unit than the one that asks for it.
        if fault.moment == schedule.STAGING:
            pids = [process.pid for process in scene.stack.workers]
        else:
            pids = [_process(scene, target, fault.chance)[0].pid, *_engines(scene, target)]
        _limit(pids, TINY_FILE)
    time.sleep(1.0 + fault.chance)
    _limit(pids, resource.RLIM_INFINITY)
    return [] if fault.moment == schedule.STAGING else [target]


def _clock(scene: Scene, fault: Fault, _: int) -> list[Target]:
    """Let the database's clock jump: over every lease, or back."""
    with clocks, scene.at(fault):
        scene.stack.postgres.move_clock(10.0 if fault.chance < 0.7 else -5.0)
        return _all(scene)


def _paused(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault) as target:
        assert target is not None
        paused = scene.requests.steer(target.job, "pause")
    if paused:
        try:
            with suppress(Missed):
                scene.wait(lambda: _state(scene, target.job) is JobState.paused, 2 * fault.chance * AWAY)
        finally:  # also when the database is down just then: nobody else would resume it
            scene.requests.steer(target.job, "resume")
    return [target]


def _cancelled(scene: Scene, fault: Fault, _: int) -> list[Target]:
    with scene.at(fault) as target:
        assert target is not None
        # A thread, because the API may wait for the very row that this moment holds.
        asker = threading.Thread(target=scene.requests.steer, args=(target.job, "cancel"))
        asker.start()
        asker.join(1.0)
    asker.join()
    return [target]


VICTIMS: dict[str, Callable[[Scene, Fault, int], list[Target]]] = {
    "trainer SIGKILL": _trainer,
    "supervisor SIGKILL": _supervisor,
    "supervisor SIGTERM": _terminated,
    "group SIGKILL": _group,
    "zombie": _zombie,
    "api SIGKILL": _api,
    "beat SIGKILL": _beat,
    "Redis restart": _redis,
    "Redis FLUSHALL": _redis,
    "PostgreSQL restart": _postgres,
    "S3 errors": _store,
    "S3 slow": _store,
    "S3 cut": _store,
    "S3 answer lost": _store,
    "webhook errors": _webhooks,
    "disk full": _disk,
    "clock jumps": _clock,
    "pause, resume": _paused,
    "cancel": _cancelled,
}


def _all(scene: Scene) -> list[Target]:
    return [one.target for one in scene.view.running]


def _process(scene: Scene, target: Target | None, chance: float) -> tuple[Process, list[Target]]:
    """Return the worker that holds a claim, or any one, and what that one holds."""
    workers = scene.stack.workers
    if target is None:
        process = workers[int(chance * len(workers))]
        held = [one for one in scene.view.running if scene.stack.worker_named(one.worker) is process]
        return process, [one.target for one in held]
    with transaction(scene.stack.database) as session:
        unit = session.get_one(Unit, target.unit)
    found = None
    if unit.fence == target.fence and unit.worker is not None:
        found = scene.stack.worker_named(unit.worker)
    if found is None:
        raise Missed
    return found, [target]


def _engines(scene: Scene, target: Target) -> list[int]:
    """Return the processes of one claim, which may need a moment to be there."""
    deadline = time.monotonic() + 20.0
    name = f"{target.unit}-{target.fence}"
    while not (found := engines(scene.stack.work, name, leashes=False)):
        if time.monotonic() > deadline:
            raise Missed
        time.sleep(0.02)
    return found


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _limit(pids: list[int], size: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _taken(scene: Scene, target: Target) -> bool:
    with transaction(scene.stack.database) as session:
        unit = session.get_one(Unit, target.unit)
        return unit.fence > target.fence or unit.state is not UnitState.running


def _state(scene: Scene, job_id: str) -> JobState:
    with transaction(scene.stack.database) as session:
        return session.get_one(Job, job_id).state
