"""What two things that are no speech score in kernel distance: a bar that a sound model has to clear."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities import Item
from miaobi.modalities._loudness import level, normalised
from miaobi.modalities._waveform import Sound
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_STRETCHES = 8
"""Training clips that are tried as the one that is repeated; the nearest counts."""
_LOOP = 0.25
"""Seconds that are repeated."""


class SoundControls(Metric):
    """Kernel distance of two controls, on the same features and counts as the model's.

    ``noise_kernel_distance``: white noise at each held-out item's own level. ``looped_kernel_distance``: quarter
    seconds of one training clip repeated to the item's length, from another place in the clip for each item, so that
    they differ; the nearest of eight clips. A model that scores no better has not learnt to speak. Pitfall: what is
    better than both need not be speech.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "noise_kernel_distance": Direction.NEITHER,
        "looped_kernel_distance": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'kernel distance: Binkowski et al. 2018, "Demystifying MMD GANs"; the controls are this package\'s'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    needs_features: ClassVar[bool] = True

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse anything but sound."""
        super().check(family, modality)
        if modality.name != "speech":
            raise Unsupported("the metric sound_controls is of sound", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """Both; nothing in a brief look, since they do not depend on the model."""
        if context.brief:
            return {}
        real = context.features("real")
        common = context.feature_stamp()
        whites = [_white(item, context.seed, index) for index, item in enumerate(context.real_items)]
        distances = {
            "noise_kernel_distance": polynomial_mmd(real, context.extractor(whites)),
            "looped_kernel_distance": min(
                polynomial_mmd(real, context.extractor(_loops(clip, context.real_items))) for clip in _clips(context)
            ),
        }
        return {name: Score(value, None, None, self.stamp(name, common)) for name, value in distances.items()}


def _white(like: Item, seed: int, index: int) -> Sound:
    floats = noise(seeds_of(seed, [index]), "white noise", (len(like.samples),))[0].numpy()
    return Sound.of(normalised(floats, like.rate, level(like.floats, like.rate)), like.rate)


def _clips(context: Context) -> list[Item]:
    train = context.prepared.train
    return [clip for _, clips in context.decoded(train, spaced(len(train), _STRETCHES)) for clip in clips]


def _loops(clip: Item, like: list[Item]) -> list[Sound]:
    """As many loops as ``like`` has items, as long as those."""
    length = min(len(clip.samples), max(1, round(_LOOP * clip.rate)))
    starts = [index * (len(clip.samples) - length) // max(1, len(like) - 1) for index in range(len(like))]
    return [
        Sound(np.resize(clip.samples[start : start + length], len(item.samples)), clip.rate)
        for start, item in zip(starts, like, strict=True)
    ]
