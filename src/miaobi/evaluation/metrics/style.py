"""How far held-out pictures, once painted, are from what they showed and from the style."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from miaobi.errors import Diverged
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.families import require
from miaobi.types import Batch, Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_PARTS = {"stylisation": "objective", "style_distance": "style", "content_distance": "content"}


@runtime_checkable
class Stylises(Protocol):
    """Paints items in one style."""

    def style_distances(self, batch: Batch) -> dict[str, Tensor]:
        """``[B]`` each: ``objective``, ``content`` and ``style`` as painted, and ``untouched_...`` as they are."""
        ...

    def style_signature(self) -> str:
        """What the distances are in terms of; where it differs, they do not compare."""
        ...


class Style(Metric):
    """The model's own objective of held-out items, and its distances from their content and from the style.

    Pitfall: a lower objective is nearer to the same features, which need not be what people take for the style.

    In the terms of the model's features, layers and weights, so two models compare only where these and the style are
    the same: the signature says what they are. ``detail.untouched`` is what the same items score as they are: a painter
    should be well below it in ``stylisation``. Whether a picture is a pleasure to see is not in any of them.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "stylisation": Direction.LOWER,
        "style_distance": Direction.LOWER,
        "content_distance": Direction.LOWER,
    }
    paper: ClassVar[str] = 'Johnson, Alahi and Fei-Fei 2016, "Perceptual losses for real-time style transfer"'
    ability: ClassVar[type] = Stylises
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: a distance is not finite.
            MissingExtra: the packages of the model's features are absent.
        """
        family = require(context.model.family, Stylises, "the metric style")
        found: dict[str, list[float]] = {}
        for chosen in chunks(context.rows, context.batch_rows):
            batch = context.held.batch(chosen, augment=None).to(context.model.family.device)
            for name, values in family.style_distances(batch).items():
                if not values.isfinite().all():
                    raise Diverged(
                        "a held-out distance is not finite", cure="lower train.learning_rate and train again"
                    )
                found.setdefault(name, []).extend(values.double().tolist())
        signature = family.style_signature()
        return {figure: self._score(context, figure, found, signature) for figure in self.figures}

    def _score(self, context: Context, figure: str, found: dict[str, list[float]], signature: str) -> Score:
        values, untouched = found[_PARTS[figure]], found[f"untouched_{_PARTS[figure]}"]
        protocol = self.stamp(
            figure,
            context.stamp(),
            samples=len(values),
            signature=signature,
            unit="share of the style picture's own energy in the features",
            interval_method="95 %, Student's t over items",
            floor_method="none: the best painting is not known",
            detail={"untouched": sum(untouched) / len(untouched)},
        )
        return Score(sum(values) / len(values), of_mean(values), None, protocol)
