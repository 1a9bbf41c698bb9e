"""The benchmarks run, on a tiny pipeline, and count what they say."""

from pathlib import Path

import pytest
import torch

from bench.diffusion_dpo import DiffusionDpo
from bench.measure import Comparison, compare
from bench.memory import full_fine_tune
from bench.prepared import Prepared, prepare
from bench.rivals import SAMPLERS, measure_latents, measure_rivals, measure_samplers
from bench.step import WARM_UP, Interleaver, measure_dpo, measure_reference, measure_step
from spin_engine.families.loader import load
from tests.tiny import build_pipeline


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "base"
    build_pipeline(folder)
    return folder


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(base, tmp_path_factory.mktemp("prepared"), pairs=2, steps=WARM_UP + 2)


def positive(found: Comparison) -> bool:
    return min(found.ours, found.bare, found.ratio) > 0


def test_compare_warms_up_and_takes_turns() -> None:
    calls: list[str] = []
    found = compare(
        lambda: calls.append("ours"), lambda: calls.append("bare"), repeats=3, device=torch.device("cpu")
    )
    assert calls == ["ours", "bare", "ours", "bare", "bare", "ours", "ours", "bare"]
    assert positive(found)


def test_interleaver_leaves_out_the_first_steps() -> None:
    timer = Interleaver(lambda: None, torch.device("cpu"))
    timer.pairs = [(100.0, 1.0)] * WARM_UP + [(2.0, 1.0), (4.0, 4.0), (9.0, 3.0)]
    assert timer.comparison() == Comparison(ours=4.0, bare=3.0, ratio=2.0)


def test_steps(made: Prepared, tmp_path: Path) -> None:
    assert positive(measure_step(made, tmp_path / "step"))
    assert positive(measure_dpo(made, tmp_path / "dpo"))
    assert positive(measure_reference(made, repeats=2))


def test_the_baseline_starts_at_ln_2_and_trains(base: Path) -> None:
    """Model and reference are equal at first, so the better difference is 0."""
    family = load(base)
    family.denoiser.requires_grad_(requires_grad=True)
    baseline = DiffusionDpo(family)
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 32, 32)
    before = [value.detach().clone() for value in family.denoiser.parameters()]
    first = baseline.step(pixels, 1 - pixels, ["a", "b"])
    assert first == pytest.approx(0.693147, abs=1e-4)
    after = list(family.denoiser.parameters())
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_memory_is_measured_in_a_process_of_its_own(made: Prepared, tmp_path: Path) -> None:
    assert full_fine_tune(made, tmp_path, reference="cached", steps=2) > 0


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_rivals(base: Path, guidance: float) -> None:
    assert positive(measure_rivals(load(base), batch=2, steps=2, guidance=guidance, repeats=2))


def test_rivals_kept_as_latents(base: Path) -> None:
    assert positive(measure_latents(load(base), batch=2, steps=2, repeats=2))


def test_samplers_are_those_they_are_called(base: Path) -> None:
    found = measure_samplers(load(base), SAMPLERS, batch=1, repeats=1)
    assert list(found) == list(SAMPLERS)
    assert min(found.values()) > 0
