"""How often four-part music breaks the rules of part writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean, of_ratio
from miaobi.evaluation.metrics._part_writing import RULES, counted, has_four_voices
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities._voices import RANGES
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_TOTAL = "violations"
_UNITS = {
    _TOTAL: "breaches of the five rules together a hundred chords",
    "parallel_fifths": "pairs of voices a hundred chords",
    "parallel_octaves": "pairs of voices a hundred chords, unisons among them",
    "voice_crossings": "pairs of voices a hundred chords",
    "out_of_range": "voices a hundred chords",
    "wide_leaps": "melodic steps of more than an octave a hundred chords",
}
_RANGES = ", ".join(f"{voice} {low}-{high}" for voice, (low, high) in RANGES.items())


class Harmony(Metric):
    """Parallel fifths and octaves, crossed voices, voices out of range and wide leaps, a hundred chords of all pieces.

    ``violations`` is all five together: its value over its floor says how often the samples break a rule where the
    held-out pieces do once.

    Tracks are soprano, alto, tenor and bass in that order. A chord is a beat (a quarter note) on which at least two of
    them sound. Fifths and octaves are parallel where two voices are that far apart, octaves aside, on two beats in a
    row and both move the same way. The floor is the rate of the held-out pieces: Bach's own is not zero.

    Pitfalls. What is between the beats is not seen, nor whether there is a harmony at all: long notes and silence break
    no rule, so ``chords`` is their number a piece, and the rates are read beside the likelihood. A rate under the floor
    is no better than the floor.
    """

    figures: ClassVar[dict[str, Direction]] = {
        **dict.fromkeys((_TOTAL, *RULES), Direction.LOWER),
        "chords": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'rules and ranges of Kostka and Payne 2008, "Tonal Harmony", chapter 5; '
        'errors counted in chorales as in Fang et al. 2020, "Bach or Mock?"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not music.
        """
        super().check(family, modality)
        if modality.name != "music":
            raise Unsupported("part writing is of music", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """``violations``, its five parts and ``chords``; the latter alone where no sample has a chord.

        Raises:
            Unsupported: the held-out pieces have not four voices, or no chords.
        """
        real = np.array([counted(piece) for piece in context.real_items])
        if not has_four_voices(context.real_items) or not real[:, -1].any():
            raise Unsupported(
                "part writing is of pieces of four voices, a track each",
                given=f"{len(real)} held-out pieces, none of them so",
                cure="leave the metric out",
            )
        found = np.array([counted(piece) for piece in context.generated_items])
        rates = (_TOTAL, *RULES) if found[:, -1].any() else ()
        return {rule: self._rate(context, rule, found, real) for rule in rates} | {
            "chords": self._chords(context, found[:, -1], real[:, -1])
        }

    def _rate(self, context: Context, rule: str, found: np.ndarray, real: np.ndarray) -> Score:
        chosen = list(range(len(RULES))) if rule == _TOTAL else [RULES.index(rule)]
        broken, chords, floor = 100 * found[:, chosen].sum(1), found[:, -1], real[:, chosen].sum(1)
        protocol = self.stamp(
            rule,
            context.sample_stamp(),
            unit=_UNITS[rule],
            preprocessing=_RANGES,
            interval_method="95 %, Student's t of a ratio over pieces",
            floor_method="the same rate of the held-out pieces",
            floor_samples=context.count,
            detail={"chords": int(chords.sum()), "held_out_chords": int(real[:, -1].sum())},
        )
        value = float(broken.sum() / chords.sum())
        return Score(value, of_ratio(broken, chords), float(100 * floor.sum() / real[:, -1].sum()), protocol)

    def _chords(self, context: Context, found: np.ndarray, real: np.ndarray) -> Score:
        protocol = self.stamp(
            "chords",
            context.sample_stamp(),
            unit="chords a piece",
            interval_method="95 %, Student's t over pieces",
            floor_method="the same figure of the held-out pieces",
            floor_samples=context.count,
        )
        return Score(float(found.mean()), of_mean(found.tolist()), float(real.mean()), protocol)
