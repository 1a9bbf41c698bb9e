"""Every family says, draws and measures what its plain diffusers pipeline does."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from spin_engine.families import flux, sd3
from spin_engine.families.loader import load
from spin_engine.sampler import Trajectory, contrasts, draw, initial_noise, sample
from tests.spin_engine.families.conftest import Base
from tests.tiny_families import PIPELINES, SIDE, save, sdxl, stable_diffusion

CAPTIONS = ["red circle", "a blue square, and a very long caption"]
EVERY = pytest.mark.parametrize("name", list(PIPELINES))
GUIDED = [
    (name, guidance)
    for name in PIPELINES
    for guidance in (1.0, 3.0)
    if (name, guidance) != ("flux-schnell", 3.0)  # which takes none
]


def plain(folder: Path) -> Any:
    """Return diffusers' own pipeline, with the solver that the family draws with."""
    absent = {} if folder.name != "sd3-without-t5" else {"text_encoder_3": None, "tokenizer_3": None}
    pipeline = DiffusionPipeline.from_pretrained(folder, use_safetensors=True, **absent)
    if not isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler):
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="linspace"
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def said_by_pipeline(name: str, folder: Path) -> list[Tensor]:
    """Return what ``encode_prompt`` makes of the captions: text states, and the pooled ones."""
    pipeline = plain(folder)
    if name.startswith("sd-"):
        return [pipeline.encode_prompt(CAPTIONS, "cpu", 1, do_classifier_free_guidance=False)[0]]
    if name == "sdxl":
        encoded = pipeline.encode_prompt(CAPTIONS, device="cpu", do_classifier_free_guidance=False)
        return [encoded[0], encoded[2]]
    if name.startswith("sd3"):
        longest = 20 if pipeline.tokenizer_3 else 256
        encoded = pipeline.encode_prompt(
            CAPTIONS, None, None, "cpu", do_classifier_free_guidance=False, max_sequence_length=longest
        )
        return [encoded[0], encoded[2]]
    return list(pipeline.encode_prompt(CAPTIONS, None, "cpu", max_sequence_length=20)[:2])


