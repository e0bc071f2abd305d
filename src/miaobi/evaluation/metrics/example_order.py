"""How much the order of the examples in a prompt matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from pydantic import Field as Value

from miaobi.errors import Unsupported
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import bootstrap, share
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Family, Showing, require
from miaobi.modalities import Modality
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


class ExampleOrder(Metric):
    """The same examples in several orders: how far the best and the worst of them are apart.

    Of labels, the spread of accuracy, and the share of items whose answer is not the same in all orders; of texts, the
    spread of bits a byte. Held-out items are taken evenly spaced, as many as samples were asked for. The floor is 0,
    what an order would do that meant nothing. Pitfall: one model whose spread is small may simply not look at its
    examples: read it beside what the examples gain.
    """

    class Config(Settings):
        """How many orders."""

        orders: int = Value(4, ge=2, le=24, description="the usual one and shuffles")

    figures: ClassVar[dict[str, Direction]] = {
        "accuracy_spread": Direction.LOWER,
        "flip_rate": Direction.LOWER,
        "bits_spread": Direction.LOWER,
    }
    paper: ClassVar[str] = 'Lu et al. 2022, "Fantastically ordered prompts and where to find them"'
    ability: ClassVar[type] = Showing
    forms: ClassVar[frozenset[Form]] = frozenset({Form.LABEL, Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        super().check(family, modality)
        shown = require(family, Showing, "the metric example_order").shown_count
        if shown < 2:
            raise Unsupported(
                "one example has one order",
                given=f"{shown} examples",
                cure="measure example_order of a model that is shown two examples at least",
            )

    def compute(self, context: Context) -> dict[str, Score]:
        measured = np.stack([_measure(context, order) for order in range(self.config.orders)])
        if context.model.family.target.form is Form.LABEL:
            return self._of_labels(context, measured)
        units = context.model.modality.units(context.held.items(context.rows)).numpy()
        values = measured / np.log(2)
        found = _spread(values.sum(1) / units.sum())
        spread = (
            None
            if context.brief
            else bootstrap(len(units), context.seed, lambda rows: _spread(values[:, rows].sum(1) / units[rows].sum()))
        )
        return {"bits_spread": self._score(context, "bits_spread", found, spread, "percentiles of 1,000 resamples")}

    def _of_labels(self, context: Context, guessed: np.ndarray) -> dict[str, Score]:
        wanted = np.concatenate(
            [
                context.held.batch(chosen, augment=None).target.values.numpy()
                for chosen in chunks(context.rows, context.batch_rows)
            ]
        )
        right = guessed == wanted
        spread = (
            None
            if context.brief
            else bootstrap(len(wanted), context.seed, lambda rows: _spread(right[:, rows].mean(1)))
        )
        flips = int((guessed != guessed[0]).any(0).sum())
        return {
            "accuracy_spread": self._score(
                context, "accuracy_spread", _spread(right.mean(1)), spread, "percentiles of 1,000 resamples"
            ),
            "flip_rate": self._score(context, "flip_rate", flips / len(wanted), share(flips, len(wanted)), "Wilson"),
        }

    def _score(
        self, context: Context, figure: str, value: float, interval: tuple[float, float] | None, how: str
    ) -> Score:
        protocol = self.stamp(
            figure,
            context.stamp(),
            samples=context.count,
            seed=context.seed,
            options=self.config.to_json(),
            interval_method=f"95 %, {how} of items",
            floor_method="an order that means nothing",
        )
        return Score(value, interval, 0.0, protocol)


@torch.no_grad()
def _measure(context: Context, order: int) -> np.ndarray:
    """Of each item ``[N]``: the class that is answered, or nats, with the examples in this order."""
    family = require(context.model.family, Showing, "the metric example_order")
    found = []
    with family.ordered(order):
        for chosen in chunks(context.rows, context.batch_rows):
            batch = context.held.batch(chosen, augment=None).to(family.device)
            if family.target.form is Form.LABEL:
                found.append(family.predict(batch.conditions).argmax(1))
            else:
                seeds = seeds_of(context.seed, batch.ids)
                found.append(family.log_likelihood(batch, seeds=seeds).nats.double())
    return torch.cat(found).cpu().numpy()


def _spread(values: np.ndarray) -> float:
    return float(values.max() - values.min())
