"""From looks at pairs to losses: the one place that knows the method, so that the trainer need not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spin_engine.batches import Batches, errors, residuals
from spin_engine.families.family import Family
from spin_engine.itinerary import Look
from spin_engine.objectives import safeguard, sft, spin
from spin_engine.policy import swapped, trained
from spin_engine.rivals import Rivals


@dataclass(frozen=True)
class SelfPlay:
    """What self-play needs beside the data."""

    rivals: Rivals
    beta: float
    reference: dict[str, Tensor] | None
    """theta_k's trainable parameters, to ask it online; None when its errors came with the rivals."""
    mu: float | None
    """Of the safeguard; None: off."""
    anchor: float
    """Weight of the supervised loss beside the self-play loss."""


class Losses:
    """The losses of one iteration."""

    def __init__(self, family: Family, batches: Batches, selfplay: SelfPlay | None) -> None:
        """Prepare; ``family`` comes from ``policy.trainable``, and no ``selfplay`` means supervision."""
        self._family = family
        self._parameters = trained(family.denoiser)
        self._batches = batches
        self._selfplay = selfplay

    def of(self, looks: Sequence[Look]) -> tuple[Tensor, Tensor]:
        """Return the losses of a micro-batch, (B,), and what to note, (B, 6): loss, t, m_w, m_l, r_w, r_l."""
        if self._selfplay is None:
            batch = self._batches.batch(looks, None)
            winner = errors(self._family, batch)
            losses = sft.loss(winner)
            return losses, torch.stack([losses.detach(), batch.t.float(), winner.detach()], dim=1)
        own, b = self._selfplay, len(looks)
        batch = self._batches.batch(looks, own.rivals.latents(looks))
        if own.reference is None:
            reference = own.rivals.reference(looks).T.to(self._family.device)
        else:
            with torch.no_grad(), swapped(self._parameters, own.reference):
                reference = errors(self._family, batch).view(2, b)
        residual = residuals(self._family, batch)
        winner, rival = residual.square().mean(dim=(1, 2, 3)).split(b)
        if own.mu is not None:
            rival = safeguard.temper(rival, safeguard.rival_share(residual[:b], residual[b:], own.mu))
        pair = spin.PairErrors(winner, rival, reference[0], reference[1])
        losses = spin.loss(pair, own.beta)
        if own.anchor:
            losses = losses + own.anchor * sft.loss(winner)
        columns = [losses, batch.t[:b].float(), winner, rival, reference[0], reference[1]]
        return losses, torch.stack([column.detach() for column in columns], dim=1)

    def readings(self, noted: Tensor) -> dict[str, float]:
        """Return a step's numbers by name, from what was noted of all its looks, (B, 6) on the CPU."""
        if self._selfplay is None:
            return sft.readings(noted[:, 2])
        pair = spin.PairErrors(noted[:, 2], noted[:, 3], noted[:, 4], noted[:, 5])
        return spin.readings(pair, noted[:, 1].long(), self._family.process.timesteps)
