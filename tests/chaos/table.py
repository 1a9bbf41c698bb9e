"""A run as a table: one row a cell, victim by moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.chaos.driver import Injected, Outcome
from tests.chaos.history import History
from tests.chaos.invariants import DOUBLED, LOST, Breach, repeats, weights_are_equal
from tests.chaos.schedule import CELLS

HEAD = ("victim", "moment", "runs", "lost", "doubled", "stale refused", "steps repeated", "weights equal")


@dataclass(frozen=True)
class Row:
    """What came of one cell."""

    victim: str
    moment: str
    runs: int
    lost: int
    doubled: int
    stale: int
    repeated: int
    equal: str

    def cells(self) -> tuple[str, ...]:
        """Return its text, column by column."""
        numbers = (self.runs, self.lost, self.doubled, self.stale, self.repeated)
        return (self.victim, self.moment, *map(str, numbers), self.equal)


def rows(outcome: Outcome) -> list[Row]:
    """Return a row for each cell that was run, and their sum."""
    by_cell: dict[tuple[str, str], list[Injected]] = {}
    for each in outcome.injected:
        by_cell.setdefault((each.fault.victim, each.fault.moment), []).append(each)
    found = [_row(*cell, by_cell[cell], outcome) for cell in CELLS if cell in by_cell]
    return [*found, _row("all", "", list(outcome.injected), outcome, everything=True)]


def _row(
    victim: str, moment: str, injected: Sequence[Injected], outcome: Outcome, *, everything: bool = False
) -> Row:
    history = outcome.history
    claims = {(t.unit, t.fence) for each in injected for t in each.targets}
    jobs = {t.job for each in injected for t in each.targets}
    if everything:
        jobs = {run.id for run in history.runs}
    trained = [u for u in history.units if u.kind == "train" and u.state == "succeeded" and u.job in jobs]
    wrong = _of(outcome.breaches, (weights_are_equal,), jobs)
    return Row(
        victim,
        moment,
        runs=len(injected),
        lost=len(_of(outcome.breaches, LOST, jobs)),
        doubled=len(_of(outcome.breaches, DOUBLED, jobs)),
        stale=len(outcome.refused if everything else outcome.refused & claims),
        repeated=_repeated(history, None if everything else claims),
        equal=f"{len(trained) - len(wrong)}/{len(trained)}",
    )


def _of(breaches: Iterable[Breach], kinds: Iterable[object], jobs: set[str]) -> list[Breach]:
    names = {getattr(kind, "__name__", "") for kind in kinds}
    return [each for each in breaches if each.invariant in names and (each.job is None or each.job in jobs)]


def _repeated(history: History, claims: set[tuple[str, int]] | None) -> int:
    """Return the steps that were done again by the claims that came next after these; of all, with None."""
    total = 0
    for run in history.runs:
        again = repeats(run)
        if claims is None:
            total += sum(again.values())
            continue
        for unit, fence in claims:
            later = [other for name, other in again if name == unit and other > fence]
            total += again[unit, min(later)] if later else 0
    return total


def text(outcome: Outcome) -> str:
    """Return the table for a terminal."""
    lines = [HEAD, *(row.cells() for row in rows(outcome))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(outcome: Outcome) -> str:
    """Return the table for a page."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows(outcome))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(outcome: Outcome) -> str:
    """Return what there is to say beside the table."""
    states = [run.state for run in outcome.history.runs]
    ends = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    sent = [each for got in outcome.history.sent.values() for each in got]
    claims = sum(unit.fence for unit in outcome.history.units)
    return (
        f"{len(outcome.injected)} faults in {outcome.seconds:.0f} s, {len(outcome.missed)} missed; "
        f"{len(states)} jobs: {ends}; {claims} claims of {len(outcome.history.units)} units; "
        f"{len(outcome.history.objects)} objects; "
        f"{len({each.id for each in sent})} events by {len(sent)} webhooks; {len(outcome.breaches)} breaches"
    )
