"""The opponent of iteration k + 1 is the published theta_k, to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor

from spin_engine.diffusion import derive_seed
from spin_engine.families.loader import load
from spin_engine.latents import Encoded
from spin_engine.sampler import initial_noise, sample
from tests.spin_engine.conftest import ROWS, method, run
from tests.spin_engine.test_trainer import BOTH

BATCH = 4
"""Of the rivals: two micro-batches."""
BATCHES = [list(range(start, start + BATCH)) for start in range(0, ROWS, BATCH)]


def noise(data: Encoded, pairs: list[int]) -> Tensor:
    """Return what the rivals of iteration 2 start from."""
    return initial_noise([derive_seed(5, "rival", 2, pair) for pair in pairs], data.shape)


def drawn_by_family(base: Path, weights: Path | None, data: Encoded) -> Tensor:
    family = load(base, weights)
    return torch.cat(
        [
            sample(
                family, data.condition(pairs, [False] * BATCH), None, noise(data, pairs), steps=2, guidance=1
            )
            for pairs in BATCHES
        ]
    )


def drawn_by_diffusers(base: Path, adapter: Path | None, data: Encoded) -> Tensor:
    """Return what someone without Spindle draws with the published folders."""
    pipeline = StableDiffusionPipeline.from_pretrained(base, use_safetensors=True)
    if adapter is not None:
        pipeline.load_lora_weights(adapter, use_safetensors=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="linspace"
    )
    pipeline.set_progress_bar_config(disable=True)
    return torch.cat(
        [
            pipeline(
                prompt_embeds=data.condition(pairs, [False] * BATCH)["text"],
                latents=noise(data, pairs),
                num_inference_steps=2,
                guidance_scale=1.0,
                output_type="latent",
            ).images
            for pairs in BATCHES
        ]
    )


@BOTH
def test_rivals_are_the_published_models_to_the_bit(
    adapter: dict[str, Any], pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path
) -> None:
    settings, data = method(**adapter), Encoded(encoded)
    inputs = {"base": pipeline, "encoded": encoded}
    run("train", tmp_path / "1" / "out", inputs=inputs | {"rivals": rivals}, method=settings)
    theta_1 = tmp_path / "1" / "out" / "weights"
    run("publish", tmp_path / "p", inputs={"base": pipeline, "weights": theta_1}, method=settings)
    model = tmp_path / "p" / "model"
    second = inputs | {"weights": theta_1}
    run("generate", tmp_path / "rivals", inputs=second, method=settings, iteration=2)
    found = load_file(tmp_path / "rivals" / "rivals-00000-00000.safetensors")
    assert found["pairs"].tolist() == list(range(ROWS))
    assert torch.equal(found["latents"], drawn_by_family(pipeline, theta_1, data))
    if adapter["adapter"] == "lora":
        assert torch.equal(found["latents"], drawn_by_diffusers(pipeline, model, data))
        torch.testing.assert_close(drawn_by_diffusers(model, None, data), found["latents"])
    else:
        assert torch.equal(found["latents"], drawn_by_diffusers(model, None, data))
    assert not torch.allclose(found["latents"], drawn_by_family(pipeline, None, data), atol=1e-4)


@BOTH
@pytest.mark.parametrize("reference", ["cached", "online"])
def test_the_second_iteration_starts_where_its_reference_is(
    reference: str, adapter: dict[str, Any], pipeline: Path, encoded: Path, rivals: Path, tmp_path: Path
) -> None:
    """Its errors are the policy's, to the bit."""
    settings = method(**adapter, reference=reference)
    inputs = {"base": pipeline, "encoded": encoded}
    run("train", tmp_path / "1" / "out", inputs=inputs | {"rivals": rivals}, method=method(**adapter))
    second = inputs | {"weights": tmp_path / "1" / "out" / "weights"}
    run("generate", tmp_path / "rivals", inputs=second, method=settings, iteration=2)
    both = second | {"rivals": tmp_path / "rivals"}
    heard = run("train", tmp_path / "2" / "out", inputs=both, method=settings, iteration=2)
    assert heard.values("loss")[0] == torch.tensor(2.0).log().item()
    assert heard.values("winner_drift")[0] == heard.values("rival_drift")[0] == 0.0
    assert heard.values("winner_drift")[1] != 0.0
