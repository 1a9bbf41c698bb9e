"""From looks at pairs to losses: it asks the plan what its loss needs, so that the trainer need not.

No method is named here: what it is called, what it compares and whom it asks stand in its file
(``objectives/NAME.py``) and reach this one as an ``IterationPlan``.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from spin_engine.batches import Batch, Batches, residuals
from spin_engine.families.family import Family
from spin_engine.hyperparameters import IterationPlan
from spin_engine.itinerary import Look
from spin_engine.objectives import safeguard
from spin_engine.objectives.errors import errors_of
from spin_engine.policy import swapped, trained
from spin_engine.processes.process import Process
from spin_engine.readings import readings
from spin_engine.rivals import Rivals


class Losses:
    """The losses of one iteration."""

    def __init__(
        self,
        family: Family,
        batches: Batches,
        plan: IterationPlan,
        *,
        rivals: Rivals | None,
        reference: Mapping[str, Tensor] | None,
    ) -> None:
        """Prepare.

        Args:
            family: from ``policy.trainable``.
            batches: of the same family.
            plan: which loss, and what it needs.
            rivals: what winners are compared with; None for methods that do not.
            reference: the frozen reference's trainable parameters, to ask it online; None when there is none,
                or what it would answer came with the rivals.
        """
        assert (plan.rivals == "none") == (rivals is None), "rivals are for methods that compare"
        assert (plan.reference != "none" and not plan.cached) == (reference is not None), "a needless model"
        self._family = family
        self._parameters = trained(family.denoiser)
        self._batches = batches
        self._plan = plan
        self._rivals = rivals
        self._reference = reference

    def of(self, looks: Sequence[Look]) -> tuple[Tensor, Tensor]:
        """Return the losses of a micro-batch, (B,), and what to note, (B, 6): loss, t, m_w, m_l, r_w, r_l."""
        b, plan, rivals = len(looks), self._plan, self._rivals
        if rivals is None:
            batch = self._batches.batch(looks, None)
        else:
            batch = self._batches.batch(looks, rivals.latents(looks), rivals.states(looks))
        answers, known = self._ask(looks, batch) if plan.reference != "none" else (None, {})
        residual = residuals(self._family, batch)
        means = residual.square().mean(dim=(1, 2, 3))
        if rivals is not None:
            known["rival"] = means[b:]
        if plan.safeguard is not None:
            known["share"] = safeguard.rival_share(residual[:b], residual[b:], plan.safeguard)
        if answers is not None:
            known["product"] = (residual[:b] * answers).mean(dim=(1, 2, 3))
        t, process = batch.t[:b], self._family.process
        known |= {"snr": process.snr(t), "x_0": x_0_factor(process, t)}
        errors = errors_of(means[:b], **known)
        losses = plan.loss(errors, **plan.constants)
        columns = [losses, t.float(), errors.winner, errors.rival]
        columns += [errors.reference_winner, errors.reference_rival]
        return losses, torch.stack([column.detach() for column in columns], dim=1)

    def _ask(self, looks: Sequence[Look], batch: Batch) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return the reference's residuals on the winners, if they are needed, and r_w and r_l, each (B,)."""
        rivals, b, plan = self._rivals, len(looks), self._plan
        answers = None
        if self._reference is None:
            assert rivals is not None, "what is cached lies with the rivals"
            means = rivals.reference(looks).T.to(self._family.device)
            if plan.reference == "answers":
                answers = rivals.answers(looks).to(self._family.device)
        else:
            with torch.no_grad(), swapped(self._parameters, self._reference):
                residual = residuals(self._family, batch)
            means = residual.square().mean(dim=(1, 2, 3)).view(-1, b)
            if plan.reference == "answers":
                answers = residual[:b]
        winner, rival = means
        if plan.sampler_steps is not None and plan.judge == "opponent":
            rival = torch.zeros_like(rival)  # its own answer is the target
        return answers, {"reference_winner": winner, "reference_rival": rival}

    def readings(self, noted: Tensor) -> dict[str, float]:
        """Return a step's numbers by name, from what was noted of all its looks, (B, 6) on the CPU."""
        return readings(noted, self._family.process.timesteps)


def x_0_factor(process: Process, t: Tensor) -> Tensor:
    """Return what a squared error of the answer is to be multiplied with to be one of x_0, float32 (B,).

    Both x_t and the answer are linear in x_0 and noise. Along dx_0 = 1, dn = -sqrt(SNR), which leaves x_t as
    it is, the answer changes by target(1, 0) - sqrt(SNR) target(0, 1), and the factor is its inverse squared:
    1 / SNR for epsilon, 1 / (SNR + 1) for v, s^2 for the velocity of x_t = (1 - s) x_0 + s n.

    Args:
        process: of the family.
        t: times, (B,).
    """
    one = torch.ones(len(t), 1, 1, 1, device=t.device)
    none = torch.zeros_like(one)
    noise = process.snr(t).sqrt() * process.target(none, one, t).view(-1)
    return (process.target(one, none, t).view(-1) - noise).square().reciprocal()
