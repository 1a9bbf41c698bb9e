"""The plan of a job and what follows from the states of its units, exactly."""

from core.models.states import JobState, UnitKind, UnitState
from core.planner import PlannedUnit, Transitions, UnitView, advance, plan_job, retry_after, shards_of

S = UnitState


def views(plan: list[PlannedUnit], **states: UnitState) -> list[UnitView]:
    """Return the units of a plan; names with ``_`` for blanks and dots; what is not named waits."""
    return [
        UnitView(
            unit.name,
            unit.kind,
            states.get(unit.name.replace(" ", "_").replace(".", "_"), S.waiting),
            unit.needs,
        )
        for unit in plan
    ]


SPIN = plan_job((0, 1, 2), generates={1, 2}, shards=2)
SFT = plan_job((1,), generates=set(), shards=2)


def test_plan_of_self_play_with_a_supervised_start() -> None:
    assert [(unit.name, unit.kind.value, unit.iteration, unit.needs) for unit in SPIN] == [
        ("encode", "encode", 0, ()),
        ("evaluate base", "evaluate", -1, ("encode",)),
        ("train 0", "train", 0, ("encode",)),
        ("evaluate 0", "evaluate", 0, ("train 0",)),
        ("generate 1.0", "generate", 1, ("encode", "train 0")),
        ("generate 1.1", "generate", 1, ("encode", "train 0")),
        ("train 1", "train", 1, ("encode", "train 0", "generate 1.0", "generate 1.1")),
        ("evaluate 1", "evaluate", 1, ("train 1",)),
        ("generate 2.0", "generate", 2, ("encode", "train 1")),
        ("generate 2.1", "generate", 2, ("encode", "train 1")),
        ("train 2", "train", 2, ("encode", "train 1", "generate 2.0", "generate 2.1")),
        ("publish", "publish", 2, ("train 2",)),
        ("evaluate 2", "evaluate", 2, ("train 2",)),
    ]
    assert [(unit.shard, unit.shards) for unit in SPIN if unit.kind is UnitKind.generate] == [
        (0, 2),
        (1, 2),
        (0, 2),
        (1, 2),
    ]


def test_plan_of_supervised_fine_tuning_has_no_rivals() -> None:
    assert [unit.name for unit in SFT] == ["encode", "evaluate base", "train 1", "publish", "evaluate 1"]


def test_the_first_rivals_are_those_of_the_base() -> None:
    plan = plan_job((1,), generates={1}, shards=1)
    assert [(unit.name, unit.needs) for unit in plan][2:4] == [
        ("generate 1.0", ("encode",)),
        ("train 1", ("encode", "generate 1.0")),
    ]


def test_encode_fans_out_and_the_rest_waits_for_its_last_shard() -> None:
    plan = plan_job((1,), generates={1}, shards=1, encode_shards=2)
    encoded = ("encode 0.0", "encode 0.1")
    assert [(unit.name, unit.needs, unit.shard, unit.shards) for unit in plan][:5] == [
        ("encode 0.0", (), 0, 2),
        ("encode 0.1", (), 1, 2),
        ("evaluate base", encoded, 0, 1),
        ("generate 1.0", encoded, 0, 1),
        ("train 1", (*encoded, "generate 1.0"), 0, 1),
    ]
    assert advance(views(plan)) == Transitions(ready=encoded)
    assert advance(views(plan, encode_0_0=S.succeeded, encode_0_1=S.running)) == Transitions()
    both = views(plan, encode_0_0=S.succeeded, encode_0_1=S.succeeded)
    assert advance(both) == Transitions(ready=("evaluate base", "generate 1.0"))


def test_every_need_stands_before_and_no_unit_needs_an_evaluation() -> None:
    for plan in (SPIN, SFT):
        for position, unit in enumerate(plan):
            earlier = {one.name: one.kind for one in plan[:position]}
            assert set(unit.needs) <= set(earlier)
            assert UnitKind.evaluate not in {earlier[need] for need in unit.needs}


def test_shards() -> None:
    assert [shards_of(rows, shard_rows=64, max_shards=8) for rows in (0, 1, 64, 65, 512, 9999)] == [
        1,
        1,
        1,
        2,
        8,
        8,
    ]


