"""The benchmarks run, on a tiny pipeline, and count what they say."""

from pathlib import Path

import pytest
import torch

from bench.measure import Comparison, compare
from bench.rivals import measure_rivals
from bench.step import WARM_UP, Interleaver, measure_step
from spin_engine.families.loader import load
from tests.tiny import build_pipeline


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "base"
    build_pipeline(folder)
    return folder


def test_compare_warms_up_and_takes_turns() -> None:
    calls: list[str] = []
    found = compare(
        lambda: calls.append("ours"), lambda: calls.append("bare"), repeats=3, device=torch.device("cpu")
    )
    assert calls == ["ours", "bare", "ours", "bare", "bare", "ours", "ours", "bare"]
    assert min(found.ours, found.bare, found.ratio) > 0


def test_interleaver_leaves_out_the_first_steps() -> None:
    timer = Interleaver(lambda: None, torch.device("cpu"))
    timer.pairs = [(100.0, 1.0)] * WARM_UP + [(2.0, 1.0), (4.0, 4.0), (9.0, 3.0)]
    assert timer.comparison() == Comparison(ours=4.0, bare=3.0, ratio=2.0)


def test_step(base: Path, tmp_path: Path) -> None:
    found = measure_step(base, tmp_path, pairs=2, repeats=3)
    assert min(found.ours, found.bare, found.ratio) > 0


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_rivals(base: Path, guidance: float) -> None:
    found = measure_rivals(load(base), batch=2, steps=2, guidance=guidance, repeats=2)
    assert min(found.ours, found.bare, found.ratio) > 0
