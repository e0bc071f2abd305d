"""What clips that do not move, or move in no order, score in kernel distance: a bar that a video model has to clear."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import blocks, from_blocks
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.evaluation.metrics.motion import frozen, shuffled
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class MotionControls(Metric):
    """Kernel distance of real clips whose motion is wrong, on the same features and counts as the model's.

    Training clips against the held-out ones, as for the floor, but ``frozen_kernel_distance`` at their first frame, and
    ``shuffled_kernel_distance`` with their frames in random order. Their pictures are perfect, so what they score above
    the floor is what the features see of motion; where a control is at the floor they see none, and the model's own
    figure says nothing of motion either. A model that scores no better than a control has not learnt to move.

    Pitfalls. Both depend on the data and the features alone, and only a figure on the same ones is read beside them.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "frozen_kernel_distance": Direction.NEITHER,
        "shuffled_kernel_distance": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'kernel distance: Binkowski et al. 2018, "Demystifying MMD GANs"; the controls are this package\'s'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    needs_features: ClassVar[bool] = True

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse anything but video."""
        super().check(family, modality)
        if modality.name != "video":
            raise Unsupported(
                "the metric motion_controls is of video", given=modality.name, cure="leave the metric out"
            )

    def compute(self, context: Context) -> dict[str, Score]:
        """Both; nothing in a brief look, since they do not depend on the model.

        Raises:
            DataError: fewer than two clips.
        """
        if context.brief:
            return {}
        return {
            "frozen_kernel_distance": self._score(context, "frozen_kernel_distance", lambda clip, index: frozen(clip)),
            "shuffled_kernel_distance": self._score(
                context, "shuffled_kernel_distance", lambda clip, index: shuffled(clip, context.seed, index)
            ),
        }

    def _score(self, context: Context, figure: str, wrong: Callable[[np.ndarray, int], np.ndarray]) -> Score:
        clips = [clip for _, items in context.decoded(context.prepared.train, context.training_rows) for clip in items]
        made = [wrong(clip, index) for index, clip in enumerate(clips)]
        features = np.concatenate([context.extractor(part) for part in chunks(made, context.batch_rows)])
        real = context.features("real")
        value = polynomial_mmd(real, features)
        count = min(len(real), len(features))
        parts = [polynomial_mmd(real[rows], features[rows]) for rows in blocks(count, context.seed)]
        protocol = self.stamp(
            figure,
            context.feature_stamp(),
            interval_method="95 %, Student's t over ten disjoint blocks of both sides",
            floor_method="the same training clips as they are, against held-out ones",
            floor_samples=len(clips),
        )
        floor = polynomial_mmd(real, context.features("training"))
        return Score(value, from_blocks(value, parts), floor, protocol)
