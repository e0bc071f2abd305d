"""The five adversarial losses, item by item, and the penalties on a discriminator's gradients.

Logits are the discriminator's raw scores ``[B]``, high for real. Every function gives ``[B]`` and never mixes items,
so losses of micro-batches add up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossName = Literal["relativistic", "non_saturating", "least_squares", "hinge", "wasserstein_gp"]


class Adversarial(ABC):
    """What each side minimises."""

    paired: ClassVar[bool] = False
    """Whether the generator's loss needs the real logits too."""
    discriminator_steps: ClassVar[int] = 1
    """The discriminator's turns for one of the generator's, as published."""
    zero_centred: ClassVar[float] = 0.0
    """Default weight (gamma) of R1 and of R2."""
    one_centred: ClassVar[float] = 0.0
    """Default weight of the penalty that holds gradient norms at one."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss for pairs of logits."""

    @abstractmethod
    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The generator's loss; ``real`` is read only where `paired`."""

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        """``[B]`` of -1 to 1: whether each real item is taken for real; near 1 throughout, the data is learnt by heart.

        The heuristic r_t of Karras et al. 2020, "Training generative adversarial networks with limited data".
        """
        return torch.sign(real)


class Relativistic(Adversarial):
    """Each fake is judged against one real (Jolicoeur-Martineau 2019; with R1 and R2: Huang et al. 2024)."""

    paired = True
    # Huang et al. tune it for each data set; on 28 x 28 pictures 1 lets the discriminator run away within 1,000 steps.
    zero_centred = 8.0

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(real - fake)

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        # Only differences of these logits mean anything.
        return torch.sign(real - fake)


class NonSaturating(Adversarial):
    """Binary cross-entropy with the generator maximising log D (Goodfellow et al. 2014)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-real) + F.softplus(fake)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-fake)


class LeastSquares(Adversarial):
    """Squared distance to targets 1 and 0 (Mao et al. 2017)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * ((real - 1).square() + fake.square())

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (fake - 1).square()

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.sign(real - 0.5)


class Hinge(Adversarial):
    """Margins of one for the discriminator (Lim and Ye 2017; Miyato et al. 2018)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real) + F.relu(1 + fake)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -fake


class Wasserstein(Adversarial):
    """A critic held near slope one between the two distributions (Gulrajani et al. 2017)."""

    discriminator_steps = 5
    one_centred = 10.0

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -fake

    def confidence(self, real: Tensor, fake: Tensor) -> Tensor:
        # Only differences of these logits mean anything.
        return torch.sign(real - fake)


def adversarial(name: LossName) -> Adversarial:
    """The loss of a name."""
    made: dict[str, type[Adversarial]] = {
        "relativistic": Relativistic,
        "non_saturating": NonSaturating,
        "least_squares": LeastSquares,
        "hinge": Hinge,
        "wasserstein_gp": Wasserstein,
    }
    return made[name]()


def squared_slope(logits: Tensor, inputs: Tensor) -> Tensor:
    """``[B]``: squared norm of each logit's gradient by its own input, differentiable once more.

    This is R1 on data and R2 on samples (Mescheder, Geiger and Nowozin 2018), without the factor gamma / 2.
    """
    (slope,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return slope.float().flatten(1).square().sum(1)


def off_one(squared: Tensor) -> Tensor:
    """``[B]``: squared distance of gradient norms from one (Gulrajani et al. 2017)."""
    return ((squared + 1e-12).sqrt() - 1).square()
