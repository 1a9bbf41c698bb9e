"""A short, seeded slice of the chaos run; ``make chaos`` is the long one."""

from pathlib import Path

import pytest

from tests.chaos import table
from tests.chaos.driver import run
from tests.chaos.schedule import CELLS, schedule

FAULTS = 44


@pytest.mark.timeout(1800)
def test_no_promise_is_broken(tmp_path: Path) -> None:
    outcome = run(tmp_path, planned=schedule(1, FAULTS), workers=2)
    report = f"{table.text(outcome)}\n{table.summary(outcome)}"
    assert outcome.breaches == (), report
    assert len(outcome.injected) >= 40, report
    cells = {(each.fault.victim, each.fault.moment) for each in outcome.injected}
    assert len(cells) > len(CELLS) * 3 // 4
    assert {run.state for run in outcome.history.runs} <= {"succeeded", "cancelled"}
