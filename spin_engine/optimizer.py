"""AdamW, its learning rate over an iteration, and its state as safetensors."""

import math
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Shape = Literal["constant", "linear", "cosine"]
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def learning_rate(step: int, *, steps: int, peak: float, warmup: float, shape: Shape) -> float:
    """Return the rate of a step: up evenly to the peak, then as ``shape`` says towards 0.

    Args:
        step: from 0.
        steps: of the iteration.
        peak: reached at the end of the warm-up.
        warmup: its share of the steps.
        shape: what follows.
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[shape]
    return peak * factor


class Optimizer:
    """Fused AdamW on the trainable parameters of a module, by name."""

    def __init__(self, module: nn.Module, *, weight_decay: float) -> None:
        """Take every parameter that requires a gradient."""
        named = {name: value for name, value in module.named_parameters() if value.requires_grad}
        assert named, "nothing to train"
        self.parameters = named
        self._adam = torch.optim.AdamW(named.values(), lr=0.0, weight_decay=weight_decay, fused=True)

    def step(self, rate: float) -> None:
        """Apply the gradients at a learning rate, and forget them."""
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self.forget()

    def forget(self) -> None:
        """Drop the gradients."""
        self._adam.zero_grad(set_to_none=True)

    def clip(self, largest: float) -> Tensor:
        """Return the gradients' norm, shape (), and let the next step scale them to ``largest`` at most.

        The scale rides on AdamW's own pass over the gradients: one walk through memory less.
        """
        gradients = [value.grad for value in self.parameters.values() if value.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        self._adam.grad_scale = (norm / largest).clamp(min=1.0)  # type: ignore[attr-defined]  # the kernel reads it
        return norm

    def save(self, path: Path) -> None:
        """Write the moments."""
        state = self._adam.state
        tensors = {
            f"{name}.{moment}": state[value][moment].contiguous()
            for name, value in self.parameters.items()
            if value in state
            for moment in MOMENTS
        }
        save_file(tensors, path)

    def load(self, path: Path) -> None:
        """Take up the moments that ``save`` wrote; ValueError if they are of other parameters."""
        tensors = load_file(path)
        known = {f"{name}.{moment}" for name in self.parameters for moment in MOMENTS}
        if tensors and set(tensors) != known:
            raise ValueError(f"{path} belongs to a model with other trainable weights")
        for name, value in self.parameters.items() if tensors else ():
            self._adam.state[value] = {
                moment: tensors[f"{name}.{moment}"].clone().to(value.device) for moment in MOMENTS
            }
