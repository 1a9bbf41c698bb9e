"""What a worker says it has: by its options, by the driver's words, by the container's limit."""

from pathlib import Path

import pytest

from core.models import Device
from core.runs.capabilities import GIB, Capabilities
from worker import capabilities as mine
from worker.__main__ import main
from worker.capabilities import Gpu, capabilities, host_memory, read_gpus, size_of, visible

TOLD = "0, GPU-1b2c, 24576\n1, GPU-9f00, 81920\n2, GPU-aa, [N/A]\n"
GPUS = [Gpu("0", "GPU-1b2c", 24 * GIB), Gpu("1", "GPU-9f00", 80 * GIB)]


def test_the_drivers_words_are_read() -> None:
    assert read_gpus(TOLD) == GPUS
    assert read_gpus("No devices were found\n") == []


@pytest.mark.parametrize(
    ("chosen", "left"),
    [(None, "01"), ("1", "1"), ("1,0", "10"), ("GPU-9f", "1"), ("", ""), ("-1", ""), ("0,-1,1", "0")],
)
def test_what_cuda_does_not_see_is_not_there(chosen: str | None, left: str) -> None:
    assert "".join(gpu.index for gpu in visible(GPUS, chosen)) == left


@pytest.mark.parametrize(
    ("text", "size"),
    [("24GB", 24 * GIB), ("24 GiB", 24 * GIB), ("1.5g", 3 * GIB // 2), ("512M", GIB // 2), ("9", 9)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize(
    ("limit", "memory"),
    [("max", 16 << 30), ("1073741824", 1 << 30), (str(1 << 60), 16 << 30), (None, 16 << 30)],
)
def test_a_containers_limit_counts(tmp_path: Path, limit: str | None, memory: int) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal:       {16 << 20} kB\nMemFree: 1 kB\n")
    if limit is not None:
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{limit}\n")
    assert host_memory(tmp_path) == memory


def test_a_host_that_tells_nothing_has_enough(tmp_path: Path) -> None:
    assert host_memory(tmp_path) is None


def test_options_come_before_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mine, "installed_gpus", lambda: GPUS)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert capabilities("default", "auto", "auto") == Capabilities(("default",), Device.gpu, 2, 24 * GIB)
    assert capabilities("b,a,b", "gpu", "40GB") == Capabilities(("b", "a"), Device.gpu, 2, 40 * GIB)
    assert capabilities("default", "cpu", "2GB") == Capabilities(("default",), Device.cpu, 0, 2 * GIB)
    monkeypatch.setattr(mine, "installed_gpus", list)
    assert capabilities("default", "gpu", "auto") == Capabilities(("default",), Device.gpu, 1, None)
    assert capabilities("default", "auto", "1GB") == Capabilities(("default",), Device.cpu, 0, GIB)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--queues", "Big"], "--queues takes names such as default,big"),
        (["--queues", ","], "--queues takes names such as default,big"),
        (["--device", "tpu"], "--device takes auto, cpu or gpu, not 'tpu'"),
        (["--memory", "much", "--device", "cpu"], "--memory takes a size such as 24GB, not 'much'"),
    ],
)
def test_options_without_sense_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["units", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
