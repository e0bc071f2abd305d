"""Whether generated clips move as held-out ones do: statistics of frame differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import jackknife
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities._frames import steps
from miaobi.sampling.noise import seeds_of, uniform
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_UNIT = "levels of 255, averaged over three statistics of a clip"


class Motion(Metric):
    """How far the motion of generated clips is from that of held-out ones, with what two kinds of wrong motion score.

    Of each clip: the mean absolute difference of frames one apart, of frames two apart, and of the second difference
    (how unevenly it moves). ``motion_distance`` is the first Wasserstein distance between generated and held-out clips
    of each, averaged. The controls are the same distance of the held-out clips themselves, frozen at their first frame
    (``motion_frozen``), and with their frames in random order (``motion_shuffled``): a model that scores no better than
    a control has not learnt to move. Pitfall: appearance is not looked at, so read it beside a feature distance.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "motion_distance": Direction.LOWER,
        "motion_frozen": Direction.NEITHER,
        "motion_shuffled": Direction.NEITHER,
    }
    paper: ClassVar[str] = 'Wasserstein distance: Villani 2009, "Optimal Transport"; the statistics are this package\'s'
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    libraries: ClassVar[tuple[str, ...]] = ("scipy",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse anything but video."""
        super().check(family, modality)
        if modality.name != "video":
            raise Unsupported("motion is of video", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """The distance, and unless the look is brief its floor (training clips) and the two controls."""
        real, generated = statistics(context.real_items), statistics(context.generated_items)
        value = distance(generated, real)
        interval = jackknife(value, len(generated), context.seed, lambda rows: distance(generated[rows], real[rows]))
        floor = None if context.brief else distance(self._training(context), real)
        common = context.sample_stamp()
        protocol = self.stamp(
            "motion_distance",
            common,
            unit=_UNIT,
            interval_method="95 %, jackknife leaving out one of ten disjoint blocks of both sides",
            floor_method="training against held-out clips, evenly spaced",
            floor_samples=len(context.training_rows),
        )
        scores = {"motion_distance": Score(value, interval, floor, protocol)}
        if context.brief:
            return scores
        controls = {
            "motion_frozen": [frozen(clip) for clip in context.real_items],
            "motion_shuffled": [shuffled(clip, context.seed, index) for index, clip in enumerate(context.real_items)],
        }
        for figure, clips in controls.items():
            stamp = self.stamp(figure, common, unit=_UNIT)
            scores[figure] = Score(distance(statistics(clips), real), None, None, stamp)
        return scores

    def _training(self, context: Context) -> np.ndarray:
        parts = context.decoded(context.prepared.train, context.training_rows)
        return np.concatenate([statistics(items) for _, items in parts])


def statistics(clips: Iterable[np.ndarray]) -> np.ndarray:
    """``float64 [n, 3]`` in levels: mean absolute first difference, difference of frames two apart, second difference.

    Args:
        clips: ``uint8 [T, H, W, C]``; a difference that a clip is too short for is zero.
    """
    return np.array(
        [[_size(steps(clip)), _size(steps(clip, 2)), _size(np.diff(steps(clip), axis=0))] for clip in clips]
    )


def distance(left: np.ndarray, right: np.ndarray) -> float:
    """The mean over columns of the first Wasserstein distance between the rows of two tables."""
    columns = zip(left.T, right.T, strict=True)
    return float(np.mean([wasserstein_distance(one, other) for one, other in columns]))


def frozen(clip: np.ndarray) -> np.ndarray:
    """The clip's first frame, at every time."""
    return np.repeat(clip[:1], len(clip), axis=0)


def shuffled(clip: np.ndarray, seed: int, index: int) -> np.ndarray:
    """The clip's frames in an order that ``seed`` and ``index`` fix."""
    numbers = uniform(seeds_of(seed, [index]), "shuffled frames", (len(clip),))[0]
    return clip[torch.argsort(numbers).numpy()]


def _size(differences: np.ndarray) -> float:
    return float(np.abs(differences).mean()) if differences.size else 0.0
