"""One thread for what is small, all for what is not."""

from pathlib import Path

import pytest
import torch

from spin_engine.families.loader import load
from spin_engine.serving import threads
from tests.tiny import build_pipeline


def test_a_small_model_is_drawn_by_one_thread_and_many_pictures_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_pipeline(tmp_path / "base")
    family = load(tmp_path / "base")
    parameters = sum(each.numel() for each in family.denoiser.parameters())
    monkeypatch.setattr(threads, "ALL", 2)
    monkeypatch.setattr(threads, "WORTH", 4 * parameters)
    before = torch.get_num_threads()
    try:
        used = []
        for pictures in (1, 3, 4, 16):
            threads.set_threads(family, pictures)
            used.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert used == [1, 1, 2, 2]
