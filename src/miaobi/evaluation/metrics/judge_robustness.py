"""How small a change of generated pictures makes the machine judge take them for real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import DataError, Unsupported
from miaobi.evaluation.context import chunks, spaced
from miaobi.evaluation.metrics import two_sample
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._fooling import Judge, attacked, noisy, trained
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities import Item
from miaobi.sampling.noise import derive_one
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

Level = Annotated[int, Value(ge=1, le=255)]
_OF_PICTURES = ("image", "video")


class JudgeRobustness(Metric):
    """The share of generated items that the machine judge of `two_sample` takes for real, after they were changed by at
    most ``epsilon`` levels of 255 to that end, and (``judge_noise_fooled``) after random noise of that size.

    The judge is trained on every other pair of held-out and generated items, and judges the generated ones of the rest.
    The adversary sees nothing but the judge's score. ``detail.curve`` has all strengths, with intervals. Where a few
    levels that nobody would see are enough, a low accuracy of the judge is no proof of good samples, and a model must
    not be trained or chosen by it. The floor is the share that is taken for real unchanged.

    Pitfalls. A lower bound: a better adversary would fool it more often, one who knows its gradients most of all. It is
    about this judge and these features, not about people.
    """

    class Config(Settings):
        """The metric's options."""

        epsilon: Level = Value(8, description="the named strength, in levels of 255")
        epsilons: list[Level] = Value([1, 2, 4, 16], max_length=20, description="the curve's others")
        queries: int = Value(30, ge=1, le=10_000, description="of the judge, for each item and strength")
        most: int = Value(200, ge=8, le=4000, description="pairs, evenly spaced: half to train on, half to judge")

    figures: ClassVar[dict[str, Direction]] = {
        "judge_fooled": Direction.LOWER,
        "judge_noise_fooled": Direction.LOWER,
    }
    paper: ClassVar[str] = (
        'Andriushchenko et al. 2020, "Square attack"; the judge: Lopez-Paz and Oquab 2017, "Revisiting Classifier '
        'Two-Sample Tests"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    needs_features: ClassVar[bool] = True

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is no picture.
        """
        super().check(family, modality)
        if modality.shown.name not in _OF_PICTURES:
            raise Unsupported("judge_robustness is of pictures", given=modality.shown.name, allowed=_OF_PICTURES)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than eight pairs.
        """
        rows = spaced(context.count, self.config.most)
        if len(rows) < 8:
            raise DataError("judging needs at least eight pairs", given=len(rows), cure="ask for more samples")
        judge = _judge(context, rows[::2])
        items = [context.generated_items[row] for row in rows[1::2]]
        strengths = sorted({0, *self.config.epsilons, self.config.epsilon})
        curve, best = [], np.full(len(items), -np.inf)
        for strength in strengths:
            found, drawn = self._scores(context, judge, items, strength)
            # Who may change more may also change less.
            best = np.maximum(best, found)
            curve.append((strength, best > 0, drawn > 0))
        return self._figures(context, curve, len(rows) - len(items))

    def _scores(
        self, context: Context, judge: Judge, items: list[Item], strength: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the judge says after the attack, and after noise."""
        seed = derive_one(context.seed, "fooling", strength)

        def score(tried: list[Item]) -> np.ndarray:
            features = [context.extractor(part) for part in chunks(tried, context.batch_rows)]
            return judge(np.concatenate(features))

        return score(attacked(items, score, strength, self.config.queries, seed)), score(noisy(items, strength, seed))

    def _figures(self, context: Context, curve: list[Any], known: int) -> dict[str, Score]:
        count = len(curve[0][1])
        detail = {
            "judge": two_sample.JUDGE,
            "trained_on": 2 * known,
            "strength": self.config.epsilon,
            "unit": "levels of 255, maximum norm",
            "curve": [
                {
                    "strength": strength,
                    "fooled": float(fooled.mean()),
                    "fooled_interval": list(share(int(fooled.sum()), count)),
                    "noise": float(drawn.mean()),
                    "noise_interval": list(share(int(drawn.sum()), count)),
                }
                for strength, fooled, drawn in curve
            ],
        }
        (named,) = (point for point in curve if point[0] == self.config.epsilon)
        scores = {}
        for figure, taken in zip(self.figures, named[1:], strict=True):
            protocol = self.stamp(
                figure,
                context.feature_stamp(),
                unit="share of generated items that are taken for real",
                interval_method="95 %, Wilson",
                floor_method="the same generated items unchanged",
                floor_samples=count,
                detail=detail,
            )
            interval = share(int(taken.sum()), count)
            scores[figure] = Score(float(taken.mean()), interval, float(curve[0][1].mean()), protocol)
        return scores


def _judge(context: Context, rows: list[int]) -> Judge:
    features = np.concatenate([context.features("real")[rows], context.features("generated")[rows]])
    return trained(features, np.repeat([1.0, -1.0], len(rows)), two_sample.RIDGE)
