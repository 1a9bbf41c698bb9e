"""What must hold however a platform was disturbed. Each is a pure function from a history to its breaches."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.history import History, Run, Sent, fence_of

ENDED = ("succeeded", "failed", "cancelled")
HOOK = "fine_tuning.job."
HOOKED = ("running", "paused", *ENDED)


@dataclass(frozen=True)
class Breach:
    """An invariant that does not hold, and of which job."""

    invariant: str
    job: str | None
    text: str


Found = Iterator[tuple[str | None, str]]


def jobs_end(history: History) -> Found:
    """Every accepted job is there and has ended; well, unless somebody cancelled it."""
    known = {run.id: run for run in history.runs}
    for job in history.accepted.values():
        run = known.get(job)
        if run is None:
            yield job, "was accepted and is not there"
        elif run.state not in ENDED:
            yield job, f"is {run.state} for ever"
        elif run.state == "failed":
            yield job, f"failed: {run.failure}"
        elif run.state == "cancelled" and not run.cancelled:
            yield job, "was cancelled by nobody"


def ends_once(history: History) -> Found:
    """A job tells its end once, after every other state."""
    for run in history.runs:
        states = [event.data["state"] for event in run.events if event.type == "state"]
        ends = [state for state in states if state in ENDED]
        if run.state in ENDED and (ends != [run.state] or states[-1] != run.state):
            yield run.id, f"is {run.state} and told the states {states}"


def asked_once_made_once(history: History) -> Found:
    """A request that was repeated made one job, and each job was asked for."""
    for token, times in Counter(run.token for run in history.runs).items():
        if times > 1:
            for run in history.runs:
                if run.token == token:
                    yield run.id, f"is one of {times} jobs of one request"
    for token, job in history.accepted.items():
        if [run.id for run in history.runs if run.token == token] not in ([job], []):
            yield job, "is not the job that its request made"


def one_model(history: History) -> Found:
    """A job that succeeded published one model and told it once; any other published at most one."""
    for run in history.runs:
        told = [event.type for event in run.events].count("model")
        most = max(told, run.models)
        if told != run.models or most > 1 or (run.state == "succeeded" and most == 0):
            yield run.id, f"is {run.state}, made {run.models} models and told {told}"


def events_have_no_gap(history: History) -> Found:
    """A job's events are numbered 1, 2, 3, ..."""
    for run in history.runs:
        numbers = [event.seq for event in run.events]
        if numbers != list(range(1, len(numbers) + 1)):
            yield run.id, f"has events numbered {numbers}"


def fences_rise(history: History) -> Found:
    """Each claim of a unit has a greater fence than the one before."""
    for run in history.runs:
        last: dict[str, int] = {}
        for event in run.events:
            if event.type == "unit" and event.data["state"] == "running":
                unit, fence = event.data["unit"], event.data["fence"]
                if fence <= last.get(unit, 0):
                    yield run.id, f"{unit} was claimed with fence {fence} after {last[unit]}"
                last[unit] = fence


def no_stale_write(history: History) -> Found:
    """What a unit shows was written under the fence that held it then: states, checkpoints, outputs."""
    for run in history.runs:
        holder: dict[str, int] = {}
        for event in run.events:
            if event.type == "unit":
                unit, fence, state = (event.data[name] for name in ("unit", "fence", "state"))
                if state != "running" and event.data.get("worker") and fence != holder.get(unit):
                    yield run.id, f"{unit} is {state} by fence {fence} while {holder.get(unit)} held it"
                holder[unit] = fence
                if state != "running":
                    del holder[unit]
            elif event.type == "checkpoint" and event.data["checkpoint"] in history.checkpoints:
                saved = history.checkpoints[event.data["checkpoint"]]
                wrote = {fence_of(key) for key in saved.keys}
                if wrote != {(saved.unit, holder.get(saved.unit, 0))}:
                    yield run.id, f"checkpoint {saved.step} of {saved.unit} was written by {wrote}"
    for unit in history.units:
        own = {fence_of(key) for key in unit.keys if f"/{unit.id}/" in key}
        if unit.state == "succeeded" and own and own != {(unit.id, unit.fence)}:
            yield unit.job, f"{unit.id} shows what {own} wrote, not fence {unit.fence}"


def steps_are_contiguous(history: History) -> Found:
    """Each iteration that was trained to its end told every step once, in order."""
    trained = {(u.job, u.iteration) for u in history.units if u.kind == "train" and u.state == "succeeded"}
    for run in history.runs:
        steps: dict[int, list[int]] = {}
        for event in run.events:
            if event.type == "metrics":
                steps.setdefault(event.data["iteration"], []).append(event.data["step"])
        for iteration in sorted(found for job, found in trained if job == run.id):
            told = steps.get(iteration, [])
            if told != list(range(1, run.steps + 1)):
                yield run.id, f"told the steps {told} of iteration {iteration}"


def repeats(run: Run) -> dict[tuple[str, int], int]:
    """Return how many steps each claim of a training unit did again, by unit and fence."""
    told: dict[int, int] = {}
    saved: dict[int, int] = {}
    found: dict[tuple[str, int], int] = {}
    for event in run.events:
        data = event.data
        if event.type == "metrics":
            told[data["iteration"]] = max(data["step"], told.get(data["iteration"], 0))
        elif event.type == "checkpoint":
            saved[data["iteration"]] = max(data["step"], saved.get(data["iteration"], 0))
        elif event.type == "unit" and data["kind"] == "train" and data["state"] == "running":
            k = data["iteration"]
            found[data["unit"], data["fence"]] = told.get(k, 0) - saved.get(k, 0)
    return found


