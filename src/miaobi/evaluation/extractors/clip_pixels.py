"""Raw pixels of a clip and of its motion as features: no weights and no extra."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch

from miaobi.evaluation.extractors._base import Extractor
from miaobi.evaluation.extractors._clips import change, stack_clips
from miaobi.evaluation.extractors._images import resize
from miaobi.modalities import Item

SIDE = 8
FRAMES = 4
GAIN = 8.0
"""Neighbouring frames differ by a few hundredths: without a gain, motion would not count beside appearance."""


class ClipPixels(Extractor):
    """Four frames at no more than 8x8, and 8 times the mean absolute difference of frames one and two apart there.

    ``D = 6 * C * min(H, 8) * min(W, 8)``. They see layout, brightness, how much moves and where, and whether it moves
    smoothly; not what moves, nor which way.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"video"})
    preprocessing: ClassVar[str] = (
        "[0, 1], bicubic anti-aliased to at most 8x8; four evenly spaced frames, and 8 times the mean absolute "
        "differences of frames one and two apart; flattened"
    )

    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        clips = stack_clips(items)
        height, width = (min(extent, SIDE) for extent in clips.shape[3:])
        small = resize(clips.flatten(0, 1), height, width).unflatten(0, clips.shape[:2])
        chosen = torch.linspace(0, clips.shape[1] - 1, FRAMES).round().long()
        parts = [small[:, chosen], GAIN * change(small, 1), GAIN * change(small, 2)]
        return torch.cat([part.flatten(1) for part in parts], dim=1).numpy()
