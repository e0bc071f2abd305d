"""Few-shot generative adversarial networks: FastGAN, for tens to hundreds of pictures.

Liu et al. 2021, "Towards faster and stabilized GAN training for high-fidelity few-shot image synthesis": the hinge
loss, a generator with skip-layer excitation, a discriminator that must be able to rebuild the data from its features,
and differentiable augmentation (Zhao et al. 2020) of all that it sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import gan
from miaobi.families._adversarial import LossName
from miaobi.families._augmentation import AugmentSettings
from miaobi.families._base import Family
from miaobi.families._rebuilding import Rebuilding
from miaobi.networks import Network
from miaobi.networks._resampling import Space
from miaobi.networks._spectral import settle
from miaobi.types import Field, Phase, Spec

_JUDGING = ("discriminator", "decoder")


@runtime_checkable
class _Examining(Protocol):
    """A discriminator whose features can be had."""

    config: Any
    spaces: list[Space]
    channels: list[int]

    def examine(self, x: Tensor, conditions: dict[str, Field] | None = None) -> tuple[Tensor, list[Tensor]]: ...


class FastGAN(gan.GAN):
    """A GAN for little data: its discriminator is augmented, spectrally normalised and self-supervised."""

    class Config(gan.GAN.Config):
        """Beside the family ``gan``'s, with the paper's loss and augmentation as defaults."""

        loss: LossName = "hinge"
        augment: AugmentSettings = AugmentSettings(policy=("colour", "translation", "cutout"))
        reconstruction: float = Value(1.0, ge=0, le=1e6, description="weight of rebuilding the data from features")

    tiny = {"latent": 8}
    roles = {"generator": "fastgan", "discriminator": "fastgan"}

    discriminator: Any

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        if not isinstance(self.discriminator, _Examining):
            raise Unsupported(
                "the family fast_gan needs a discriminator whose features can be had",
                given=type(self.discriminator).__name__,
                allowed=("fastgan",),
                cure="use the network fastgan as the discriminator, or the family gan",
            )
        judge = self.discriminator
        self.decoder = Rebuilding(judge.spaces, judge.channels, target.channels, judge.config.kernel)

    def phases(self) -> list[Phase]:
        """The family ``gan``'s, the decoders learning with the discriminator."""
        return [
            replace(phase, modules=_JUDGING) if phase.modules == ("discriminator",) else phase
            for phase in super().phases()
        ]

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Follow the discriminator's spectral norms after each of its updates."""
        super().after_phase(phase, statistics)
        if phase in ("discriminator", "penalty"):
            settle(self.discriminator)

    def _examine(self, inputs: Tensor, conditions: dict[str, Field], seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        shown = self._shown(inputs, seeds)
        logits, features = self.discriminator.examine(shown, conditions)
        rows = len(inputs) // 2
        if self.config.reconstruction == 0:
            return logits.flatten().float(), {}
        # Only data is rebuilt: samples would teach the features what the generator already makes.
        apart = self.decoder([part[:rows] for part in features], shown[:rows], seeds[:rows])
        return logits.flatten().float(), {"reconstruction": self.config.reconstruction * apart}
