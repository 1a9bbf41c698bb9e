"""How much drawing rivals costs over the U-Net's forward passes that it cannot do without."""

import torch

from bench.measure import Comparison, compare
from spin_engine.families.family import Family
from spin_engine.sampler import initial_noise, sample

CAPTIONS = ("red apple", "grinning face", "cat", "hot beverage", "owl", "lemon", "fish", "bread")


def measure_rivals(family: Family, *, batch: int, steps: int, guidance: float, repeats: int) -> Comparison:
    """Compare drawing ``batch`` rivals, latents kept, with as many bare forward passes on the same tensors.

    Args:
        family: the model that draws.
        batch: rivals in one call.
        steps: sampler steps, one forward pass each, of 2 x ``batch`` samples when guided.
        guidance: 1: none.
        repeats: pairs of measurements.
    """
    captions = [CAPTIONS[index % len(CAPTIONS)] for index in range(batch)]
    condition = family.encode_text(captions)
    negative = family.encode_text([""] * batch) if guidance != 1 else None
    noise = initial_noise(range(batch), family.latent_shape(family.resolution, family.resolution))
    both = {
        name: value if negative is None else torch.cat([negative[name], value])
        for name, value in condition.items()
    }
    x_t = noise.to(family.device) if negative is None else torch.cat([noise, noise]).to(family.device)
    times = torch.linspace(family.process.timesteps - 1, 0, steps).long().to(family.device)

    def ours() -> None:
        sample(family, condition, negative, noise, steps=steps, guidance=guidance)

    @torch.inference_mode()
    def bare() -> None:
        for t in times:
            family.predict(x_t, t.expand(len(x_t)), both)

    return compare(ours, bare, repeats=repeats, device=family.device)