def test_at_first_only_the_encoding_may_start() -> None:
    assert advance(views(SPIN)) == Transitions(ready=("encode",))


def test_while_a_unit_is_pending_or_runs_nothing_follows() -> None:
    assert advance(views(SPIN, encode=S.pending)) == Transitions()
    assert advance(views(SPIN, encode=S.running)) == Transitions()


def test_encoded_data_lets_the_base_be_measured_and_trained() -> None:
    assert advance(views(SPIN, encode=S.succeeded)) == Transitions(ready=("evaluate base", "train 0"))


def test_a_trained_iteration_lets_the_next_begin_beside_its_evaluation() -> None:
    states = views(SPIN, encode=S.succeeded, evaluate_base=S.running, train_0=S.succeeded)
    assert advance(states) == Transitions(ready=("evaluate 0", "generate 1.0", "generate 1.1"))


def test_training_waits_for_every_shard_of_rivals() -> None:
    done = {"encode": S.succeeded, "evaluate_base": S.succeeded, "train_0": S.succeeded}
    done |= {"evaluate_0": S.running, "generate_1_0": S.succeeded}
    assert advance(views(SPIN, **done, generate_1_1=S.running)) == Transitions()
    assert advance(views(SPIN, **done, generate_1_1=S.succeeded)) == Transitions(ready=("train 1",))


def test_the_last_training_lets_the_model_be_published_and_measured() -> None:
    states = views(SFT, encode=S.succeeded, evaluate_base=S.succeeded, train_1=S.succeeded)
    assert advance(states) == Transitions(ready=("publish", "evaluate 1"))


def test_a_job_has_succeeded_only_when_its_evaluations_have_ended() -> None:
    done = {
        "encode": S.succeeded,
        "evaluate_base": S.succeeded,
        "train_1": S.succeeded,
        "publish": S.succeeded,
    }
    assert advance(views(SFT, **done, evaluate_1=S.running)) == Transitions()
    assert advance(views(SFT, **done, evaluate_1=S.succeeded)) == Transitions(job=JobState.succeeded)
    assert advance(views(SFT, **done, evaluate_1=S.failed)) == Transitions(job=JobState.succeeded)


def test_a_failed_evaluation_holds_nothing_up() -> None:
    states = views(SFT, encode=S.succeeded, evaluate_base=S.failed, train_1=S.succeeded)
    assert advance(states) == Transitions(ready=("publish", "evaluate 1"))


def test_a_failed_unit_fails_the_job_and_calls_off_the_rest() -> None:
    done = {
        "encode": S.succeeded,
        "evaluate_base": S.running,
        "train_0": S.succeeded,
        "evaluate_0": S.succeeded,
    }
    found = advance(views(SPIN, **done, generate_1_0=S.failed, generate_1_1=S.pending))
    assert found.job is JobState.failed
    assert found.culprit == "generate 1.0"
    assert set(found.cancel) == {
        "evaluate base",
        "generate 1.1",
        "train 1",
        "evaluate 1",
        "generate 2.0",
        "generate 2.1",
        "train 2",
        "publish",
        "evaluate 2",
    }
    assert found.ready == ()


def test_a_cancelled_job_waits_for_what_runs() -> None:
    states = views(SFT, encode=S.succeeded, evaluate_base=S.pending, train_1=S.running)
    assert advance(states, cancelling=True) == Transitions(
        cancel=("evaluate base", "publish", "evaluate 1"), job=None
    )
    states = views(SFT, encode=S.succeeded, evaluate_base=S.cancelled, train_1=S.cancelled)
    assert advance(states, cancelling=True) == Transitions(
        cancel=("publish", "evaluate 1"), job=JobState.cancelled
    )


def test_a_job_without_units_has_not_succeeded() -> None:
    assert advance([]) == Transitions()
    assert advance([], cancelling=True) == Transitions(job=JobState.cancelled)


def test_waits_between_attempts() -> None:
    assert [retry_after(failures, seconds=1.0) for failures in (1, 2, 3, 9)] == [1.0, 4.0, 16.0, 600.0]
