"""Two models on the same held-out items: how much better the second is, with an interval over the items' pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.metrics import NO_OPTIONS, Options, names, resolve
from miaobi.evaluation.metrics import find as find_metric
from miaobi.evaluation.metrics._intervals import bootstrap
from miaobi.evaluation.metrics._itemised import Itemised, Ratio
from miaobi.evaluation.quiet import undisturbed
from miaobi.evaluation.records import Direction
from miaobi.models import Model

if TYPE_CHECKING:
    from miaobi.data import Prepared


@dataclass(frozen=True, slots=True)
class Paired:
    """How much better a second model is than a first.

    Attributes:
        figure: what was measured; ``direction``: which way it is better.
        source, split, items: on what, and how many held-out items.
        before, after: the figure of the first and of the second model.
        better: by how much the second is better, in the figure's own units; negative where it is worse.
        interval: 95 % of ``better``, percentiles of 1,000 resamples of items, each with both models' values (a paired
            bootstrap); ``None`` below ten items.
    """

    figure: str
    direction: Direction
    source: str
    split: str
    items: int
    before: float
    after: float
    better: float
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def check_paired(metric: str, options: Options = NO_OPTIONS) -> None:
    """Refuse a metric on which models do not compare item by item.

    Raises:
        UnknownName: no such metric.
        InvalidRecipe: options that it refuses.
        Unsupported: its figures are not made of what each item gives.
    """
    choice = resolve(metric)
    if choice.figure is not None or not isinstance(choice.metric(options), Itemised):
        raise Unsupported(
            "models do not compare on this item by item",
            given=metric,
            allowed=[name for name in names() if issubclass(find_metric(name), Itemised)],
            cure="name one of these groups that the family can be measured by: refresh.metric",
        )


def compare_on(
    before: Model,
    after: Model,
    prepared: Prepared,
    metric: str,
    *,
    count: int,
    seed: int,
    controls: Mapping[str, Any] | None = None,
    options: Options = NO_OPTIONS,
) -> Paired:
    """Measure two models on the test part (validation where there is none).

    Args:
        before: the first model.
        after: the second, of equal modalities.
        prepared: data prepared with these modalities.
        metric: a group that `check_paired` does not refuse; its first figure is measured.
        count: items, where the metric does not take all.
        seed: of whatever is random, and of the resamples.
        controls: of whatever is sampled.
        options: group of figures to its options.

    Raises:
        Diverged: a model's figure is not finite.
        RequestError: the metric cannot be measured here.
    """
    check_paired(metric, options)
    chosen = resolve(metric).metric(options)
    contexts = [Context(model, prepared, count=count, seed=seed, controls=controls) for model in (before, after)]
    ratios: list[Ratio] = []
    for context in contexts:
        chosen.check(context.model.family, context.model.modality)
        with undisturbed(context.model.family):
            ratios.append(chosen.ratio(context))  # type: ignore[attr-defined]
    first, second = ratios
    split = contexts[0].held.part
    return pair(first, second, chosen.figures[first.figure], seed=seed, source=prepared.source, split=split)


def pair(before: Ratio, after: Ratio, direction: Direction, *, seed: int, source: str = "", split: str = "") -> Paired:
    """The comparison of two models' parts of a figure, item by item."""
    sign = 1.0 if direction is Direction.HIGHER else -1.0
    every = np.arange(len(before.amounts))

    def better(rows: np.ndarray) -> float:
        return sign * (_value(after, rows) - _value(before, rows))

    return Paired(
        before.figure,
        direction,
        source,
        split,
        len(every),
        _value(before, every),
        _value(after, every),
        better(every),
        bootstrap(len(every), seed, better),
    )


def _value(ratio: Ratio, rows: np.ndarray) -> float:
    return float(ratio.amounts[rows].sum() / max(ratio.counts[rows].sum(), np.finfo(np.float64).tiny))
