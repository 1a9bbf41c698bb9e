"""``spindle models``: names, versions, aliases."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    examples,
    out,
    plain_errors,
    show_json,
    show_table,
    when,
)
from spindle.errors import SpindleError

if TYPE_CHECKING:
    from spindle.registered import Alias, Split

Name = Annotated[str, typer.Argument(metavar="NAME", help="A registered name.")]
Pointer = Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="An alias of a registered name.")]
Expected = Annotated[
    int | None,
    typer.Option(help="Only if it points at this version now; 0: only if it is new.", show_default=False),
]


def names(limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List the registered names and what their aliases point at."""
    with connect(state) as client:
        found = list(client.registry.list(limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            escape(each.name),
            str(each.versions),
            escape(", ".join(f"{one.alias} → {_target(one.version, one.split)}" for one in each.aliases)),
            when(each.created),
        )
        for each in found
    )
    show_table(rows, "name", "versions", "aliases", "created", empty="No names: promote a model.")


def versions(name: Name, limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List a name's versions, newest first."""
    with connect(state) as client:
        found = list(client.registry.versions(name, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            escape(each.id),
            escape(each.model),
            ", ".join(each.aliases),
            when(each.created),
            escape(each.notes or ""),
        )
        for each in found
    )
    show_table(rows, "version", "model", "aliases", "created", "notes", empty="No versions: promote a model.")


def promote(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A result, a checkpoint or an import.")],
    name: Name,
    alias: Annotated[
        str | None, typer.Option(help="What is to point at the new version.", show_default=False)
    ] = None,
    notes: Annotated[str | None, typer.Option(help="What people should know.", show_default=False)] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a model the next version of a name, and let an alias point at it."""
    with connect(state) as client:
        made = client.registry.promote(name, model, alias=alias, notes=notes)
    if as_json:
        show_json(made)
        return
    pointed = f"  {made.name}@{alias}" if alias else ""
    out.print(f"{made.id}  {made.model}{pointed}", markup=False)


def point(
    pointer: Pointer,
    version: Annotated[int, typer.Argument(min=1, help="The version that it is to point at.")],
    split: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION:SHARE", help="Another version for a share, as 3:0.1.", show_default=False
        ),
    ] = None,
    expected: Expected = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make an alias point at a version, and for a share of the requests at another."""
    name, alias = _parts(pointer)
    with connect(state) as client:
        moved = client.registry.point(name, alias, version, split=_split(split), expected=expected)
    _show_alias(moved, as_json=as_json)


def rollback(
    pointer: Pointer, expected: Expected = None, state: State = None, as_json: AsJson = False
) -> None:
    """Make an alias point where it did before; once more, and it goes one further back."""
    name, alias = _parts(pointer)
    with connect(state) as client:
        moved = client.registry.rollback(name, alias, expected=expected)
    _show_alias(moved, as_json=as_json)


def history(pointer: Pointer, limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List every move of an alias, newest first: where to, when, by which key."""
    name, alias = _parts(pointer)
    with connect(state) as client:
        found = list(client.registry.history(name, alias, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            str(each.number),
            each.cause + ("" if each.restores is None else f" to {each.restores}"),
            _target(each.version, each.split),
            when(each.created),
            escape(each.created_by or ""),
        )
        for each in found
    )
    show_table(rows, "move", "what", "version", "when", "key", empty="It has never pointed anywhere.")


def forget(
    what: Annotated[
        str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="A name, a version or an alias.")
    ],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Let go of an alias, a version at which none points, or a name without any. The models stay."""
    name, _, rest = what.partition("@")
    with connect(state) as client:
        if not rest:
            gone = client.registry.delete(name)
        elif rest.isdecimal():
            gone = client.registry.delete_version(name, int(rest))
        else:
            gone = client.registry.delete_alias(name, rest)
    if as_json:
        show_json(gone)
        return
    out.print(f"{gone.id} deleted", markup=False)


def add_to(app: typer.Typer) -> None:
    """Give an app these commands."""
    told: dict[Callable[..., None], tuple[str, ...]] = {
        names: (),
        versions: ("spindle models versions portrait",),
        promote: ("spindle models promote ft:starter:cats:a1b2c3 portrait --alias production",),
        point: ("spindle models point portrait@production 4 --split 3:0.1 --expected 3",),
        rollback: ("spindle models rollback portrait@production",),
        history: ("spindle models history portrait@production",),
        forget: ("spindle models forget portrait@2",),
    }
    for command, lines in told.items():
        app.command(epilog=examples(*lines) if lines else None)(plain_errors(command))


def _parts(pointer: str) -> tuple[str, str]:
    name, at, alias = pointer.partition("@")
    if not at or not alias:
        raise SpindleError(f"{pointer} names no alias: write NAME@ALIAS, such as portrait@production.")
    return name, alias


def _split(written: str | None) -> dict[str, Any] | None:
    if written is None:
        return None
    version, _, share = written.partition(":")
    try:
        return {"version": int(version), "share": float(share)}
    except ValueError:
        raise SpindleError(f"{written} is no split: write VERSION:SHARE, such as 3:0.1.") from None


def _target(version: int | None, split: "Split | None") -> str:
    if version is None:
        return "nothing"
    if split is None:
        return str(version)
    return f"{version} ({100 - 100 * split.share:g} %), {split.version} ({100 * split.share:g} %)"


def _show_alias(moved: "Alias", *, as_json: bool) -> None:
    if as_json:
        show_json(moved)
        return
    out.print(f"{moved.id}  {_target(moved.version, moved.split)}", markup=False)
