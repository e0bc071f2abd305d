"""What a decoder's outputs say about data in [-1, 1]: Bernoulli, Gaussian, Laplace, discretised logistic."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.sampling.noise import noise, uniform
from miaobi.types import Spec

LikelihoodName = Literal["bernoulli", "gaussian", "laplace", "discretised_logistic"]
ScaleName = Literal["shared", "predicted"]
_FASTER = 10.0
"""Steps that a shared log-scale takes for one of a weight: it has e-folds to go and a rate made for weights."""
_LOG_SCALE = (-7.0, 3.0)
"""Below half an 8-bit step nothing is gained; above the data's range nothing is said."""


class PixelLikelihood(nn.Module, ABC):
    """p(x | outputs) with every dimension independent.

    Args:
        target: what is modelled; ``levels`` says whether data is quantised.
        scale: one learned scale a channel, or one predicted for every dimension.
    """

    scales: ClassVar[bool] = True
    """Whether there is a scale to learn."""

    def __init__(self, target: Spec, scale: ScaleName) -> None:
        super().__init__()
        self.target = target
        self.predicted = scale == "predicted" and self.scales
        self.outputs = target.channels * (2 if self.predicted else 1)
        if self.scales and not self.predicted:
            self.slow_log_scale = nn.Parameter(torch.full((target.channels,), math.log(0.3) / _FASTER))

    @abstractmethod
    def log_prob(self, outputs: Tensor, x: Tensor, seeds: Tensor) -> Tensor:
        """``[B]`` nats of ``x [B, C, *space]`` under ``outputs [B, self.outputs, *space]``, summed over dimensions."""

    @abstractmethod
    def draw(self, outputs: Tensor, seeds: Tensor) -> Tensor:
        """Data ``[B, C, *space]`` drawn from the likelihood."""

    def mean(self, outputs: Tensor) -> Tensor:
        """The likelihood's centre ``[B, C, *space]``."""
        return self.split(outputs)[0]

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Centre and log-scale, broadcast over each other."""
        if self.predicted:
            centre, log_scale = outputs.float().chunk(2, 1)
        else:
            centre = outputs.float()
            log_scale = (_FASTER * self.slow_log_scale).reshape(-1, *[1] * (outputs.ndim - 2))
        return centre, log_scale.clamp(*_LOG_SCALE)


class BernoulliLikelihood(PixelLikelihood):
    """Logits of being +1. Grey values count as probabilities, which makes a score and not a likelihood of them."""

    scales = False

    def log_prob(self, outputs: Tensor, x: Tensor, seeds: Tensor) -> Tensor:
        share = (x.float() + 1) / 2
        return -F.binary_cross_entropy_with_logits(outputs.float(), share, reduction="none").flatten(1).sum(1)

    def draw(self, outputs: Tensor, seeds: Tensor) -> Tensor:
        chance = uniform(seeds, "pixels", outputs.shape[1:])
        return torch.where(chance < outputs.float().sigmoid(), 1.0, -1.0)

    def mean(self, outputs: Tensor) -> Tensor:
        return (outputs.float() / 2).tanh()


class DensityLikelihood(PixelLikelihood):
    """A density; quantised data is dequantised with uniform noise (Theis, van den Oord and Bethge 2016)."""

    def log_prob(self, outputs: Tensor, x: Tensor, seeds: Tensor) -> Tensor:
        centre, log_scale = self.split(outputs)
        step = 2 / (self.target.levels - 1) if self.target.levels else 0.0
        x = x.float()
        if step:
            x = x + step * (uniform(seeds, "dequantise", x.shape[1:]) - 0.5)
        z = (x - centre) * (-log_scale).exp()
        nats = self.log_unit(z) - log_scale + (math.log(step) if step else 0.0)
        return nats.flatten(1).sum(1)

    @abstractmethod
    def log_unit(self, z: Tensor) -> Tensor:
        """The log-density at unit scale, elementwise, nats."""


class GaussianLikelihood(DensityLikelihood):
    """A normal density: squared errors, weighed by a scale that is learned."""

    def log_unit(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi))

    def draw(self, outputs: Tensor, seeds: Tensor) -> Tensor:
        centre, log_scale = self.split(outputs)
        return centre + log_scale.exp() * noise(seeds, "pixels", centre.shape[1:])


class LaplaceLikelihood(DensityLikelihood):
    """A Laplace density: absolute errors, weighed by a scale that is learned."""

    def log_unit(self, z: Tensor) -> Tensor:
        return -z.abs() - math.log(2)

    def draw(self, outputs: Tensor, seeds: Tensor) -> Tensor:
        centre, log_scale = self.split(outputs)
        side = uniform(seeds, "pixels", centre.shape[1:]) - 0.5
        return centre - log_scale.exp() * side.sign() * torch.log1p(-2 * side.abs())


class DiscretisedLogisticLikelihood(PixelLikelihood):
    """A logistic distribution's mass in each quantisation bin, the outer bins open (Salimans et al. 2017)."""

    def __init__(self, target: Spec, scale: ScaleName) -> None:
        if target.levels < 2:
            raise Unsupported(
                "discretised_logistic needs quantised data",
                given=f"levels {target.levels}",
                cure="use the gaussian likelihood",
            )
        super().__init__(target, scale)

    def log_prob(self, outputs: Tensor, x: Tensor, seeds: Tensor) -> Tensor:
        centre, log_scale = self.split(outputs)
        half, sharp = 1 / (self.target.levels - 1), (-log_scale).exp()
        offset = x.float() - centre
        above, below = (offset + half) * sharp, (offset - half) * sharp
        # log(sigmoid(above) - sigmoid(below)) without cancellation.
        inside = F.logsigmoid(above) + F.logsigmoid(-below) + (-torch.expm1(-2 * half * sharp)).log()
        lowest, highest = x <= -1 + half, x >= 1 - half
        nats = torch.where(lowest, F.logsigmoid(above), torch.where(highest, F.logsigmoid(-below), inside))
        return nats.flatten(1).sum(1)

    def draw(self, outputs: Tensor, seeds: Tensor) -> Tensor:
        centre, log_scale = self.split(outputs)
        return (centre + log_scale.exp() * uniform(seeds, "pixels", centre.shape[1:]).logit()).clamp(-1, 1)


def likelihood_class(name: LikelihoodName) -> type[PixelLikelihood]:
    """The likelihood of a name."""
    made: dict[str, type[PixelLikelihood]] = {
        "bernoulli": BernoulliLikelihood,
        "gaussian": GaussianLikelihood,
        "laplace": LaplaceLikelihood,
        "discretised_logistic": DiscretisedLogisticLikelihood,
    }
    return made[name]


def likelihood_name(given: LikelihoodName | None, target: Spec) -> LikelihoodName:
    """The likelihood that was chosen, or the one of the data's own kind."""
    return given or ("discretised_logistic" if target.levels else "gaussian")
