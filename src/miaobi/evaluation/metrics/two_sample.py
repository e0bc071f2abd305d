"""A machine judge: can a classifier tell generated items from held-out ones?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field as Value
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from miaobi.errors import DataError
from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._words import elements, is_text
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.sampling.noise import derive_one, integers, seeds_of, uniform
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

JUDGE = "machine judge, not people: kernel ridge classifier"
RIDGE = 1.0
_SMALLEST = 1e-9
_COLUMNS = 1 << 18
_FEWEST = 2

Kernel = Callable[[np.ndarray], np.ndarray]
"""Similarities ``[2n, 2n]`` of all items, from what the training rows show."""


class TwoSample(Metric):
    """The share of items that a classifier, trained on others, assigns to the right side: 0.5 where it sees nothing.

    The classifier is kernel ridge regression on labels: of a Gaussian kernel on the named features, or for texts and
    other token sequences of the cosine of TF-IDF weighted n-grams, weights and width fitted inside each fold. Pitfall:
    its accuracy shows what such features show; a high one proves a difference, a low one proves nothing. Held-out item
    i and the sample with its conditions are one pair: in one fold always, and p comes from exchanging the two, after
    which the classifiers are trained anew. Length alone is judged beside, for a difference of length is a cheap one.
    """

    class Config(Settings):
        """The metric's options."""

        folds: int = Value(5, ge=2, le=20, description="of the cross-validation")
        permutations: int = Value(999, ge=19, le=9999, description="exchanges of sides behind p")
        order: int = Value(3, ge=1, le=8, description="token sequences: n-grams of one to so many")
        most: int = Value(1000, ge=_FEWEST, le=4000, description="pairs looked at, evenly spaced")

    figures: ClassVar[dict[str, Direction]] = {
        "machine_judge_accuracy": Direction.LOWER,
        "machine_judge_p": Direction.NEITHER,
        "machine_judge_length_accuracy": Direction.LOWER,
    }
    paper: ClassVar[str] = 'Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests"'
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR, Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than two pairs for each fold.
        """
        rows = spaced(context.count, self.config.most)
        found = self._judged(context, "generated", rows)
        floor = None if context.brief else self._judged(context, "training", rows)
        count = 2 * len(rows)
        values, floors = found.figures(), {} if floor is None else floor.figures()
        return {
            figure: Score(
                value,
                None if figure == "machine_judge_p" else share(round(value * count), count),
                floors.get(figure),
                self._protocol(context, figure, len(rows)),
            )
            for figure, value in values.items()
        }

    def _protocol(self, context: Context, figure: str, pairs: int) -> Protocol:
        tokens = context.modality.form is Form.TOKENS
        kind = "characters" if is_text(context.modality) else "tokens"
        features = f"TF-IDF of 1- to {self.config.order}-grams of {kind}" if tokens else "the named features"
        detail = {
            "judge": f"{JUDGE} on {'length' if figure.endswith('length_accuracy') else features}",
            "pairs": pairs,
            "folds": self.config.folds,
            "permutations": self.config.permutations,
        }
        common = context.sample_stamp() if tokens else context.feature_stamp()
        accuracy = "95 %, Wilson, answers of the machine judge taken as independent"
        return self.stamp(
            figure,
            common,
            interval_method="none: a p has no interval" if figure == "machine_judge_p" else accuracy,
            floor_method="training items in place of generated ones: the machine judge on real against real",
            floor_samples=len(context.training_rows),
            detail=detail,
        )

    def _judged(self, context: Context, side: str, rows: Sequence[int]) -> _Both:
        """The machine judge, and that of length, of held-out items and as many of another side."""
        real, other = _arrays(context, side)
        rows = [row for row in rows if row < len(other)]
        real, other = [real[row] for row in rows], [other[row] for row in rows]
        if context.modality.form is Form.TOKENS:
            kernel = self._sequences(context, [*real, *other])
        else:
            features = context.features("real")[rows], context.features(side)[rows]  # type: ignore[arg-type]
            kernel = gaussian(np.concatenate(features))
        sizes = [context.modality.length(context.modality.decode(array)) for array in [*real, *other]]
        seed = derive_one(context.seed, "machine judge")
        options = {"folds": self.config.folds, "permutations": self.config.permutations, "seed": seed}
        return _Both(
            judge(kernel, len(rows), **options), judge(gaussian(np.log1p(sizes)[:, None]), len(rows), **options)
        )

    def _sequences(self, context: Context, arrays: Sequence[np.ndarray]) -> Kernel:
        sequences = [elements(context.modality, array) for array in arrays]
        counts = HashingVectorizer(
            analyzer=lambda sequence: ngrams(sequence, self.config.order),
            n_features=_COLUMNS,
            alternate_sign=False,
            norm=None,
        ).transform(sequences)

        def kernel(train: np.ndarray) -> np.ndarray:
            weighted = TfidfTransformer(sublinear_tf=True).fit(counts[train]).transform(counts)
            return np.asarray((weighted @ weighted.T).todense())

        return kernel


@dataclass(frozen=True, slots=True)
class Judged:
    """The share of right answers, and the p of one as high where the sides mean nothing."""

    accuracy: float
    p: float


@dataclass(frozen=True, slots=True)
class _Both:
    judge: Judged
    length: Judged

    def figures(self) -> dict[str, float]:
        """By the names of `TwoSample.figures`."""
        return dict(zip(TwoSample.figures, (self.judge.accuracy, self.judge.p, self.length.accuracy), strict=True))


def judge(kernel: Kernel, pairs: int, *, folds: int, permutations: int, seed: int) -> Judged:
    """Cross-validated accuracy of kernel ridge classification, and its permutation p.

    For given rows the answers are linear in the labels, so that training anew for every exchange is one product.

    Args:
        kernel: similarities of the first sides of all pairs, then the second ones, ``[2 * pairs, 2 * pairs]``.
        pairs: how many there are; exchanging the two items of one is what must not matter.
        folds: a pair is in one of them whole.
        permutations: how often the sides are exchanged at random; p is at least ``1 / (permutations + 1)``.
        seed: of folds and exchanges.

    Raises:
        DataError: fewer than two pairs a fold.
    """
    if pairs < _FEWEST * folds:
        raise DataError(
            f"the machine judge needs at least {_FEWEST} pairs for each of {folds} folds",
            given=f"{pairs} pairs",
            cure="ask for more samples, or lower evaluate.options.two_sample.folds",
        )
    signs = 1 - 2 * integers(seeds_of(seed, range(pairs)), "exchanges", 2, (permutations,)).double().numpy()
    signs = np.concatenate([np.ones((pairs, 1)), signs], 1)
    labels = np.concatenate([signs, -signs])
    right = np.zeros(permutations + 1)
    for test in _folds(pairs, folds, seed):
        train = np.setdiff1d(np.arange(2 * pairs), test)
        similar = kernel(train)
        weights = np.linalg.solve(similar[np.ix_(train, train)] + RIDGE * np.eye(len(train)), labels[train])
        scores = similar[np.ix_(test, train)] @ weights * labels[test]
        # Where nothing can be seen the score is nought but for rounding: half of such answers are right.
        right += (scores > _SMALLEST).sum(0) + 0.5 * (np.abs(scores) <= _SMALLEST).sum(0)
    accuracy = right / (2 * pairs)
    reached = int((accuracy[1:] >= accuracy[0] - _SMALLEST).sum())
    return Judged(float(accuracy[0]), (1 + reached) / (1 + permutations))


def gaussian(features: np.ndarray) -> Kernel:
    """A Gaussian kernel on standardised features ``[n, D]``, as wide as the median distance of the training rows."""

    def kernel(train: np.ndarray) -> np.ndarray:
        wide = torch.from_numpy(np.asarray(features, dtype=np.float64))
        chosen = wide[torch.from_numpy(train)]
        scaled = (wide - chosen.mean(0)) / chosen.std(0).clamp_min(_SMALLEST)
        distances = torch.cdist(scaled, scaled).square()
        width = distances[train][:, train].median().clamp_min(_SMALLEST)
        return (-distances / width).exp().numpy()

    return kernel


def ngrams(sequence: Sequence[str], order: int) -> Iterator[str]:
    """Every n-gram of one to ``order`` elements, joined by an unprintable character."""
    for length in range(1, order + 1):
        for start in range(len(sequence) - length + 1):
            yield "\x1f".join(sequence[start : start + length])


def _folds(pairs: int, folds: int, seed: int) -> list[np.ndarray]:
    """Both sides' rows of the pairs of each fold, in an order that ``seed`` fixes."""
    order = torch.argsort(uniform(seeds_of(seed, range(pairs)), "folds")).numpy()
    return [np.concatenate([part, part + pairs]) for part in np.array_split(order, folds)]


def _arrays(context: Context, side: str) -> tuple[list[Any], list[Any]]:
    if side == "generated":
        return context.real, context.generated
    train = context.prepared.train
    return context.real, [array for arrays, _ in context.decoded(train, context.training_rows) for array in arrays]
