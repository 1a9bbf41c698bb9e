"""Names, versions and aliases on both databases: numbers, moves, histories, splits, who did it."""

import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import registry
from core.db import Database, transaction
from core.errors import AppError, Conflict, Invalid, NotFound
from core.models import AliasMove, Model, ModelKind, ModelVersion, MoveCause, RegisteredModel
from core.registered import aliases, names, versions
from core.registered.aliases import Split, Target, target_of
from tests.core.runs.making import PROJECT, ground

OTHER = "proj-default"
MODELS = tuple(f"ft:starter:birds:{number}" for number in range(4))


@pytest.fixture
def filled(database: Database) -> Database:
    """A project with four results, the first three of which are versions of ``portrait``."""
    with transaction(database) as session:
        ground(session)
        session.add_all(
            Model(
                id=each,
                project_id=PROJECT,
                kind=ModelKind.result,
                source=f"unit:{each}/model",
                digest=each,
                base_model_id="starter",
            )
            for each in MODELS
        )
        session.flush()
        for each in MODELS[:3]:
            add(session, each)
    return database


def add(session: Session, model: str, **told: Any) -> ModelVersion:
    return versions.add_version(
        session, project_id=PROJECT, name="portrait", model=model, create=True, key_id="key-1", **told
    )


def point(database: Database, version: int, **told: Any) -> Target:
    with transaction(database) as session:
        _, moved = aliases.point(
            session,
            project_id=PROJECT,
            name="portrait",
            alias="production",
            version=version,
            key_id="key-1",
            **told,
        )
        return target_of(moved)


def back(database: Database, **told: Any) -> Target:
    with transaction(database) as session:
        _, moved = aliases.rollback(
            session, project_id=PROJECT, name="portrait", alias="production", key_id="key-2", **told
        )
        return target_of(moved)


def resolved(database: Database, name: str, **told: Any) -> registry.Resolved:
    with transaction(database) as session:
        return registry.resolve_for_use(session, project_id=PROJECT, name=name, **told)


def moves(database: Database) -> list[tuple[int, MoveCause, Target, int | None, str | None]]:
    with transaction(database) as session:
        _, page = aliases.history(
            session, project_id=PROJECT, name="portrait", alias="production", after=None, limit=100
        )
        return [(m.number, m.cause, target_of(m), m.restores, m.created_by) for m in page.items]


def test_a_name_stands_for_its_newest_version_a_number_or_what_an_alias_points_at(filled: Database) -> None:
    point(filled, 2)
    found = {name: resolved(filled, name) for name in ("portrait", "portrait@1", "portrait@production")}
    assert [each.model_id for each in found.values()] == [MODELS[2], MODELS[0], MODELS[1]]
    assert [each.alias for each in found.values()] == [None, None, "portrait@production"]
    assert resolved(filled, "portrait@latest").model_id == MODELS[2]
    with transaction(filled) as session:
        model = registry.get_model(session, project_id=PROJECT, model_id="portrait@production")
        assert model.id == MODELS[1]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("portrait@9", "version_not_found", "portrait has no version 9; there are: 1, 2, 3"),
        ("portrait@staging", "alias_not_found", "portrait has no alias staging; there are: production"),
        ("landscape@3", "model_not_found", "there is no model landscape@3; there are: "),
    ],
)
def test_what_is_not_there_is_told_with_what_is(filled: Database, name: str, code: str, message: str) -> None:
    point(filled, 1)
    with pytest.raises(NotFound) as caught:
        resolved(filled, name, param="model")
    assert (caught.value.code, caught.value.param) == (code, "model")
    assert caught.value.message.startswith(message)


def test_another_projects_names_do_not_exist(filled: Database) -> None:
    with transaction(filled) as session:
        for ask in (
            lambda: registry.resolve_for_use(session, project_id=OTHER, name="portrait"),
            lambda: names.get_name(session, project_id=OTHER, name="portrait"),
            lambda: versions.delete_version(session, project_id=OTHER, name="portrait", version=1),
            lambda: aliases.point(session, project_id=OTHER, name="portrait", alias="a", version=1),
        ):
            with pytest.raises(NotFound):
                ask()
        names.create_name(session, project_id=OTHER, name="portrait")
        with pytest.raises(NotFound, match="no model ft:starter"):
            versions.add_version(session, project_id=OTHER, name="portrait", model=MODELS[0])


