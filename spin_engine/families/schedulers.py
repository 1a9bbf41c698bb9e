"""From a pipeline's scheduler config to the process that training needs and the solver that drawing needs."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from spin_engine.processes.discrete import Discrete
from spin_engine.processes.flow import Flow

Tokens = Callable[[tuple[int, ...]], int]
"""How many tokens a transformer makes of latents of a shape (C, H, W)."""


def settings_of(base: Path) -> dict[str, Any]:
    """Return the scheduler config of the pipeline in ``base``."""
    return dict(DDPMScheduler.load_config(base, subfolder="scheduler"))


def discrete_process(settings: Mapping[str, Any], device: torch.device) -> Discrete:
    """Return the process of a scheduler of DDPM's kind, whichever solver it names.

    Raises:
        ValueError: the denoiser predicts something that cannot be trained.
    """
    if str(settings.get("_class_name")).startswith("EDM"):
        raise ValueError("the model is trained with EDM's preconditioning, which is not supported")
    scheduler = DDPMScheduler.from_config(settings)
    prediction = scheduler.config.prediction_type
    if prediction not in ("epsilon", "v_prediction"):
        raise ValueError(f"the model predicts {prediction!r}; only epsilon and v_prediction can be trained")
    return Discrete(scheduler.alphas_cumprod.float().to(device), prediction)


def discrete_solver(settings: Mapping[str, Any], steps: int, device: torch.device) -> Any:
    """Return DPM-Solver++, second order, from the very last timestep whatever the pipeline's spacing.

    It adds no noise of its own (arXiv 2211.01095).
    """
    solver = DPMSolverMultistepScheduler.from_config(dict(settings), timestep_spacing="linspace")
    solver.set_timesteps(steps, device=device)
    return solver


def flow_process(settings: Mapping[str, Any], tokens: Tokens) -> Flow:
    """Return the process of a flow scheduler, its training times shifted as it shifts those of drawing."""
    scheduler = _euler(settings)
    if not scheduler.config.use_dynamic_shifting:
        return Flow(lambda _: float(scheduler.config.shift))
    linear = scheduler.config.time_shift_type == "linear"

    def shift(shape: tuple[int, ...]) -> float:
        mu = _mu(scheduler, tokens(shape))
        return mu if linear else math.exp(mu)

    return Flow(shift)


def flow_solver(
    settings: Mapping[str, Any], steps: int, tokens: int, device: torch.device, *, even: bool = False
) -> Any:
    """Return Euler's method along the flow, with the scheduler's times.

    Args:
        settings: the scheduler's config.
        steps: of the solver.
        tokens: of the transformer, for schedulers that shift times by the picture's size.
        device: where the times are.
        even: start from s = 1, 1 - 1/steps, ... (FLUX), not from the scheduler's own range (SD3).
    """
    solver = _euler(settings)
    mu = _mu(solver, tokens) if solver.config.use_dynamic_shifting else None
    sigmas = np.linspace(1.0, 1 / steps, steps) if even else None
    solver.set_timesteps(steps, device=device, sigmas=sigmas, mu=mu)
    return solver


def _euler(settings: Mapping[str, Any]) -> Any:
    # A seed must decide a picture, so noise may not be added on the way.
    return FlowMatchEulerDiscreteScheduler.from_config(dict(settings), stochastic_sampling=False)


def _mu(scheduler: Any, tokens: int) -> float:
    """Return the log of the shift, a line through two numbers of tokens, as diffusers' pipelines draw it."""
    config = scheduler.config
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return float(tokens * slope + (config.base_shift - slope * config.base_image_seq_len))
