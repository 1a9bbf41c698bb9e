"""``spindle project``."""

from rich.markup import escape

from spindle.cli.terminal import AsJson, State, connect, plain_errors, show_json, show_pairs


@plain_errors
def project(state: State = None, as_json: AsJson = False) -> None:
    """Show the key's project: its limits, and what it uses of them."""
    with connect(state) as client:
        mine = client.project()
    if as_json:
        show_json(mine)
        return
    show_pairs(
        id=mine.id,
        name=escape(mine.name),
        open_jobs=_of(mine.open_jobs, mine.max_jobs),
        running_at_most=mine.max_running,
        gpu_seconds_used=_of(round(mine.gpu_seconds_used), mine.gpu_seconds_limit),
        gpu_seconds_reserved=round(mine.gpu_seconds_reserved),
    )


def _of(used: int, limit: float | None) -> str:
    return str(used) if limit is None else f"{used} of {limit:g}"
