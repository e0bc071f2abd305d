"""Whether four-part music can be sung: the share of notes within the ranges of soprano, alto, tenor and bass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities._voices import RANGES, share_in_range
from miaobi.plugins import name_of
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class VocalRange(Metric):
    """The share of a piece's notes that its voices can sing, averaged over pieces; a piece without notes scores 0.

    Voices are told apart by program, in the order of the held-out pieces' tracks, which are taken to be soprano, alto,
    tenor and bass. Pitfall: a monotone in the middle of every range scores 1, so read it beside the likelihood.
    """

    figures: ClassVar[dict[str, Direction]] = {"in_vocal_range": Direction.HIGHER}
    paper: ClassVar[str] = 'ranges of Kostka and Payne 2008, "Tonal Harmony", chapter 5'
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse anything but music."""
        super().check(family, modality)
        if name_of(type(modality)) != "music":
            raise Unsupported("vocal ranges are of music", given=name_of(type(modality)), cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """One figure, 0 to 1.

        Raises:
            Unsupported: the held-out pieces have not four voices with programs of their own.
        """
        programs = _programs(context.real_items)
        values = [_share(item, programs) for item in context.generated_items]
        real = [_share(item, programs) for item in context.real_items]
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


def _programs(items: Sequence[Any]) -> list[int]:
    found = [[int(track.program) for track in item.tracks] for item in items]
    four = [programs for programs in found if len(set(programs)) == len(programs) == len(RANGES)]
    if not four:
        raise Unsupported(
            "vocal ranges need pieces of four voices, each with a program of its own",
            given=f"{len(found)} held-out pieces, none of them so",
            cure="leave the metric out",
        )
    return four[0]


def _share(item: Any, programs: Sequence[int]) -> float:
    """Of one piece; what lies in other programs counts as out of range."""
    piece = item.copy()
    known = [next((t for t in item.tracks if int(t.program) == program), None) for program in programs]
    others = [track for track in item.tracks if int(track.program) not in programs]
    empty = type(item.tracks[0])() if len(item.tracks) else None
    if empty is None:
        return 0.0
    piece.tracks = [track if track is not None else empty for track in known] + others
    return share_in_range(piece).get("all", 0.0)
