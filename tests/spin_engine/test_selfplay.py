"""Rivals come from theta_k, and its errors are those that training would ask it for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spin_engine.batches import Batches, errors
from spin_engine.diffusion import derive_seed
from spin_engine.families.loader import load
from spin_engine.itinerary import itinerary_for
from spin_engine.latents import Encoded
from spin_engine.rivals import Rivals
from spin_engine.sampler import initial_noise, sample
from spin_engine.stopping import Stop, Stopped
from tests.spin_engine.conftest import LAYOUT, ROWS, Recorder, method, run


def generate(out: Path, pipeline: Path, encoded: Path, **spec: Any) -> Recorder:
    return run("generate", out, inputs={"base": pipeline, "encoded": encoded}, **spec)


def test_a_rival_is_what_theta_k_draws_for_the_caption(pipeline: Path, encoded: Path, rivals: Path) -> None:
    family, data = load(pipeline), Encoded(encoded)
    found = load_file(rivals / "rivals-00000-00000.safetensors")
    assert found["pairs"].tolist() == list(range(ROWS))
    noise = initial_noise([derive_seed(5, "rival", 1, 7)], data.shape)
    expected = sample(family, data.condition([7], [False]), None, noise, steps=2, guidance=1)
    torch.testing.assert_close(found["latents"][7:8], expected, atol=1e-5, rtol=1e-5)


def test_guidance_moves_the_rivals(pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path) -> None:
    guided = method(rival_guidance=4.0)
    generate(tmp_path, pipeline, encoded, method=guided)
    name = "rivals-00000-00000.safetensors"
    assert not torch.allclose(load_file(tmp_path / name)["latents"], load_file(rivals / name)["latents"])


def test_reference_errors_are_theta_ks(pipeline: Path, encoded: Path, rivals: Path) -> None:
    family, data, drawn = load(pipeline), Encoded(encoded), Rivals(rivals)
    itinerary = itinerary_for(method().hyperparameters, seed=5, iteration=1, layout=LAYOUT)
    batches = Batches(family, data, itinerary, dropout=0.0)
    for step in range(itinerary.steps):
        looks = itinerary.step(step)
        with torch.no_grad():
            asked = errors(family, batches.batch(looks, drawn.latents(looks))).view(2, -1).T
        torch.testing.assert_close(drawn.reference(looks), asked, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"draws": 1}, {"steps": 2}, {"prompt_dropout": 0.5}])
def test_shards_together_are_the_whole(
    changes: dict[str, Any], pipeline: Path, encoded: Path, tmp_path: Path
) -> None:
    settings = method(**changes)
    generate(tmp_path / "whole", pipeline, encoded, method=settings)
    for shard in range(3):
        generate(tmp_path / "parts", pipeline, encoded, method=settings, shard=shard, shards=3)
    itinerary = itinerary_for(settings.hyperparameters, seed=5, iteration=1, layout=LAYOUT)
    whole, parts = Rivals(tmp_path / "whole"), Rivals(tmp_path / "parts")
    for one in (whole, parts):
        one.check(itinerary, cached=True)
    for step in range(itinerary.steps):
        looks = itinerary.step(step)
        torch.testing.assert_close(whole.latents(looks), parts.latents(looks), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(whole.reference(looks), parts.reference(looks), atol=1e-6, rtol=1e-6)
    drawn = sum(len(load_file(path)["pairs"]) for path in (tmp_path / "whole").glob("*.safetensors"))
    assert drawn == len(itinerary.used_pairs())


def test_progress_ends_at_its_end(pipeline: Path, encoded: Path, tmp_path: Path) -> None:
    heard = generate(tmp_path, pipeline, encoded)
    last = [line for line in heard.lines if line["type"] == "progress"][-1]
    assert last["step"] == last["of"] == ROWS * 2 + 4 * 4 * 2
    assert last["what"] == "generate"


def test_stopped_generation_goes_on(
    pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spin_engine.selfplay.CHUNK", 4)
    stop = Stop()
    recorder = Recorder(lambda line: setattr(stop, "requested", line.get("step", 0) > 20))
    with pytest.raises(Stopped):
        generate(tmp_path, pipeline, encoded, stop=stop, reporter=recorder)
    (kept,) = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    generate(tmp_path, pipeline, encoded)
    assert kept.stat().st_mtime_ns == before
    looks = itinerary_for(method().hyperparameters, seed=5, iteration=1, layout=LAYOUT).step(0)
    torch.testing.assert_close(Rivals(tmp_path).reference(looks), Rivals(rivals).reference(looks))


def test_missing_rivals_are_noticed(pipeline: Path, encoded: Path, tmp_path: Path) -> None:
    generate(tmp_path, pipeline, encoded, shard=0, shards=2, method=method(reference="online"))
    itinerary = itinerary_for(method().hyperparameters, seed=5, iteration=1, layout=LAYOUT)
    with pytest.raises(ValueError, match="6 pairs have no rival, pair 6 first"):
        Rivals(tmp_path).check(itinerary, cached=False)
    generate(tmp_path, pipeline, encoded, shard=1, shards=2, method=method(reference="online"))
    Rivals(tmp_path).check(itinerary, cached=False)
    with pytest.raises(ValueError, match="no reference errors"):
        Rivals(tmp_path).check(itinerary, cached=True)


def test_supervised_iterations_have_no_rivals(pipeline: Path, encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rivals to generate"):
        generate(tmp_path, pipeline, encoded, method={"type": "sft"})