def test_names_are_taken_once_and_never_a_base_models(filled: Database) -> None:
    with transaction(filled) as session:
        for name, error in (("portrait", Conflict), ("starter", Conflict), ("ft:x", Invalid), ("", Invalid)):
            with pytest.raises(error):
                names.create_name(session, project_id=PROJECT, name=name)
        assert [each.name for each in session.scalars(select(RegisteredModel))] == ["portrait"]


def test_a_number_is_given_once(filled: Database) -> None:
    with transaction(filled) as session:
        versions.delete_version(session, project_id=PROJECT, name="portrait", version=3)
        made = add(session, MODELS[3], notes="sharper")
        assert (made.version, made.notes, made.created_by) == (4, "sharper", "key-1")
        with pytest.raises(Conflict, match="is version 4 of portrait already") as caught:
            add(session, MODELS[3])
        assert caught.value.code == "already_registered"
        with pytest.raises(Invalid, match="starter is a base model"):
            add(session, "starter")
        [named] = names.describe(session, [names.get_name(session, project_id=PROJECT, name="portrait")])
        assert (named.versions, named.latest) == (3, 4)


def test_makers_of_versions_go_one_after_the_other(filled: Database) -> None:
    with transaction(filled) as session:
        names.create_name(session, project_id=PROJECT, name="race")
    start = threading.Barrier(4)

    def make(model: str) -> None:
        start.wait()
        with transaction(filled) as session:
            versions.add_version(session, project_id=PROJECT, name="race", model=model)

    threads = [threading.Thread(target=make, args=[each]) for each in MODELS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction(filled) as session:
        _, page = versions.list_versions(session, project_id=PROJECT, name="race", after=None, limit=9)
        assert [each.version for each in page.items] == [4, 3, 2, 1]
        assert {each.model_id for each in page.items} == set(MODELS)


def test_a_move_names_what_it_expects_or_does_nothing(filled: Database) -> None:
    assert point(filled, 1, expected=0) == Target(1)
    for expected in (0, 2):
        with pytest.raises(Conflict, match="portrait@production points at version 1, but") as caught:
            point(filled, 3, expected=expected)
        assert caught.value.code == "alias_moved"
    assert resolved(filled, "portrait@production").model_id == MODELS[0]
    assert point(filled, 2, expected=1) == Target(2)
    assert [move[:3] for move in moves(filled)] == [
        (2, MoveCause.set, Target(2)),
        (1, MoveCause.set, Target(1)),
    ]


def test_of_many_who_expect_the_same_one_moves(filled: Database) -> None:
    point(filled, 1)
    outcomes: list[str] = []
    start = threading.Barrier(6)

    def move(version: int) -> None:
        start.wait()
        try:
            point(filled, version, expected=1)
            outcomes.append("moved")
        except AppError as error:
            outcomes.append(str(error.code))

    threads = [threading.Thread(target=move, args=[2 + number % 2]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"moved": 1, "alias_moved": 5}
    assert len(moves(filled)) == 2


@pytest.mark.parametrize("alias", ["latest", "3", "", "a b", "a@b", "x" * 65])
def test_what_cannot_be_an_alias_is_refused(filled: Database, alias: str) -> None:
    with transaction(filled) as session, pytest.raises(Invalid, match="cannot be one"):
        aliases.point(session, project_id=PROJECT, name="portrait", alias=alias, version=1)


def test_a_rollback_goes_back_step_by_step_and_is_a_move_itself(filled: Database) -> None:
    split = Split(1, 0.25)
    for version, told in ((1, {}), (2, {"split": split}), (3, {})):
        point(filled, version, **told)
    assert [back(filled), back(filled)] == [Target(2, split), Target(1)]
    with pytest.raises(Conflict, match="has never pointed at another version"):
        back(filled)
    point(filled, 3)
    with pytest.raises(Conflict, match="points at version 3, but version 2 was expected"):
        back(filled, expected=2)
    assert back(filled, expected=3) == Target(1)
    assert moves(filled)[:4] == [
        (7, MoveCause.rollback, Target(1), 1, "key-2"),
        (6, MoveCause.set, Target(3), None, "key-1"),
        (5, MoveCause.rollback, Target(1), 1, "key-2"),
        (4, MoveCause.rollback, Target(2, split), 2, "key-2"),
    ]


def test_a_rollback_passes_over_versions_that_are_gone(filled: Database) -> None:
    for version in (1, 2, 3):
        point(filled, version)
    with transaction(filled) as session:
        versions.delete_version(session, project_id=PROJECT, name="portrait", version=2)
    assert back(filled) == Target(1)


def test_an_alias_that_is_deleted_keeps_its_history(filled: Database) -> None:
    point(filled, 1)
    with transaction(filled) as session:
        aliases.delete_alias(session, project_id=PROJECT, name="portrait", alias="production")
    with pytest.raises(NotFound, match="has no alias production; there are: none"):
        resolved(filled, "portrait@production")
    with pytest.raises(Conflict, match="is not there, but version 1 was expected"):
        point(filled, 2, expected=1)
    assert point(filled, 2, expected=0) == Target(2)
    assert [move[:3] for move in moves(filled)] == [
        (3, MoveCause.set, Target(2)),
        (2, MoveCause.delete, Target(None)),
        (1, MoveCause.set, Target(1)),
    ]
    assert back(filled) == Target(1)


def test_what_an_alias_serves_stays(filled: Database) -> None:
    point(filled, 1, split=Split(2, 0.5))
    with transaction(filled) as session:
        for version in (1, 2):
            with pytest.raises(Conflict, match=f"portrait@production points at version {version}"):
                versions.delete_version(session, project_id=PROJECT, name="portrait", version=version)
        with pytest.raises(Conflict, match="delete the aliases first"):
            names.delete_name(session, project_id=PROJECT, name="portrait")
        versions.delete_version(session, project_id=PROJECT, name="portrait", version=3)
        aliases.delete_alias(session, project_id=PROJECT, name="portrait", alias="production")
        names.delete_name(session, project_id=PROJECT, name="portrait")
        for table in (RegisteredModel, ModelVersion, AliasMove):
            assert session.scalars(select(table)).all() == []
        assert registry.get_model(session, project_id=PROJECT, model_id=MODELS[0]).id == MODELS[0]


def test_a_split_is_sticky_by_its_key_and_settled_for_work(filled: Database) -> None:
    point(filled, 1, split=Split(2, 0.3))
    name = "portrait@production"
    keys = [f"user-{number}" for number in range(300)]
    first = [resolved(filled, name, request_key=key).model_id for key in keys]
    assert first == [resolved(filled, name, request_key=key).model_id for key in keys]
    share = Counter(first)[MODELS[1]] / len(keys)
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / len(keys)) ** 0.5
    assert set(first) == {MODELS[0], MODELS[1]}
    assert {resolved(filled, name).model_id for _ in range(60)} == {MODELS[0], MODELS[1]}
    assert {resolved(filled, name, settled=True).model_id for _ in range(20)} == {MODELS[0]}


def test_a_split_needs_two_versions_that_are_there(filled: Database) -> None:
    with pytest.raises(Invalid, match="1 has all the requests already"):
        point(filled, 1, split=Split(1, 0.5))
    with pytest.raises(NotFound) as caught:
        point(filled, 1, split=Split(9, 0.5))
    assert caught.value.param == "split.version"
    with pytest.raises(NotFound) as caught:
        point(filled, 9)
    assert caught.value.param == "version"
    with pytest.raises(NotFound):
        moves(filled)


def test_lists_are_paged(filled: Database) -> None:
    with transaction(filled) as session:
        for name in ("a", "b"):
            names.create_name(session, project_id=PROJECT, name=name)
            aliases.point(session, project_id=PROJECT, name="portrait", alias=name, version=1)
        page = names.list_names(session, project_id=PROJECT, after=None, limit=2)
        assert ([each.name for each in page.items], page.has_more) == (["b", "a"], True)
        page = names.list_names(session, project_id=PROJECT, after="a", limit=2)
        assert ([each.name for each in page.items], page.has_more) == (["portrait"], False)
        for after in ("3", "portrait@3"):
            _, found = versions.list_versions(
                session, project_id=PROJECT, name="portrait", after=after, limit=1
            )
            assert ([each.version for each in found.items], found.has_more) == ([2], True)
        _, pointing = aliases.list_aliases(
            session, project_id=PROJECT, name="portrait", after="portrait@a", limit=5
        )
        assert [each.alias for each in pointing.items] == ["b"]
        for bad in (
            lambda: names.list_names(session, project_id=PROJECT, after="none", limit=2),
            lambda: versions.list_versions(session, project_id=PROJECT, name="portrait", after="x", limit=1),
            lambda: aliases.history(
                session, project_id=PROJECT, name="portrait", alias="a", after="x", limit=1
            ),
        ):
            with pytest.raises(Invalid, match="is not in this list"):
                bad()
