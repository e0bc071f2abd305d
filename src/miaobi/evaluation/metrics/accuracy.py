"""How often a classifier is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from miaobi.errors import Diverged
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import bootstrap, share
from miaobi.evaluation.metrics._itemised import Ratio
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Predicting, require
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


class Accuracy(Metric):
    """The share of held-out items whose most likely class is theirs, and F1 averaged over classes.

    Every held-out item is classified (in a brief context evenly spaced ones). Macro F1 counts each class alike, however
    rare, so it falls where a rare class is never named; it is averaged over the classes that are held out. The floor is
    what the commonest class of the training items scores when it is always named. Pitfall: where one class is most of
    the data, an accuracy that looks high may be near that floor. Each class's own precision, recall and count are in
    the protocol's ``detail``, of the hundred commonest.
    """

    figures: ClassVar[dict[str, Direction]] = {"accuracy": Direction.HIGHER, "macro_f1": Direction.HIGHER}
    paper: ClassVar[str] = (
        'Sokolova and Lapalme 2009, "A systematic analysis of performance measures for classification tasks"'
    )
    ability: ClassVar[type] = Predicting
    forms: ClassVar[frozenset[Form]] = frozenset({Form.LABEL})
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: a probability is not finite.
        """
        wanted, guessed = _classify(context)
        majority = np.full_like(wanted, _majority(context))
        right = int((wanted == guessed).sum())
        spread = None if context.brief else _interval(wanted, guessed, context.seed)
        found = {
            "accuracy": (right / len(wanted), share(right, len(wanted)), float((wanted == majority).mean()), "Wilson"),
            "macro_f1": (
                macro_f1(wanted, guessed),
                spread,
                macro_f1(wanted, majority),
                "percentiles of 1,000 resamples of items",
            ),
        }
        detail = {} if context.brief else {"classes": _by_class(context, wanted, guessed)}
        return {
            figure: Score(
                value,
                interval,
                floor,
                self.stamp(
                    figure,
                    context.stamp(),
                    samples=len(wanted),
                    interval_method=f"95 %, {how}",
                    floor_method="the commonest class of the training items, always",
                    detail=detail,
                ),
            )
            for figure, (value, interval, floor, how) in found.items()
        }

    def ratio(self, context: Context) -> Ratio:
        """
        Raises:
            Diverged: a probability is not finite.
        """
        wanted, guessed = _classify(context)
        return Ratio("accuracy", (wanted == guessed).astype(np.float64), np.ones(len(wanted)))


def _interval(wanted: np.ndarray, guessed: np.ndarray, seed: int) -> tuple[float, float] | None:
    return bootstrap(len(wanted), seed, lambda rows: macro_f1(wanted[rows], guessed[rows]))


def macro_f1(wanted: np.ndarray, guessed: np.ndarray) -> float:
    """F1 of each class of ``wanted``, averaged; a class that is never guessed has 0."""
    size = int(max(wanted.max(), guessed.max())) + 1
    right = np.bincount(wanted[wanted == guessed], minlength=size)
    both = np.bincount(wanted, minlength=size) + np.bincount(guessed, minlength=size)
    classes = np.unique(wanted)
    return float((2 * right[classes] / both[classes]).mean())


def _classify(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """The class of each item, and the most likely one, ``[N]`` each."""
    family = require(context.model.family, Predicting, "the metric accuracy")
    device = context.model.family.device
    wanted: list[np.ndarray] = []
    guessed: list[np.ndarray] = []
    rows = context.rows if context.brief else range(len(context.held))
    for chosen in chunks(rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None)
        log_probs = family.predict({name: field.to(device) for name, field in batch.conditions.items()})
        if not torch.isfinite(log_probs.amax(1)).all():
            raise Diverged("a class's probability is not finite", cure="lower train.learning_rate and train again")
        wanted.append(batch.target.values.numpy())
        guessed.append(log_probs.argmax(1).cpu().numpy())
    return np.concatenate(wanted), np.concatenate(guessed)


def _majority(context: Context) -> int:
    train = context.prepared.train
    rows: Sequence[int] = context.training_rows if context.brief else range(len(train))
    counts = np.zeros(context.model.family.target.vocabulary, dtype=np.int64)
    for chosen in chunks(rows, 4096):
        counts += np.bincount(train.batch(chosen, augment=None).target.values.numpy(), minlength=len(counts))
    return int(counts.argmax())


def _by_class(context: Context, wanted: np.ndarray, guessed: np.ndarray) -> dict[str, dict[str, float]]:
    from sklearn.metrics import precision_recall_fscore_support

    classes, counts = np.unique(wanted, return_counts=True)
    classes = classes[np.argsort(-counts, kind="stable")][:100]
    columns = precision_recall_fscore_support(wanted, guessed, labels=classes, zero_division=0)
    return {
        str(context.modality.decode(np.array(one))): {
            "precision": float(precision),
            "recall": float(recall),
            "items": int(count),
        }
        for one, precision, recall, _, count in zip(classes.tolist(), *columns, strict=True)
    }
