"""Whether four-part music can be sung: the share of notes within the ranges of soprano, alto, tenor and bass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities._voices import RANGES, share_in_range
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class VocalRange(Metric):
    """The share of a piece's notes that its voices can sing, averaged over pieces; a piece without notes scores 0.

    Tracks are taken to be soprano, alto, tenor and bass in that order. Pitfall: a monotone in the middle of every range
    scores 1, so read it beside the likelihood.
    """

    figures: ClassVar[dict[str, Direction]] = {"in_vocal_range": Direction.HIGHER}
    paper: ClassVar[str] = 'ranges of Kostka and Payne 2008, "Tonal Harmony", chapter 5'
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse anything but music."""
        super().check(family, modality)
        if modality.name != "music":
            raise Unsupported("vocal ranges are of music", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """One figure, 0 to 1.

        Raises:
            Unsupported: the held-out pieces have not four voices.
        """
        _check_voices(context.real_items)
        values = [_share(item) for item in context.generated_items]
        real = [_share(item) for item in context.real_items]
        protocol = self.stamp(
            "in_vocal_range",
            context.sample_stamp(),
            unit="share of notes",
            preprocessing=", ".join(f"{voice} {low}-{high}" for voice, (low, high) in RANGES.items()),
            interval_method="95 %, Student's t over pieces",
            floor_method="the same figure of the held-out pieces",
            floor_samples=context.count,
        )
        return {"in_vocal_range": Score(float(np.mean(values)), of_mean(values), float(np.mean(real)), protocol)}


def _check_voices(items: Sequence[Any]) -> None:
    if not any(len(item.tracks) == len(RANGES) for item in items):
        raise Unsupported(
            "vocal ranges are of pieces of four voices, a track each",
            given=f"{len(items)} held-out pieces, none of them so",
            cure="leave the metric out",
        )


def _share(item: Any) -> float:
    """Of one piece; where it has fewer tracks than voices, of the assignment from high to low that suits it best."""
    tracks = list(item.tracks)
    if len(tracks) >= len(RANGES) or not tracks:
        return share_in_range(item).get("all", 0.0)
    shares = []
    for chosen in combinations(range(len(RANGES)), len(tracks)):
        piece = item.copy()
        silent = [type(tracks[0])() for _ in RANGES]
        piece.tracks = [tracks[chosen.index(n)] if n in chosen else silent[n] for n in range(len(RANGES))]
        shares.append(share_in_range(piece).get("all", 0.0))
    return max(shares)
