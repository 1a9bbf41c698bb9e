"""Drawing with the family's solver, which adds no noise of its own: a seed decides a picture.

Each picture starts from the noise of its own seed, so what it shares a batch with does not change it. How a
kernel splits its work can depend on the size of the batch: between batch sizes latents agree to about 1e-4,
between equal sizes exactly.
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from spin_engine.families.family import Condition, Family

BATCH = 16


def initial_noise(seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
    """Return (B, C, H, W) standard normal: for each seed what a diffusers pipeline starts from.

    The numbers come from the CPU's generator, so that they are the same on every device.
    """
    return torch.cat(
        [torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def contrasts(family: Family, guidance: float) -> bool:
    """Return whether guidance is a second forward pass, with the negative prompt."""
    return guidance != 1 and family.guidance == "classifier_free"


class Trajectory:
    """A batch on its way from noise to pictures, a step at a time.

    Attributes:
        times: of the steps, in order: what ``step`` is called with.
        latents: x_t, (B, C, H, W), on the family's device.
    """

    def __init__(
        self,
        family: Family,
        condition: Condition,
        negative: Condition | None,
        noise: Tensor,
        *,
        steps: int,
        guidance: float,
    ) -> None:
        """Stand at the noise; the arguments are those of ``sample``."""
        self._family = family
        self._solver = family.solver(steps, (noise.shape[1], noise.shape[2], noise.shape[3]))
        self._guided = contrasts(family, guidance)
        self._guidance = guidance
        if family.guidance == "none" and guidance != 1:
            warnings.warn(f"this model takes no guidance: {guidance} changes nothing", stacklevel=3)
        if family.guidance == "embedded":
            condition = condition | {"guidance": torch.full((len(noise),), guidance, device=family.device)}
        if self._guided:
            assert negative is not None, "guidance needs something to be guided away from"
            condition = {name: torch.cat([negative[name], condition[name]]) for name in condition}
        self._condition = condition
        self._last: tuple[Tensor, Tensor, Tensor] | None = None
        self.latents = noise.to(family.device)
        self.times: Tensor = self._solver.timesteps

    @torch.inference_mode()
    def step(self, t: Tensor) -> None:
        """Take the step at the time t, which is a scalar."""
        latents, guided = self.latents, self._guided
        x_t = torch.cat([latents, latents]) if guided else latents
        answer = self._family.predict(x_t, t.expand(len(x_t)), self._condition)
        if guided:
            away, towards = answer.chunk(2)
            answer = away + self._guidance * (towards - away)
        self._last = (latents, answer, t)
        self.latents = self._solver.step(answer, t, latents, return_dict=False)[0]

    @torch.inference_mode()
    def look(self) -> Tensor:
        """Return the clean latents (B, C, H, W) that the last step's answer points at."""
        assert self._last is not None, "there is nothing to see before the first step"
        latents, answer, t = self._last
        return self._family.process.clean(latents, answer, t.expand(len(latents))).float()

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these of the batch alone."""
        chosen = torch.tensor(rows, device=self.latents.device)
        both = torch.cat([chosen, chosen + len(self.latents)]) if self._guided else chosen
        self._condition = {name: each[both] for name, each in self._condition.items()}
        self.latents = self.latents[chosen]
        self._last = None
        past = getattr(self._solver, "model_outputs", None)  # of a solver of several steps
        if past is not None:
            self._solver.model_outputs = [None if each is None else each[chosen] for each in past]


def sample(
    family: Family,
    condition: Condition,
    negative: Condition | None,
    noise: Tensor,
    *,
    steps: int,
    guidance: float,
    each_step: Callable[[], None] | None = None,
    each_state: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Return clean latents (B, C, H, W), float32 on the family's device.

    Args:
        family: the model that draws.
        condition: encoded captions, batch of B.
        negative: what to be guided away from, batch of B; used, and not None, where ``contrasts``.
        noise: (B, C, H, W) from ``initial_noise``.
        steps: forward passes; each is of 2B samples when guided.
        guidance: w in negative + w (condition - negative), or the denoiser's own input; 1 means the model as
            it is.
        each_step: called after every step.
        each_state: called before every step with x_t, (B, C, H, W).
    """
    path = Trajectory(family, condition, negative, noise, steps=steps, guidance=guidance)
    for t in path.times:
        if each_state is not None:
            each_state(path.latents)
        path.step(t)
        if each_step is not None:
            each_step()
    return path.latents.float()


def draw(
    family: Family,
    prompts: Sequence[str],
    negative_prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    height: int | None = None,
    width: int | None = None,
    each_step: Callable[[], None] | None = None,
) -> list[Image.Image]:
    """Return one picture for each prompt.

    The same prompt, negative prompt, seed, steps, guidance and size give the same picture, up to one grey
    level, whatever else is drawn beside it; and the same one that the plain diffusers pipeline draws with
    ``torch.Generator().manual_seed(seed)`` and the family's solver: DPMSolverMultistepScheduler with
    ``timestep_spacing="linspace"``, or FlowMatchEulerDiscreteScheduler.

    Args:
        family: the model that draws.
        prompts: what to draw.
        negative_prompts: what to be guided away from, one a prompt; "" for nothing in particular.
        seeds: of the noise to start from, one a prompt.
        steps: sampler steps.
        guidance: 1: none. A negative prompt is for classifier-free guidance alone.
        height: in pixels; None: the model's own.
        width: likewise.
        each_step: called after every sampler step.

    Raises:
        ValueError: a size that the model's latent grid cannot hold.
    """
    assert len(prompts) == len(negative_prompts) == len(seeds), "one negative prompt and one seed a prompt"
    shape = family.latent_shape(height or family.resolution, width or family.resolution)
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        part = slice(start, start + BATCH)
        negative = family.encode_text(negative_prompts[part]) if contrasts(family, guidance) else None
        latents = sample(
            family,
            family.encode_text(prompts[part]),
            negative,
            initial_noise(seeds[part], shape),
            steps=steps,
            guidance=guidance,
            each_step=each_step,
        )
        pictures += family.decode(latents)
    return pictures
