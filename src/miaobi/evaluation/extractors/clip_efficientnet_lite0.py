"""EfficientNet-lite0 features of a clip's frames, and of how they change: see `efficientnet_lite0`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch

from miaobi.evaluation.extractors._base import Extractor
from miaobi.evaluation.extractors._clips import change
from miaobi.evaluation.extractors.efficientnet_lite0 import TENSORS_SHA256, EfficientNetLite0
from miaobi.modalities import Item


class ClipEfficientNetLite0(Extractor):
    """The mean over frames of the 1280 image features, and their mean absolute change from frame to frame: 2560.

    An image network knows no motion: the second half sees that something changes and how smoothly, in its own terms.

    Raises:
        MissingExtra: the packages of the extra ``features`` are absent.
        FetchFailed: their weight file has another checksum.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"video"})
    preprocessing: ClassVar[str] = (
        f"each frame: {EfficientNetLite0.preprocessing}; mean over frames, and mean absolute difference of neighbours"
    )
    costly: ClassVar[bool] = True

    def __init__(self) -> None:
        self._frames = EfficientNetLite0()

    @property
    def weights_digest(self) -> str:
        return TENSORS_SHA256

    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        features = torch.stack([torch.from_numpy(self._frames(item)) for item in items])
        return torch.cat([features.mean(1), change(features)], dim=1).numpy()
