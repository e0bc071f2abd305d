"""Priors over a flat latent: fixed, or learned with the rest of a VAE so that prior samples look like encoded data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from miaobi.sampling.noise import noise, uniform

PriorName = Literal["standard", "mixture", "flow"]


class Prior(nn.Module, ABC):
    """A density over ``[B, size]``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """``[B]`` nats."""

    @abstractmethod
    def draw(self, seeds: Tensor, temperature: float) -> Tensor:
        """``[B, size]``; ``temperature`` scales the noise."""


class StandardPrior(Prior):
    """The unit normal (Kingma and Welling 2014)."""

    def log_prob(self, z: Tensor) -> Tensor:
        return log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)

    def draw(self, seeds: Tensor, temperature: float) -> Tensor:
        return temperature * noise(seeds, "prior", (self.size,))


class MixturePrior(Prior):
    """Diagonal normals with learned weights, centres and widths (after VampPrior, Tomczak and Welling 2018)."""

    def __init__(self, size: int, components: int) -> None:
        super().__init__(size)
        self.logits = nn.Parameter(torch.zeros(components))
        self.centres = nn.Parameter(torch.randn(components, size))
        self.log_widths = nn.Parameter(torch.zeros(components, size))

    def log_prob(self, z: Tensor) -> Tensor:
        each = log_normal(z[:, None], self.centres, self.log_widths).sum(2)
        return torch.logsumexp(each + self.logits.log_softmax(0), dim=1)

    def draw(self, seeds: Tensor, temperature: float) -> Tensor:
        steps = self.logits.softmax(0).cumsum(0)
        rows = torch.searchsorted(steps, uniform(seeds, "component")).clamp(max=len(steps) - 1)
        return self.centres[rows] + temperature * self.log_widths[rows].exp() * noise(seeds, "prior", (self.size,))


class FlowPrior(Prior):
    """A unit normal, bent by affine couplings that start as the identity (Dinh et al. 2017, "RealNVP")."""

    def __init__(self, size: int, couplings: int, width: int) -> None:
        super().__init__(size)
        self.couplings = nn.ModuleList(_Coupling(size, width, first=index % 2 == 0) for index in range(couplings))

    def log_prob(self, z: Tensor) -> Tensor:
        total = torch.zeros(len(z), device=z.device)
        for coupling in self._each():
            z, grown = coupling.inward(z)
            total = total + grown
        return total + log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)

    def draw(self, seeds: Tensor, temperature: float) -> Tensor:
        z = temperature * noise(seeds, "prior", (self.size,))
        for coupling in reversed(self._each()):
            z = coupling.outward(z)
        return z

    def _each(self) -> list[_Coupling]:
        return [coupling for coupling in self.couplings if isinstance(coupling, _Coupling)]


class _Coupling(nn.Module):
    """Moves the coordinates of one parity by what those of the other say."""

    kept: Tensor

    def __init__(self, size: int, width: int, *, first: bool) -> None:
        super().__init__()
        self.register_buffer("kept", (torch.arange(size) % 2 == int(first)).float(), persistent=False)
        self.layers = nn.Sequential(
            nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * size)
        )
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def inward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the unit normal, with the log-determinant ``[B]``."""
        log_scale, shift = self._moves(z)
        return z * log_scale.exp() + shift, log_scale.sum(1)

    def outward(self, z: Tensor) -> Tensor:
        """The inverse of `inward`."""
        log_scale, shift = self._moves(z)
        return (z - shift) * (-log_scale).exp()

    def _moves(self, z: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.layers(z * self.kept).float().chunk(2, 1)
        moved = 1 - self.kept
        # Bounded scales keep the inverse finite far from the data.
        return 2 * torch.tanh(raw / 2) * moved, shift * moved


def make_prior(name: PriorName, size: int, components: int) -> Prior:
    """The prior of a name; ``components`` are a mixture's normals."""
    if name == "mixture":
        return MixturePrior(size, components)
    return FlowPrior(size, 8, max(64, 4 * size)) if name == "flow" else StandardPrior(size)


def log_normal(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """Log-density of normals, elementwise, nats."""
    return -0.5 * (((x - mean) * (-log_scale).exp()).square() + math.log(2 * math.pi)) - log_scale
