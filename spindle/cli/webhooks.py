"""``spindle webhooks``."""

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from spindle.cli.spans import seconds_of
from spindle.cli.terminal import (
    AsJson,
    Limit,
    State,
    connect,
    examples,
    out,
    plain_errors,
    show_json,
    show_pairs,
    show_table,
    status,
    when,
)
from spindle.errors import SpindleError

if TYPE_CHECKING:
    from spindle.webhook_results import WebhookAttempt, WebhookDelivery, WebhookEndpoint

app = typer.Typer(help="Tell other systems what happens (docs/webhooks.md).", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Id of a webhook endpoint.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="An event to be told of; repeat it for more. All.", show_default=False),
]


@app.command(
    epilog=examples(
        "spindle webhooks create ci https://example.com/spindle",
        "spindle webhooks create ci https://example.com/spindle --event fine_tuning.job.succeeded",
    )
)
@plain_errors
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    url: Annotated[str, typer.Argument(help="Where events are sent to: https://...")],
    event_types: Events = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook endpoint and print its secret, which is shown this once only."""
    with connect(state) as client:
        made = client.webhooks.create(name, url, event_types=event_types or None)
    if as_json:
        show_json(made)
        return
    _show(made)


@app.command("list")
@plain_errors
def list_(limit: Limit = 50, state: State = None, as_json: AsJson = False) -> None:
    """List webhook endpoints."""
    with connect(state) as client:
        found = list(client.webhooks.list(limit=limit))
    if as_json:
        show_json(found)
        return
    rows = ((each.id, escape(each.name), escape(each.url), _health(each)) for each in found)
    show_table(
        rows, "id", "name", "url", "status", empty="No webhooks yet: `spindle webhooks create NAME URL`."
    )


@app.command()
@plain_errors
def show(endpoint_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Show a webhook endpoint, and why it is disabled if it is."""
    with connect(state) as client:
        found = client.webhooks.get(endpoint_id)
    if as_json:
        show_json(found)
        return
    _show(found)


