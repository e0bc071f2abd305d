"""A codec that needs no training: averages as latents, signs of them as codes, sums as embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from miaobi.modalities import Modality
from miaobi.types import Field, Form, Spec, vector_spec


class Averages:
    """Of one-channel images whose sides are even: 2x2 averages."""

    digest = "averages"

    def __init__(self, modality: Modality) -> None:
        self.modality = modality
        channels, *space = 1, *modality.spec.space
        self.space = tuple(side // 2 for side in space)
        self.channels = channels

    def specs(self) -> dict[str, Spec]:
        count = self.space[0] * self.space[1]
        return {
            "latents": Spec(Form.TENSOR, channels=1, space=self.space),
            "codes": Spec(Form.TOKENS, vocabulary=4, max_length=count, fixed=True),
            "embeddings": vector_spec(self.space[1]),
        }

    def represent(self, target: Field, kind: str) -> Tensor:
        latents = avg_pool2d(target.values, 2)
        if kind == "codes":
            return ((latents + 1) * 2).long().clamp(0, 3).flatten(1)
        return latents if kind == "latents" else latents.sum((1, 2))

    def restore(self, values: Tensor, kind: str) -> Tensor:
        if kind == "codes":
            values = ((values.float() + 0.5) / 2 - 1).reshape(len(values), 1, *self.space)
        return interpolate(torch.as_tensor(values).float(), scale_factor=2)
