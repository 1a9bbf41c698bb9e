"""A running mean of the weights, whose noise is less than that of the last step's.

After step k, counted from 0, with d the decay:

    d_k = min(d, (1 + k) / (10 + k)),    mean = d_k mean + (1 - d_k) theta

The ramp lets a short iteration leave its start behind (as in diffusers' EMAModel); without it 50 steps at
0.9999 would publish the opponent. By hand: mean 0, theta 1 for ever and d = 0.9 give 0.9 after step 0, then
0.9 + 0.1 (1 - 2/11) = 0.981818.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from spin_engine.sharding import part


class RunningMean:
    """The mean of named parameters, float32, beside them on their device, split as they are."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """Start at the parameters as they are."""
        self._parameters = parameters
        self._decay = decay
        self.values: dict[str, Tensor] = {name: value.detach().clone() for name, value in parameters.items()}

    def update(self, step: int) -> None:
        """Take in the parameters as step ``step``, from 0, left them."""
        keep = min(self._decay, (1 + step) / (10 + step))
        new = [part(value.detach()) for value in self._parameters.values()]
        torch._foreach_lerp_([part(mean) for mean in self.values.values()], new, 1 - keep)  # no public one
