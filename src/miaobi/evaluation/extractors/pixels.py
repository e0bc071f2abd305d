"""Raw pixels as features: no weights and no extra; what near-copies are looked for in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from miaobi.evaluation.extractors._base import Extractor
from miaobi.evaluation.extractors._images import resize, stack
from miaobi.modalities import Item

SIDE = 16


class Pixels(Extractor):
    """Pixels in [0, 1], downscaled to at most 16x16 and flattened: ``D = C * min(H, 16) * min(W, 16)``.

    They see layout and brightness, not meaning: good for near-copies and for tests, weak as a measure of quality.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"image"})
    preprocessing: ClassVar[str] = "[0, 1], transparency onto white, bicubic anti-aliased to at most 16x16, flattened"

    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        images = stack(items)
        height, width = (min(extent, SIDE) for extent in images.shape[2:])
        return resize(images, height, width).flatten(1).numpy()
