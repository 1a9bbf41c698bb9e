"""Settings come from the environment alone; unsafe and misspelt ones are refused by name."""

import stat
import threading
from pathlib import Path

import pytest

from core.settings import Settings, once_written, replace_secret


def test_the_embedded_profile_lives_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINDLE_STATE", str(tmp_path))
    settings = Settings.load()
    assert settings.database_url == f"sqlite:///{tmp_path}/spindle.db"
    assert settings.store_url == f"file://{tmp_path}/objects"
    assert settings.broker_url == f"filesystem://{tmp_path}/queue"
    assert settings.lease_seconds == 30


def test_a_cluster_is_three_addresses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPINDLE_STATE", str(tmp_path))
    monkeypatch.setenv("SPINDLE_DATABASE_URL", "postgresql://spindle:s3cr3t-enough@db/spindle")
    monkeypatch.setenv("SPINDLE_STORE_URL", "s3://key:long-enough@store:9000/spindle?secure=0")
    monkeypatch.setenv("SPINDLE_BROKER_URL", "redis://:long-enough@queue:6379/0")
    settings = Settings.load()
    assert settings.database_url == "postgresql+psycopg://spindle:s3cr3t-enough@db/spindle"


def test_a_misspelt_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINDLE_LEASE_SECOND", "3")
    with pytest.raises(ValueError, match="SPINDLE_LEASE_SECOND"):
        Settings.load()
    with pytest.raises(ValueError, match="lease_second"):
        Settings(lease_second=3)  # type: ignore[call-arg]


def test_the_clients_own_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPINDLE_STATE", str(tmp_path))
    monkeypatch.setenv("SPINDLE_URL", "http://elsewhere")
    monkeypatch.setenv("SPINDLE_API_KEY", "spk-x")
    assert Settings.load().state == tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_secrets", "0123456789abcdef0123456789abcdef short"),
        ("database_url", "sqlite://"),
        ("database_url", "sqlite:///:memory:"),
        ("database_url", "mysql://u:p@h/n"),
        ("database_url", "postgresql://postgres:postgres@db/spindle"),
        ("store_url", "file://relative"),
        ("store_url", "s3://host/bucket"),
        ("store_url", "s3://key:long-enough@host"),
        ("store_url", "s3://minioadmin:minioadmin@store:9000/spindle"),
        ("broker_url", "amqp://h"),
        ("broker_url", "filesystem://relative"),
        ("broker_url", "redis://:changeme@queue:6379/0"),
        ("broker_url", "redis://localhost/0?visibility_timeout=10"),
        ("public_url", "localhost:8000"),
        ("base_models", "/does/not/exist"),
        ("secret", "short"),
        ("secret", "s" * 40),
        ("first_key", "short"),
        ("first_key", "changeme" * 5),
        ("first_key", "0123456789abcdef" * 2),
        ("first_key", "ababacab" + "abacaba" * 5),
        ("first_key", "a key with spaces 0123456789 abcdef"),
        ("requests_per_minute", -1),
        ("audit_days", 0),
        ("cors_origins", "*"),
        ("cors_origins", "https://a.org/path"),
        ("cors_origins", "a.org"),
        ("lease_seconds", 0.5),
        ("webhook_networks", "10.0.0.0/8,everything"),
        ("webhook_networks", "10.1.2.3/8"),
        ("log_format", "xml"),
    ],
)
def test_unsafe_values_are_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(state=tmp_path, **{name: value})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_secrets_do_not_show(tmp_path: Path) -> None:
    secret = "not-to-be-seen-0123456789abcdefghijkl"
    settings = Settings(
        state=tmp_path,
        secret=secret,
        first_key=secret,
        store_url=f"s3://key:{secret}@h/b",
        database_url=f"postgresql://u:{secret}@h/n",
        broker_url=f"redis://:{secret}@h/0",
    )
    assert secret not in repr(settings)
    assert secret not in str(settings)


def test_a_refused_address_does_not_show_its_password(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="store_url") as refused:
        Settings(state=tmp_path, store_url="s3://key:not-to-be-seen@host")
    assert "not-to-be-seen" not in str(refused.value)


def test_several_processes_agree_on_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "secret"
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda text=str(n): found.append(once_written(path, text))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_a_secret_can_be_replaced(tmp_path: Path) -> None:
    once_written(tmp_path / "key", "old")
    replace_secret(tmp_path / "key", "new")
    assert once_written(tmp_path / "key", "newest") == "new"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_base_models_are_the_folders_that_hold_a_pipeline(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "model_index.json").write_text("{}")
    (tmp_path / "other").mkdir()
    folders = Settings(state=tmp_path / "state", base_models=tmp_path).base_model_folders()
    assert folders["good"] == tmp_path / "good"
    assert "other" not in folders
