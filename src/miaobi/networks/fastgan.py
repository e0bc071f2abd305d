"""FastGAN's two networks, told apart by the ports: a flat source makes a generator, a flat target a discriminator.

Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.networks._activations import Squash, squash
from miaobi.networks._base import NetworkConfig, SizeTable
from miaobi.networks._few_shot import Examiner, Grower
from miaobi.networks._heads import require_how
from miaobi.networks._noise_inputs import Noises, NoisyNetwork
from miaobi.networks._resampling import Space, coarsest, rungs
from miaobi.types import Field, Form, Size, Spec

_SIZES = SizeTable(width=(8, 16, 48), depth=(1, 1, 1))


class FastGAN(NoisyNetwork):
    """A generator with skip-layer excitation and gated units, or a residual discriminator whose features can be had.

    Beside the paper: an item is normalised by itself in the generator; the discriminator has spectral norms without
    normalisation; resizing is linear; and conditions enter beside the latent and by projection at the score.
    """

    class Config(NetworkConfig):
        """Channels double from ``width`` to at most ``max_width`` with each coarser resolution."""

        width: int = Value(32, ge=1, le=4096, description="channels at the finest resolution")
        max_width: int = Value(256, ge=1, le=8192)
        kernel: int = Value(3, ge=1, le=31, description="odd extent of the convolutions")
        factor: int = Value(2, ge=2, le=8, description="between neighbouring resolutions")
        gap: int = Value(4, ge=1, le=16, description="resolutions between features and those that they excite")
        output: Squash = "tanh"

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Wider and coarser-stepping for sound; a score is not squashed."""
        fine = _fine_end(source, target)
        width, _ = _SIZES.at(size)
        sound = len(fine) == 1
        return cls.Config(
            width=width,
            max_width=8 * width,
            kernel=7 if sound else 3,
            factor=4 if sound else 2,
            output="tanh" if target.space else "none",
        )

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        fine = _fine_end(source, target)
        super().__init__(config, source, target, conditions)
        self.spaces: list[Space] = rungs(fine, coarsest(fine, config.factor), config.factor) or [fine]
        self.channels = [min(config.width * 2**level, config.max_width) for level in range(len(self.spaces))]
        # Small pictures have few resolutions: the farthest pair is excited all the same.
        gap = max(1, min(config.gap, len(self.spaces) - 1))
        self.conditioner = self.make_conditioner(self.channels[-1])
        require_how("fastgan", self.conditioner, "vector")
        self.grower: Grower | None = None
        self.examiner: Examiner | None = None
        if target.space:
            told = self.channels[-1] if self.conditioner is not None else 0
            up = self.spaces[::-1], self.channels[::-1]
            self.grower = Grower(config, source.channels + told, *up, target.channels, gap)
        else:
            self.examiner = Examiner(config, source.channels, self.spaces, self.channels, target.channels, gap)

    def forward(
        self, x: Tensor, conditions: dict[str, Field] | None = None, *, noise: Noises | None = None, **inputs: Any
    ) -> Tensor:
        """``[B, *source]`` to ``[B, *target]``; ``noise`` as `NoisyNetwork.noises` says."""
        if self.grower is None:
            return squash(self.examine(x, conditions)[0], self.config.output)
        vector = self._vector(conditions, len(x))
        if vector is not None:
            # Embeddings have unit length; the latent has unit variance.
            x = torch.cat([x, vector * math.sqrt(vector.shape[1])], 1)
        return squash(self.grower(x, noise), self.config.output)

    def examine(self, x: Tensor, conditions: dict[str, Field] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Scores ``[B, target]``, and the features at ``spaces`` with ``channels``, finest first.

        Raises:
            Unsupported: this is a generator.
        """
        if self.examiner is None:
            raise Unsupported("a generator has nothing to examine", given=self.target.space, cure="ask the other role")
        scores: tuple[Tensor, list[Tensor]] = self.examiner(x, self._vector(conditions, len(x)))
        return scores

    def _vector(self, conditions: dict[str, Field] | None, rows: int) -> Tensor | None:
        if self.conditioner is None:
            return None
        vector: Tensor | None = self.conditioner(conditions, rows).vector
        return vector


def _fine_end(source: Spec, target: Spec) -> Space:
    """The space of the one port that has one.

    Raises:
        Unsupported: both ports have space, or neither, or they carry no tensors.
    """
    if source.form is not Form.TENSOR or target.form is not Form.TENSOR:
        raise Unsupported(
            "fastgan maps tensors",
            given=(source.form.value, target.form.value),
            cure="for tokens use transformer, lstm or gru",
        )
    fine = source.space or target.space
    if bool(source.space) == bool(target.space) or len(fine) > 3:
        raise Unsupported(
            "fastgan needs one flat port and one of 1 to 3 space axes",
            given=(source.space, target.space),
            cure="use convolutional between two spaces, mlp between two flat ports",
        )
    return fine