@app.command(epilog=examples("spindle webhooks update wh-01J... --url https://example.com/other"))
@plain_errors
def update(
    endpoint_id: Id,
    name: Annotated[str | None, typer.Option(help="What it is for.", show_default=False)] = None,
    url: Annotated[str | None, typer.Option(help="Where events are sent to.", show_default=False)] = None,
    event_types: Events = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Change a webhook endpoint."""
    with connect(state) as client:
        found = client.webhooks.update(endpoint_id, name=name, url=url, event_types=event_types or None)
    if as_json:
        show_json(found)
        return
    _show(found)


@app.command()
@plain_errors
def enable(endpoint_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Send to a webhook endpoint again; `replay` sends what failed meanwhile."""
    _switch(endpoint_id, state, as_json, enabled=True)


@app.command()
@plain_errors
def disable(endpoint_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Send nothing more to a webhook endpoint; what it was owed counts as failed."""
    _switch(endpoint_id, state, as_json, enabled=False)


@app.command()
@plain_errors
def delete(endpoint_id: Id, state: State = None, as_json: AsJson = False) -> None:
    """Delete a webhook endpoint."""
    with connect(state) as client:
        gone = client.webhooks.delete(endpoint_id)
    if as_json:
        show_json(gone)
        return
    out.print(f"{gone.id} deleted", markup=False)


@app.command()
@plain_errors
def rotate(
    endpoint_id: Id,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Stop signing with the old secret now, not in a day.")
    ] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Replace the secret of a webhook endpoint and print the new one, this once only."""
    with connect(state) as client:
        found = client.webhooks.rotate_secret(endpoint_id, keep_old=not at_once)
    if as_json:
        show_json(found)
        return
    out.print(found.signing_secret or "", markup=False)


@app.command("test", epilog=examples("spindle webhooks test wh-01J... --event dataset.ready"))
@plain_errors
def try_out(
    endpoint_id: Id,
    event: Annotated[str, typer.Option(help="Which event to make up.")] = "fine_tuning.job.succeeded",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send a made-up event now and print what the endpoint answered; exit code 1 unless it took it."""
    with connect(state) as client:
        found = client.webhooks.test(endpoint_id, event)
    if as_json:
        show_json(found)
    else:
        out.print(f"{endpoint_id} answered {found.status_code}", markup=False)
    if not 200 <= found.status_code < 300:
        raise SpindleError("It did not take the event: only 2xx counts.")


@app.command(epilog=examples("spindle webhooks deliveries wh-01J... --status failed"))
@plain_errors
def deliveries(
    endpoint_id: Id,
    wanted: Annotated[
        str | None, typer.Option("--status", help="pending, succeeded or failed.", show_default=False)
    ] = None,
    limit: Limit = 20,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """List what an endpoint was owed in the last 30 days, and what came of it."""
    with connect(state) as client:
        found = list(client.webhooks.deliveries(endpoint_id, status=wanted, limit=limit))
    if as_json:
        show_json(found)
        return
    rows = (
        (
            each.id,
            each.event_type,
            status(each.status),
            str(len(each.attempts)),
            _last(each),
            when(each.next_attempt_at),
        )
        for each in found
    )
    show_table(
        rows, "id", "event", "status", "attempts", "last answer", "next attempt", empty="No deliveries."
    )


@app.command(
    epilog=examples(
        "spindle webhooks replay wh-01J... --since 3d",
        "spindle webhooks replay wh-01J... --delivery whd-01J...",
    )
)
@plain_errors
def replay(
    endpoint_id: Id,
    since: Annotated[
        str | None, typer.Option(help="All that failed of the last 90s, 15m, 12h, 3d.", show_default=False)
    ] = None,
    delivery: Annotated[
        str | None, typer.Option(help="Id of one delivery, whatever came of it.", show_default=False)
    ] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Send again what failed, or one delivery."""
    if (since is None) == (delivery is None):
        raise SpindleError("Say what to send again: --since or --delivery.")
    with connect(state) as client:
        if delivery is not None:
            again = client.webhooks.replay(endpoint_id, delivery)
            if as_json:
                show_json(again)
            else:
                out.print(f"{again.id} {status(again.status)}")
            return
        assert since is not None, "one of the two is given"
        moment = int(time.time()) - seconds_of(since)
        many = client.webhooks.replay_failed(endpoint_id, since=moment)
    if as_json:
        show_json(many)
        return
    out.print(f"{many.replayed} deliveries are sent again", markup=False)


def _switch(endpoint_id: str, state: State, as_json: bool, *, enabled: bool) -> None:
    with connect(state) as client:
        found = client.webhooks.update(endpoint_id, enabled=enabled)
    if as_json:
        show_json(found)
        return
    out.print(f"{found.id} {_health(found)}")


def _health(endpoint: "WebhookEndpoint") -> str:
    if not endpoint.enabled:
        return f"[red]disabled[/] {escape(endpoint.disabled_reason or '')}"
    if endpoint.failing_since:
        return f"[yellow]failing[/] since {when(endpoint.failing_since)}"
    return "[green]enabled[/]"


def _show(endpoint: "WebhookEndpoint") -> None:
    show_pairs(
        id=endpoint.id,
        name=escape(endpoint.name),
        url=escape(endpoint.url),
        status=_health(endpoint),
        secret=escape(endpoint.signing_secret or endpoint.signing_secret_hint),
        events=escape(" ".join(endpoint.event_types)),
        created=when(endpoint.created_at),
    )


def _last(delivery: "WebhookDelivery") -> str:
    if not delivery.attempts:
        return ""
    last: WebhookAttempt = delivery.attempts[-1]
    return f"{last.status} in {last.milliseconds} ms" if last.status else escape(last.error or "")
