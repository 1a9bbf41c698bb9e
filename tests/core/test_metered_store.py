"""What a process counts of its store: each operation by how it ended, and the bytes."""

import hashlib
import io
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from core.errors import StoreUnavailable
from core.storage.folder import FolderStore
from core.storage.metered import MeteredStore, StoreMeters, outcome_of


def test_operations_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    folder = FolderStore(tmp_path / "objects", public_url="http://a", secret=b"s" * 32)
    store = MeteredStore(folder, StoreMeters(registry))

    def counted(operation: str, outcome: str) -> float | None:
        told = {"operation": operation, "outcome": outcome}
        return registry.get_sample_value("spindle_store_operations_total", told)

    assert counted("put", "failed") == 0  # so that the first one is a rise
    stored = store.put("a/b", io.BytesIO(b"12345"), 5)
    store.get_file("a/b", tmp_path / "copy", sha256=stored.sha256)
    with store.open("a/b") as stream:
        assert stream.read() == b"12345"
    assert (counted("put", "ok"), counted("get", "ok"), counted("open", "ok")) == (1, 1, 1)
    with pytest.raises(FileNotFoundError), store.open("a/none"):
        pass
    with pytest.raises(ValueError, match="sha256"):
        store.get_file("a/b", tmp_path / "copy", sha256=hashlib.sha256(b"").hexdigest())
    with store.open("a/b"), pytest.raises(RuntimeError):
        raise RuntimeError("the reader's own trouble is not the store's")
    assert (counted("open", "missing"), counted("get", "wrong"), counted("open", "failed")) == (1, 1, 0)
    assert list(store.list("a")) == ["a/b"]
    assert registry.get_sample_value("spindle_store_bytes_total", {"way": "in"}) == 5
    assert registry.get_sample_value("spindle_store_bytes_total", {"way": "out"}) == 5
    (tmp_path / "objects" / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        store.put("file/below", io.BytesIO(b"1"), 1)
    assert counted("put", "failed") == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (StoreUnavailable("away"), "unavailable"),
        (PermissionError("no"), "refused"),
        (OSError(28, "No space left on device"), "failed"),
    ],
)
def test_what_is_wrong_with_the_store_has_a_name(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome
