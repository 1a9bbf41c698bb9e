"""``spindle compare vote``, ``votes`` and ``undo``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    out,
    plain_errors,
    show_json,
    show_table,
    when,
)
from spindle.errors import SpindleError

if TYPE_CHECKING:
    from spindle.client import Spindle
    from spindle.comparing import Ballot

Id = Annotated[str, typer.Argument(metavar="COMPARISON", help="Id of a comparison.")]
Voter = Annotated[
    str | None, typer.Option(help="A label for whoever votes; the key, if there is none.", show_default=False)
]
CHOICES = ("left", "right", "tie")


@plain_errors
def vote(
    comparison_id: Id,
    ballot_id: Annotated[
        str | None, typer.Argument(metavar="BALLOT", help="Id of a ballot.", show_default=False)
    ] = None,
    choice: Annotated[
        str | None, typer.Argument(metavar="CHOICE", help="left, right or tie.", show_default=False)
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Draw a ballot and write left.png and right.png into this folder."),
    ] = None,
    voter: Voter = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Open the page where people vote; or take a ballot with --pictures, and then say which is better."""
    if (ballot_id is None) != (choice is None) or choice not in (None, *CHOICES):
        raise SpindleError(f"Say what is better: a ballot and {', '.join(CHOICES)}.")
    with connect(state) as client:
        if ballot_id is not None and choice is not None:
            cast = client.comparisons.vote(comparison_id, ballot_id, choice, voter=voter)
            if as_json:
                show_json(cast)
            else:
                out.print(f"{cast.id} {cast.choice}", markup=False)
            return
        if pictures is not None:
            _take_ballot(client, comparison_id, pictures, voter, as_json=as_json)
            return
        address = f"{client.location.url}/comparisons/{comparison_id}/vote"
    if as_json:
        out.print_json(data={"url": address})
        return
    out.print(address, markup=False)
    if out.is_terminal:
        typer.launch(address)


def _take_ballot(
    client: "Spindle", comparison_id: str, folder: Path, voter: str | None, *, as_json: bool
) -> None:
    ballot: Ballot = client.comparisons.ballot(comparison_id, voter=voter)
    folder.mkdir(parents=True, exist_ok=True)
    for name, side in (("left", ballot.left), ("right", ballot.right)):
        if side is not None:
            client.comparisons.save(side, folder / f"{name}.png")
    if as_json:
        show_json(ballot)
        return
    if ballot.id is None:
        out.print("Nothing is left to vote on.")
        return
    out.print(f"{ballot.id}  {ballot.prompt}", markup=False)
    out.print(f"{folder / 'left.png'}  {folder / 'right.png'}  ({ballot.remaining} left)", markup=False)


@plain_errors
def votes(comparison_id: Id, limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List the votes with the models they were about, the last cast first."""
    with connect(state) as client:
        found = list(client.comparisons.votes(comparison_id, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (each.id, escape(each.voter), escape(each.winner or "tie"), escape(each.prompt), when(each.created))
        for each in found
    )
    show_table(rows, "id", "voter", "better", "prompt", "when", empty="No votes yet.")


@plain_errors
def undo(comparison_id: Id, voter: Voter = None, state: State = None, as_json: AsJson = False) -> None:
    """Take a voter's last vote back; its ballot is open again."""
    with connect(state) as client:
        undone = client.comparisons.undo(comparison_id, voter=voter)
    if as_json:
        show_json(undone)
        return
    out.print(f"{undone.id} taken back; {undone.ballot.id} is open again", markup=False)
