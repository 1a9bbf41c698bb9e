"""A seed decides a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from spin_engine.families.loader import load
from spin_engine.sampler import draw, initial_noise, sample


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_draws_what_plain_diffusers_draws(pipeline: Path, guidance: float) -> None:
    plain = StableDiffusionPipeline.from_pretrained(pipeline, safety_checker=None, use_safetensors=True)
    plain.scheduler = DPMSolverMultistepScheduler.from_config(
        plain.scheduler.config, timestep_spacing="linspace"
    )
    plain.set_progress_bar_config(disable=True)
    expected = plain(
        "red circle",
        negative_prompt="blue",
        generator=torch.Generator().manual_seed(9),
        num_inference_steps=4,
        guidance_scale=guidance,
    ).images[0]
    (found,) = draw(load(pipeline), ["red circle"], ["blue"], [9], steps=4, guidance=guidance)
    assert np.abs(np.asarray(found, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["v", "epsilon"])
def test_batch_mates_do_not_matter(
    kind: str, guidance: float, pipeline: Path, epsilon_pipeline: Path
) -> None:
    family = load(pipeline if kind == "v" else epsilon_pipeline)
    text, away = family.encode_text(["red", "blue", "green"]), family.encode_text(["", "", ""])

    def latents(*rows: int) -> torch.Tensor:
        chosen = list(rows)
        return sample(
            family,
            {"text": text["text"][chosen]},
            {"text": away["text"][chosen]},
            initial_noise([100 + row for row in chosen], (4, 8, 8)),
            steps=3,
            guidance=guidance,
        )

    together = latents(0, 1, 2)
    assert torch.equal(latents(2, 0, 1)[[1, 2, 0]], together)
    torch.testing.assert_close(latents(1)[0], together[1], atol=1e-4, rtol=1e-4)


def test_noise_depends_on_the_seed_alone() -> None:
    noise = initial_noise([3, 4, 3], (4, 8, 8))
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])


def test_more_prompts_than_a_batch_and_another_size(pipeline: Path) -> None:
    prompts = ["red"] * 18
    pictures = draw(
        load(pipeline), prompts, [""] * 18, [1] * 17 + [2], steps=1, guidance=1, height=16, width=8
    )
    assert {picture.size for picture in pictures} == {(8, 16)}
    first, last = np.asarray(pictures[0], dtype=int), np.asarray(pictures[16], dtype=int)
    assert np.abs(first - last).max() <= 1
    assert pictures[16].tobytes() != pictures[17].tobytes()


def test_a_size_the_grid_cannot_hold_is_refused(pipeline: Path) -> None:
    with pytest.raises(ValueError, match="30x32 is not a multiple of 4"):
        draw(load(pipeline), ["red"], [""], [1], steps=1, guidance=1, height=32, width=30)