@EVERY
def test_captions_are_encoded_as_the_pipeline_does(name: str, base: Base) -> None:
    family = load(base(name))
    condition = family.encode_text(CAPTIONS)
    text = family.text(condition) if isinstance(family, sd3.StableDiffusion3) else condition["text"]
    found = [text, condition["pooled"]] if "pooled" in condition else [text]
    for ours, theirs in zip(found, said_by_pipeline(name, base(name)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("name", "guidance"), GUIDED)
def test_pictures_are_those_of_the_pipeline(name: str, guidance: float, base: Base) -> None:
    pipeline = plain(base(name))
    longest = {} if name.startswith("sd-") or name == "sdxl" else {"max_sequence_length": 20}
    if name == "sd3-without-t5":
        longest = {"max_sequence_length": 256}
    expected = pipeline(
        "red circle",
        height=SIDE,
        width=2 * SIDE,
        generator=torch.Generator().manual_seed(9),
        num_inference_steps=4,
        guidance_scale=guidance,
        **longest,
    ).images[0]
    (found,) = draw(
        load(base(name)), ["red circle"], [""], [9],
        steps=4, guidance=guidance, height=SIDE, width=2 * SIDE,
    )  # fmt: skip
    assert found.size == (2 * SIDE, SIDE)
    assert np.abs(np.asarray(found, dtype=int) - np.asarray(expected, dtype=int)).max() <= 1


@EVERY
def test_latents_are_scaled_and_shifted_there_and_back(name: str, base: Base) -> None:
    family, vae = load(base(name)), plain(base(name)).vae
    pixels = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mode = vae.encode(pixels).latent_dist.mode()
    shift = vae.config.shift_factor or 0.0
    found = family.encode_images(pixels)
    torch.testing.assert_close(found, (mode - shift) * vae.config.scaling_factor)
    assert found.shape[1:] == family.latent_shape(SIDE, SIDE)
    assert (shift != 0) == name.startswith(("sd3", "flux"))
    with torch.no_grad():
        expected = vae.decode(mode).sample[0].permute(1, 2, 0) * 127.5 + 127.5
    drawn = np.asarray(family.decode(found)[0], dtype=float)
    assert np.abs(drawn - expected.clamp(0, 255).numpy()).max() <= 0.6


def test_sdxl_is_told_nothing_as_zeros(base: Base, tmp_path: Path) -> None:
    empty, word = (load(base("sdxl")).encode_text([text]) for text in ("", "red"))
    assert not bool(empty["text"].any() or empty["pooled"].any())
    assert bool(word["text"].any() and word["pooled"].any())
    save(lambda: sdxl(force_zeros=False), tmp_path / "base")
    pipeline, found = plain(tmp_path / "base"), load(tmp_path / "base").encode_text([""])
    expected = pipeline.encode_prompt("", device="cpu", do_classifier_free_guidance=False)
    torch.testing.assert_close(found["text"], expected[0])
    torch.testing.assert_close(found["pooled"], expected[2])


def test_sdxl_pictures_need_not_overflow_in_half_precision(base: Base, tmp_path: Path) -> None:
    """Weights kept in float16 whose activations exceed its largest number, 65504, as SDXL's own do."""
    folder = tmp_path / "base"
    for path in base("sdxl").rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(base("sdxl"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = {key: value.half() for key, value in load_file(file).items()}
    tensors["decoder.conv_in.weight"] *= 1e4
    save_file(tensors, file)
    latents = initial_noise([1], (4, 8, 8))
    half = AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float16)
    assert not bool(half.decode(latents.half() / 0.13025, return_dict=False)[0].isfinite().all())
    family = load(folder)
    (found,) = family.decode(latents)
    with torch.no_grad():
        exact = plain(folder).vae.decode(latents / 0.13025, return_dict=False)[0]
    assert bool(exact.isfinite().all())
    expected = (exact[0].permute(1, 2, 0) * 127.5 + 127.5).clamp(0, 255).numpy()
    assert np.abs(np.asarray(found, dtype=float) - expected).max() <= 0.6


def test_encoders_kept_in_half_precision_run_in_float32(base: Base, tmp_path: Path) -> None:
    DiffusionPipeline.from_pretrained(base("sd-v"), torch_dtype=torch.float16).save_pretrained(tmp_path)
    family = load(tmp_path)
    assert family.encode_text(["red"])["text"].dtype == torch.float32
    assert {value.dtype for value in family.denoiser.parameters()} == {torch.float32}


def test_text_is_masked_where_the_encoder_says_so(tmp_path: Path) -> None:
    save(lambda: stable_diffusion("epsilon", use_attention_mask=True), tmp_path)
    expected = plain(tmp_path).encode_prompt(CAPTIONS, "cpu", 1, do_classifier_free_guidance=False)[0]
    torch.testing.assert_close(load(tmp_path).encode_text(CAPTIONS)["text"], expected)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("sd3", (4, 8, 8), 3.0),
        ("flux-schnell", (4, 8, 8), 1.0),
        # mu is 0.5 at 256 tokens and 1.15 at 4096, a line between: the ends, in latents of 2 x 2 a token.
        ("flux-dev", (4, 32, 32), math.exp(0.5)),
        ("flux-dev", (4, 128, 128), math.exp(1.15)),
    ],
)
def test_training_times_are_shifted_as_drawing_times(
    name: str, shape: tuple[int, int, int], expected: float, base: Base
) -> None:
    family = load(base(name))
    process: Any = family.process
    assert process.shift(shape) == pytest.approx(expected)
    if name.startswith("flux"):
        s = torch.linspace(1, 0.1, 10)
        shifted = expected * s / (1 + (expected - 1) * s)
        torch.testing.assert_close(family.solver(10, shape).timesteps / 1000, shifted)


