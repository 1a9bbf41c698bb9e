"""The facts of a job, collected from what its units wrote."""

import pytest

from core.db import Database, transaction
from core.models import Unit, UnitKind, UnitState
from core.report.collect import facts_of
from core.report.facts import Facts, Interval
from core.runs import records
from core.runs.claims import Claim
from core.runs.progress import share_done
from tests.core.runs.making import FILES, job_of, make_job, ready_dataset, run_until, succeed

SPIN = {"n_iterations": 2, "steps": [10, 20], "sft_steps": 5, "learning_rate": 1e-4, "beta": 10.0}


def facts(database: Database, job_id: str, other: str | None = None) -> Facts:
    with transaction(database) as session:
        compared = None if other is None else job_of(database, other)
        return facts_of(session, job_of(database, job_id), compared_with=compared)


def tell(database: Database, claim: Claim, *lines: dict[str, object]) -> None:
    with transaction(database) as session:
        records.record_events(session, claim, lines)


def evaluation(iteration: int, value: float) -> dict[str, object]:
    values = {
        "style_share": {"value": value, "low": value - 0.1, "high": value + 0.1},
        "fid": {"value": float("nan"), "low": None, "high": None},
    }
    return {"type": "evaluation", "iteration": iteration, "values": values}


def metrics(iteration: int, step: int, **values: float) -> dict[str, object]:
    return {"type": "metrics", "iteration": iteration, "step": step, "values": values}


def test_columns_are_the_base_the_start_and_each_round(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), hyperparameters=SPIN)
    base = run_until(database, UnitKind.evaluate, -1)
    tell(database, base, evaluation(-1, 0.2))
    succeed(database, base)
    start = run_until(database, UnitKind.train, 0)
    with transaction(database) as session:
        saved = records.record_checkpoint(session, start, iteration=0, step=5, files=FILES)
    found = facts(database, job_id)
    assert [(each.label, each.role, each.model, each.state) for each in found.columns] == [
        ("Base", "base", "starter", "succeeded"),
        ("SFT start", "own", saved, "waiting"),
        ("SPIN 1", "own", None, "waiting"),
        ("SPIN 2", "own", None, "waiting"),
    ]
    assert found.columns[0].measured == {"style_share": Interval(0.2, pytest.approx(0.1), pytest.approx(0.3))}
    assert found.columns[1].measured == {}  # NaN is no number
    assert (found.captions, found.held_out, found.own.state) == (48, False, "running")
    assert [(each.use, each.rows) for each in found.data] == [("Training", 100)]


def test_curves_follow_each_other_and_losses_of_two_kinds_are_not_mixed(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database), hyperparameters=SPIN)
    for iteration in (0, 1, 2):
        claim = run_until(database, UnitKind.train, iteration)
        tell(database, claim, metrics(iteration, 3, loss=0.5 + iteration, margin=0.1))
        succeed(database, claim)
    charts = {chart.name: chart for chart in facts(database, job_id).charts}
    assert list(charts) == ["supervised_loss", "loss", "margin"]
    assert charts["supervised_loss"].series[0].points == ((3.0, 0.5, 0.5, 0.5),)
    assert [point[:2] for point in charts["loss"].series[0].points] == [(3.0, 1.5), (13.0, 2.5)]
    assert charts["loss"].bounds == ((0.0, "1"), (10.0, "2"))
    assert charts["supervised_loss"].series[0].label == "SPIN's supervised start"


def test_two_jobs_stand_side_by_side(database: Database) -> None:
    dataset = ready_dataset(database)
    sft = make_job(database, dataset, kind="sft", hyperparameters={"steps": 40})
    spin = make_job(database, dataset, hyperparameters=SPIN)
    found = facts(database, spin, sft)
    assert [each.label for each in found.columns] == ["Base", "SFT", "SFT start", "SPIN 1", "SPIN 2"]
    settings = dict(found.settings)
    assert settings["seed"] == "7"
    assert settings["steps"] == "SFT 40 · SPIN 10, 20"
    assert settings["n iterations"] == "SPIN 2"
    assert [(each.label, each.steps, each.pictures) for each in found.costs] == [
        ("SFT", 40, 40 * 32),
        ("SPIN", 35, 35 * 32),
    ]
    twin = make_job(database, dataset, hyperparameters=SPIN, suffix="twin")
    assert facts(database, twin, spin).columns[1].label == f"{spin[-6:]} 2"
    other = make_job(database, dataset, hyperparameters=SPIN, suffix="other")
    assert [each.label for each in facts(database, twin, other).columns][1:4] == [
        "other 2",
        "SFT start",
        "twin 1",
    ]


def test_a_failure_is_told_in_plain_words(database: Database) -> None:
    job_id = make_job(database, ready_dataset(database))
    with transaction(database) as session:
        job = job_of(database, job_id)
        job.failure = {"reason": "out_of_memory", "message": "12 GB were asked for\nTraceback ..."}
        found = facts_of(session, job).own
    assert (found.why, found.message) == ("Memory ran out", "12 GB were asked for.")
    assert found.what_to_do.startswith("Set a smaller micro_batch_size")


def test_what_is_done_counts_stages_by_their_weight() -> None:
    def unit(kind: UnitKind, state: UnitState, **values: object) -> Unit:
        return Unit(kind=kind, state=state, **{"shards": 1, "progress": None} | values)

    half = {"step": 5, "of": 10}
    running = unit(UnitKind.train, UnitState.running, progress=half)
    done = [unit(UnitKind.encode, UnitState.succeeded, shards=2) for _ in range(2)]
    assert share_done([*done, running]) == pytest.approx((0.5 + 5) / 10.5)
    assert share_done([]) == 0