def at_most_one_interval_lost(history: History) -> Found:
    """A training that goes on repeats no more steps than lie between two checkpoints."""
    for run in history.runs:
        for (unit, fence), steps in repeats(run).items():
            if not 0 <= steps <= run.every:
                yield (
                    run.id,
                    f"{unit} repeats {steps} steps at fence {fence}; checkpoints are {run.every} apart",
                )


def weights_are_equal(history: History) -> Found:
    """Trained weights are, bit for bit, those of the same job undisturbed."""
    kinds = {run.id: run.kind for run in history.runs}
    for unit in history.units:
        if unit.kind == "train" and unit.state == "succeeded" and unit.job is not None:
            expected = history.reference.get(kinds.get(unit.job, ""), {}).get(unit.iteration)
            if not expected or unit.weights != expected:
                yield unit.job, f"iteration {unit.iteration} ended with other weights"


def nothing_is_missing(history: History) -> Found:
    """Every object that a row tells of is in the store, as the row tells it."""
    for key, sha256 in history.referenced.items():
        if key not in history.objects:
            yield _job_of(key), f"{key} is told of and not there"
        elif sha256 and history.objects[key] != sha256:
            yield _job_of(key), f"{key} is damaged"


def no_orphans(history: History) -> Found:
    """After the garbage was collected, every object is told of by a row."""
    for key in history.objects.keys() - history.referenced.keys():
        yield _job_of(key), f"{key} is told of by no row"


def all_is_quiet(history: History) -> Found:
    """Nothing runs, waits, or is owed any more."""
    for unit in history.units:
        if unit.state not in ENDED:
            yield unit.job, f"{unit.id} is {unit.state} for ever"
    for what in ("open_attempts", "unsent", "undelivered", "processes"):
        if number := getattr(history, what):
            yield None, f"{number} {what.replace('_', ' ')} are left"


def quotas_are_free(history: History) -> Found:
    """Nothing is reserved for jobs that have ended."""
    for project, reserved in history.reserved.items():
        for what, number in reserved.items():
            if abs(number) > 1e-6:  # GPU seconds are sums of floats
                yield None, f"{project} still has {what} = {number}"


def webhooks_leave_nothing_out(history: History) -> Found:
    """Every endpoint was told of every state that a job told, its end above all."""
    for path, told in _hooked(history).items():
        for run in history.runs:
            for state, times in (_states(run) - told.get(run.id, Counter())).items():
                yield run.id, f"is {run.state}; {path} lacks {times} events that it is {state}"


def webhooks_make_nothing_up(history: History) -> Found:
    """No endpoint was told of a state that a job did not tell, or of one state as two events."""
    known = {run.id: _states(run) for run in history.runs}
    for path, told in _hooked(history).items():
        for job, states in told.items():
            for state, times in (states - known.get(job, Counter())).items():
                yield job, f"{path} has {times} events too many that it is {state}"


def webhooks_agree_with_the_end(history: History) -> Found:
    """An event is what its type says, and one of an end tells the end that the job came to."""
    ends = {run.id: run.state for run in history.runs}
    for path, sent in _signed(history).items():
        for body in (json.loads(each.body) for each in sent):
            job, state = body["data"]["id"], body["data"]["status"]
            if body["type"] != HOOK + state:
                yield job, f"{path} was told {body['type']} of a job that is {state}"
            elif state in ENDED and ends.get(job) != state:
                yield job, f"is {ends.get(job)} and {path} was told that it is {state}"


def webhooks_repeat_themselves(history: History) -> Found:
    """What came twice is the same, id and body, at every endpoint; its id is the one in its body."""
    first: dict[str, str] = {}
    for path, sent in _signed(history).items():
        for each in sent:
            body = json.loads(each.body)
            if body["id"] != each.id or first.setdefault(each.id, each.body) != each.body:
                yield body["data"]["id"], f"{path} was told {each.id} with another body"


def webhooks_are_signed(history: History) -> Found:
    """The signature of every request is good."""
    for path, sent in history.sent.items():
        for each in sent:
            if not each.signed:
                yield None, f"{path} was told {each.id} with a bad signature"


def _signed(history: History) -> dict[str, list[Sent]]:
    """Return what the platform sent: anyone may send something else."""
    return {path: [each for each in sent if each.signed] for path, sent in history.sent.items()}


def _states(run: Run) -> Counter[str]:
    """Return how often a job told each state that webhooks tell."""
    states = (event.data["state"] for event in run.events if event.type == "state")
    return Counter(state for state in states if state in HOOKED)


def _hooked(history: History) -> dict[str, dict[str, Counter[str]]]:
    """Return endpoint -> job -> how many events told each state; an event counts once, by its id."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for path, sent in _signed(history).items():
        jobs = found.setdefault(path, {})
        for body in {each.id: json.loads(each.body) for each in sent}.values():
            jobs.setdefault(body["data"]["id"], Counter())[body["data"]["status"]] += 1
    return found


def _job_of(key: str) -> str | None:
    parts = key.split("/")
    return parts[1] if parts[0] == "jobs" else None


LOST = (jobs_end, webhooks_leave_nothing_out)
DOUBLED = (ends_once, asked_once_made_once, one_model, webhooks_make_nothing_up)
OTHERS = (
    events_have_no_gap,
    fences_rise,
    no_stale_write,
    steps_are_contiguous,
    at_most_one_interval_lost,
    weights_are_equal,
    nothing_is_missing,
    no_orphans,
    all_is_quiet,
    quotas_are_free,
    webhooks_agree_with_the_end,
    webhooks_repeat_themselves,
    webhooks_are_signed,
)
INVARIANTS: tuple[Callable[[History], Found], ...] = (*LOST, *DOUBLED, *OTHERS)


def check(history: History) -> list[Breach]:
    """Return every breach."""
    return [Breach(each.__name__, *found) for each in INVARIANTS for found in each(history)]