def test_flux_packs_as_its_pipeline_does() -> None:
    latents = torch.randn(2, 4, 6, 8)
    packed = flux.pack(latents)
    assert torch.equal(packed, flux.FluxPipeline._pack_latents(latents, 2, 4, 6, 8))
    assert torch.equal(flux.unpack(packed, 6, 8), latents)


def test_flux_dev_hears_its_guidance_and_trains_at_1(base: Base) -> None:
    family = load(base("flux-dev"))
    condition, noise = family.encode_text(["red"]), initial_noise([1], (4, 8, 8))
    t = torch.tensor([500.0])
    with torch.no_grad():
        trained = family.predict(noise, t, condition)
        unguided = family.predict(noise, t, condition | {"guidance": torch.ones(1)})
        guided = family.predict(noise, t, condition | {"guidance": torch.full((1,), 3.5)})
    assert torch.equal(trained, unguided)
    assert not torch.equal(trained, guided)
    one, other = (sample(family, condition, None, noise, steps=2, guidance=w) for w in (1.0, 3.5))
    assert not torch.equal(one, other)


def test_flux_schnell_says_that_it_takes_no_guidance(base: Base) -> None:
    family = load(base("flux-schnell"))
    condition, noise = family.encode_text(["red"]), initial_noise([1], (4, 8, 8))
    plainly = sample(family, condition, None, noise, steps=2, guidance=1.0)
    with pytest.warns(UserWarning, match=r"takes no guidance: 7\.5 changes nothing"):
        guided = sample(family, condition, None, noise, steps=2, guidance=7.5)
    assert torch.equal(plainly, guided)


@pytest.mark.parametrize(("name", "step"), [("sdxl", 4), ("sd3", 8), ("flux-dev", 8)])
def test_sizes_off_the_grid_are_refused(name: str, step: int, base: Base) -> None:
    family = load(base(name))
    assert family.latent_shape(step, 2 * step)[1:] == (step // 4, 2 * step // 4)
    with pytest.raises(ValueError, match=f"{step + 2}x{step} is not a multiple of {step} pixels"):
        family.latent_shape(step, step + 2)


def test_the_native_size_is_the_pipelines(base: Base) -> None:
    assert [load(base(name)).resolution for name in ("sd-v", "sdxl", "sd3")] == [32, 32, 32]
    assert load(base("flux-dev")).resolution == 128 * 4


def test_edm_is_refused(base: Base, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text((base("sdxl") / "model_index.json").read_text())
    (tmp_path / "scheduler").mkdir()
    settings = {"_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": "v_prediction"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="EDM"):
        _ = load(tmp_path).process


@EVERY
def test_a_batch_can_lose_some_of_its_pictures_on_its_way(name: str, base: Base) -> None:
    """What is left ends where it would have alone; the last look is no farther from that than the first."""
    family = load(base(name))
    guidance = 1.0 if name == "flux-schnell" else 3.0
    captions, seeds = ["red circle", "blue square", "a green one"], [3, 4, 5]
    shape = family.latent_shape(SIDE, SIDE)

    def trajectory(rows: list[int]) -> Trajectory:
        negative = family.encode_text([""] * len(rows)) if contrasts(family, guidance) else None
        condition = family.encode_text([captions[row] for row in rows])
        noise = initial_noise([seeds[row] for row in rows], shape)
        return Trajectory(family, condition, negative, noise, steps=6, guidance=guidance)

    together, alone, off = trajectory([0, 1, 2]), trajectory([2]), []
    for done, (t, own) in enumerate(zip(together.times, alone.times, strict=True)):
        if done == 3:
            together.keep([0, 2])
        together.step(t)
        alone.step(own)
        off.append(together.look()[-1])
    assert len(together.latents) == 2
    torch.testing.assert_close(together.latents[1], alone.latents[0], atol=1e-3, rtol=1e-3)
    distances = [float((look - together.latents[1]).abs().mean()) for look in off]
    assert distances[-1] < 1e-3 + distances[0]
