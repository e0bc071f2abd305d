"""How well tokens are predicted that are masked in held-out items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_ratio
from miaobi.evaluation.metrics._itemised import Ratio
from miaobi.evaluation.records import Direction, Score
from miaobi.families import require
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

RATE = 0.15
"""Share of tokens that are masked, whatever the model was trained with."""
_TRAINING_ITEMS = 2000
"""Training items, evenly spaced, in which the commonest token is looked for."""


@runtime_checkable
class PredictsMasked(Protocol):
    """Predicts tokens that it is not shown."""

    def predict_masked(self, batch: Batch, rate: float, seeds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each ``[B]``: nats of the masked tokens, how many are predicted right, and how many there are."""
        ...


class MaskedPrediction(Metric):
    """Cross-entropy and accuracy of masked tokens: 15 % of each held-out item, which its id fixes, shown as masks.

    Pitfalls. No likelihood: the nats of a token given both of its sides do not add up to those of a sequence, and do
    not compare with a language model's. They compare between models with equal tokens only. Every held-out item is
    scored (in a brief context evenly spaced ones); items count by their masked tokens. Accuracy's floor is the share of
    held-out tokens that are the commonest token of the training items.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "masked_nats": Direction.LOWER,
        "masked_accuracy": Direction.HIGHER,
    }
    paper: ClassVar[str] = 'Devlin et al. 2019, "BERT: Pre-training of deep bidirectional Transformers"'
    ability: ClassVar[type] = PredictsMasked
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: the cross-entropy is not finite.
            InvalidRecipe: the held-out items have no tokens.
        """
        nats, right, counts = _measure(context)
        floor = None if context.brief else _commonest(context)
        none = "none: the entropy of the data is not known"
        return {
            "masked_nats": self._score(context, "masked_nats", nats, counts, None, none),
            "masked_accuracy": self._score(
                context, "masked_accuracy", right, counts, floor, "the commonest token of the training items, always"
            ),
        }

    def ratio(self, context: Context) -> Ratio:
        """
        Raises:
            Diverged: a cross-entropy is not finite.
            InvalidRecipe: the held-out items have no tokens.
        """
        nats, _, counts = _measure(context)
        return Ratio("masked_nats", nats, counts)

    def _score(
        self, context: Context, figure: str, amounts: np.ndarray, counts: np.ndarray, floor: float | None, how: str
    ) -> Score:
        protocol = self.stamp(
            figure,
            context.stamp(),
            samples=len(counts),
            seed=context.seed,
            unit="masked token",
            tokenizer_bound=True,
            interval_method="95 %, Student's t over items of the linearised ratio",
            floor_method=how,
            detail={"rate": RATE, "masked": int(counts.sum())},
        )
        return Score(float(amounts.sum() / counts.sum()), of_ratio(amounts, counts), floor, protocol)


def _measure(context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each item, float64: nats, right tokens, masked tokens."""
    family = require(context.model.family, PredictsMasked, "the metric masked_prediction")
    device = context.model.family.device
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in chunks(_rows(context), context.batch_rows):
        batch = context.held.batch(rows, augment=None)
        seeds = seeds_of(context.seed, batch.ids)
        found.append(family.predict_masked(batch.to(device), RATE, seeds.to(device)))
    nats, right, counts = (
        torch.cat([part.double().cpu() for part in column]).numpy() for column in zip(*found, strict=True)
    )
    if not counts.sum():
        raise InvalidRecipe("the held-out items have no tokens to mask", cure="hold out items that have some")
    if not np.isfinite(nats).all():
        raise Diverged("a held-out cross-entropy is not finite", cure="lower train.learning_rate and train again")
    return nats, right, counts


def _commonest(context: Context) -> float:
    """The share of held-out tokens that are the commonest token of training items."""
    size = context.model.family.target.vocabulary
    train = context.prepared.train
    step = max(1, len(train) // _TRAINING_ITEMS)
    seen = _counts(context, train, range(0, len(train), step), size)
    held = _counts(context, context.held, _rows(context), size)
    return float(held[seen.argmax()] / held.sum())


def _counts(context: Context, data: object, rows: Sequence[int], size: int) -> np.ndarray:
    total = np.zeros(size, dtype=np.int64)
    for chosen in chunks(rows, context.batch_rows):
        target = data.batch(chosen, augment=None).target  # type: ignore[attr-defined]
        total += np.bincount(target.values[target.mask()].numpy(), minlength=size)
    return total


def _rows(context: Context) -> Sequence[int]:
    return context.rows if context.brief else range(len(context.held))
