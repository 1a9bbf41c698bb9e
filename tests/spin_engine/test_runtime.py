"""What the process sets before torch is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spin_engine.runtime import cores, prepare_environment


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 10**6), ("50000 100000", 1), ("100000 100000", 1)]
)
def test_cores_are_those_the_process_may_use(quota: str, most: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cores(tmp_path / "cpu.max") == min(most, len(os.sched_getaffinity(0)))
    assert cores(tmp_path / "absent") == len(os.sched_getaffinity(0))


def test_what_the_caller_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    prepare_environment()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_types_for_the_control_plane_do_not_import_torch() -> None:
    code = (
        "import sys, spin_engine.config, spin_engine.unit_spec, spin_engine.__main__;"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
