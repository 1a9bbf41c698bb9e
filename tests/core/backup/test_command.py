"""``python -m core.backup`` as whoever runs a platform meets it: what it prints, and its exit codes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core import keys, migrate
from core.backup.__main__ import main
from core.db import Database, transaction
from core.settings import Settings
from core.storage.store import store_for
from tests.core.backup.filled import fill

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command for a platform by the name of its state folder."""

    def command(state: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("SPINDLE_STATE", str(tmp_path / state))
        code = main(arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def test_from_create_to_restore(run: Run, tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "one")
    migrate.migrate(settings)
    database = Database(settings)
    filled = fill(database, store_for(settings), base=False)
    database.dispose()
    place = str(tmp_path / "backups")

    code, out, err = run("one", "create", place)
    assert (code, err) == (0, "")
    [line, copied] = out.splitlines()
    assert "revision " in line
    assert copied.endswith("in 1 passes")
    code, out, _ = run("one", "verify", place)
    assert (code, out.strip()) == (0, f"{line}: whole")
    assert run("one", "list", place)[1].splitlines() == [line]
    code, _, err = run("one", "restore", place)
    assert code == 1
    assert err.startswith("the database is not empty")
    assert len(err.splitlines()) == 1

    code, out, _ = run("two", "restore", f"@{_written(tmp_path / 'where', place)}", "--silence-webhooks")
    assert code == 0
    assert out.splitlines()[-1] == "next: start the processes, and run `spindle doctor`"
    other = Database(Settings(state=tmp_path / "two"))
    with transaction(other) as session:
        assert keys.verify(session, secret=filled.secret).project_id == keys.DEFAULT_PROJECT
    other.dispose()

    next(Path(place).glob("objects/*/*")).unlink()
    code, out, _ = run("one", "verify", place, "--quick")
    assert code == 1
    assert "is missing from the backup" in out
    assert run("one", "prune", place, "--keep", "1")[:2] == (0, "deleted 0 backups and 0 objects\n")


def test_the_platforms_own_store_is_no_place_for_backups(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run("one", "create", str(tmp_path / "one" / "objects" / "backups"))
    assert code == 1
    assert "is the platform's own store" in err
    monkeypatch.setenv("SPINDLE_STORE_URL", "s3://key:long-enough@store:9000/spindle?secure=0")
    code, _, err = run("one", "create", "s3://other:not-to-be-seen@store:9000/spindle")
    assert code == 1
    assert err == "this bucket is the platform's own store: name another one\n"


def test_what_cannot_be_backed_up_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    place = str(tmp_path / "backups")
    code, _, err = run("none", "create", place)
    assert code == 1
    assert err.startswith("the database is at revision None and this version of Spindle at ")
    assert run("none", "verify", place) == (1, "", "there is no backup here; `create` makes one\n")
    code, _, err = run("none", "list", "s3://key@host")
    assert code == 1
    assert "give file:///FOLDER or s3://KEY:SECRET@HOST:PORT/BUCKET" in err


def _written(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    return path
