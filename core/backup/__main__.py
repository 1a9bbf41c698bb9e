"""``python -m core.backup``: backups of a platform, and platforms out of backups."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy.exc import SQLAlchemyError

from core.backup.creating import create
from core.backup.place import Manifest, chosen, ids, place_of
from core.backup.pruning import prune
from core.backup.restoring import restore
from core.backup.verifying import problems
from core.errors import AppError
from core.logs import configure_logs
from core.migrate import refusal
from core.settings import Settings
from core.storage.store import ObjectStore

PLACE = "FOLDER, s3://KEY:SECRET@HOST:PORT/BUCKET?secure=0 as the store's URL, or @FILE that holds it"
MIB = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 when all is well, 1 when something is missing, damaged or refused."""
    given = _parser().parse_args(arguments)
    try:
        settings = Settings.load()
        configure_logs(settings)
        place = place_of(given.place, store_url=settings.store_url)
        for line in given.do(place, given):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except _Bad:
        return 1
    except (ValueError, OSError, AppError, SQLAlchemyError) as error:
        sys.stderr.write(f"{refusal(error)}\n")
        return 1
    return 0


class _Bad(Exception):  # noqa: N818  what was wrong has been printed
    """The exit code is 1."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m core.backup", description="Back a platform up, and restore it. See docs/operations.md."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    def command(
        name: str, do: Callable[[ObjectStore, argparse.Namespace], Iterator[str]], told: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=told, description=told)
        made.add_argument("place", metavar="DEST", help=PLACE)
        made.set_defaults(do=do)
        return made

    made = command("create", _create, "back up, while the platform runs; what is there is not copied again")
    made.add_argument(
        "--without-secrets", action="store_true", help="leave out digests of keys and secrets of webhooks"
    )
    command("list", _list, "show the backups, oldest first")
    made = command("verify", _verify, "read a backup to the last byte")
    made.add_argument("id", nargs="?", help="which one; the newest by default")
    made.add_argument("--quick", action="store_true", help="look for objects, and do not read them")
    made = command("restore", _restore, "restore into an empty database and an empty store")
    made.add_argument("id", nargs="?", help="which one; the newest by default")
    made.add_argument("--silence-webhooks", action="store_true", help="disable them: for a rehearsal")
    made.add_argument("--incomplete", action="store_true", help="also without some objects or base models")
    made = command("prune", _prune, "delete old backups, and objects that only they held")
    made.add_argument("--keep", type=int, required=True, help="how many of the newest stay")
    return parser


def _create(place: ObjectStore, given: argparse.Namespace) -> Iterator[str]:
    made = create(Settings.load(), place, secrets=not given.without_secrets)
    yield _line(made.manifest)
    yield f"copied {made.copied} objects, {made.copied_bytes / MIB:.1f} MiB, in {made.passes} passes"
    for key in made.manifest.lost:
        yield f"LOST: {key}: rows tell of it, and the store does not have it, or has other bytes"
    if made.manifest.lost:
        raise _Bad


def _list(place: ObjectStore, _: argparse.Namespace) -> Iterator[str]:
    whole, unfinished = ids(place)
    for backup_id in whole:
        yield _line(Manifest.read(place, backup_id))
    for backup_id in unfinished:
        yield f"{backup_id}  not finished"


def _verify(place: ObjectStore, given: argparse.Namespace) -> Iterator[str]:
    manifest = chosen(place, given.id)
    whole = True
    for problem in problems(place, manifest, thorough=not given.quick):
        whole = False
        yield problem
    if not whole:
        raise _Bad
    yield f"{_line(manifest)}: whole"


def _restore(place: ObjectStore, given: argparse.Namespace) -> Iterator[str]:
    manifest = chosen(place, given.id)
    done = restore(
        Settings.load(),
        place,
        manifest,
        webhooks=not given.silence_webhooks,
        incomplete=given.incomplete,
    )
    yield f"restored {manifest.id}: {done.rows} rows, {done.objects} objects"
    yield from done.warnings
    yield "next: start the processes, and run `spindle doctor`"


def _prune(place: ObjectStore, given: argparse.Namespace) -> Iterator[str]:
    gone = prune(place, keep=given.keep)
    yield f"deleted {len(gone.backups)} backups and {gone.objects} objects"


def _line(manifest: Manifest) -> str:
    told = (
        manifest.id,
        f"revision {manifest.revision} of {manifest.database}",
        f"{sum(table.lines.rows for table in manifest.tables)} rows",
        f"{manifest.objects.rows} objects",
        f"{manifest.bytes / MIB:.1f} MiB",
        *(() if manifest.secrets else ("without secrets",)),
        *((f"{len(manifest.lost)} LOST",) if manifest.lost else ()),
    )
    return "  ".join(told)


if __name__ == "__main__":
    sys.exit(main())
