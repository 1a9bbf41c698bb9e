"""AdamW, its learning rate over an iteration, and its state as safetensors."""

import importlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spin_engine import sharding

Shape = Literal["constant", "linear", "cosine"]
Kind = Literal["adamw", "adamw8bit"]


def learning_rate(step: int, *, steps: int, peak: float, warmup: float, shape: Shape) -> float:
    """Return the rate of a step: up evenly to the peak, then as ``shape`` says towards 0.

    Args:
        step: from 0.
        steps: of the iteration.
        peak: reached at the end of the warm-up.
        warmup: its share of the steps, so that a short iteration has a short one.
        shape: what follows.
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[shape]
    return peak * factor


class Optimizer:
    """AdamW on named parameters: fused, or with 8-bit moments."""

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], *, weight_decay: float, kind: Kind = "adamw"
    ) -> None:
        """Prepare.

        Args:
            parameters: what to train, by name.
            weight_decay: decoupled.
            kind: ``adamw8bit`` quantises the moments of large tensors in blocks (arXiv 2110.02861).

        Raises:
            ValueError: bitsandbytes is asked for and not installed.
        """
        assert parameters, "nothing to train"
        self.parameters = dict(parameters)
        self._fused = kind == "adamw"
        self.adam: Any
        if kind == "adamw":
            self.adam = torch.optim.AdamW(
                self.parameters.values(), lr=0.0, weight_decay=weight_decay, fused=True
            )
        else:
            if importlib.util.find_spec("bitsandbytes") is None:
                raise ValueError(
                    'optimizer="adamw8bit" needs the bitsandbytes package: '
                    'pip install "spindle[eightbit]", or use "adamw"'
                )
            made = importlib.import_module("bitsandbytes").optim.AdamW8bit
            self.adam = made(list(self.parameters.values()), lr=0.0, weight_decay=weight_decay)

    def step(self, rate: float) -> None:
        """Apply the gradients at a learning rate, and forget them."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.forget()

    def gradients(self) -> list[Tensor]:
        """Return the gradients that there are, in the order of the parameters."""
        return [value.grad for value in self.parameters.values() if value.grad is not None]

    def forget(self) -> None:
        """Drop the gradients."""
        for value in self.parameters.values():
            value.grad = None

    def clip(self, largest: float, *, scale: float = 1.0) -> Tensor:
        """Return the gradients' norm, shape (), and let the next step scale them to ``largest`` at most.

        The scale rides on fused AdamW's own pass over the gradients: one walk through memory less.

        Args:
            largest: norm.
            scale: what the loss was multiplied by; the norm is that of the gradients without it.
        """
        gradients = self.gradients()
        norm = sharding.norm(gradients) / scale
        divisor = (norm / largest).clamp(min=1.0) * scale
        if self._fused and not sharding.is_split(gradients):
            self.adam.grad_scale = divisor
        elif bool(divisor.isfinite()):
            torch._foreach_div_([sharding.part(each) for each in gradients], divisor)  # no public one
        return norm

    def moments(self) -> dict[str, Tensor]:
        """Return the moments; a parameter that no loss depends on, as SD3's last block has, has none."""
        state = self.adam.state
        return {
            f"{name}.{moment}": torch.as_tensor(kept).detach()
            for name, value in self.parameters.items()
            for moment, kept in state.get(value, {}).items()
        }

    def load(self, path: Path) -> None:
        """Take up ``moments`` from a file; ValueError if they are of other parameters."""
        states: dict[str, dict[str, Any]] = {}
        for key, tensor in load_file(path).items():
            name, _, moment = key.rpartition(".")
            states.setdefault(name, {})[moment] = tensor.clone()
        if not set(states) <= set(self.parameters):
            raise ValueError(f"{path} belongs to a model with other trainable weights")
        for name, state in states.items():
            value = self.parameters[name]
            if any(
                moment in ("exp_avg", "state1") and tensor.numel() != value.numel()
                for moment, tensor in state.items()
            ):
                raise ValueError(f"{path} belongs to a model with other trainable weights")
            self.adam.state[value] = {
                moment: self._as_held(tensor, value) for moment, tensor in state.items()
            }

    def _as_held(self, tensor: Tensor, value: nn.Parameter) -> Tensor | int:
        if tensor.shape == value.shape and tensor.ndim:
            return sharding.split_like(tensor, value)
        return tensor.to(value.device) if self._fused or tensor.ndim else int(tensor)
