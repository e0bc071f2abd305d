"""How often a language model prefers the held-out answers that people, or a rule, preferred."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import stats

from miaobi.errors import Diverged, InvalidRecipe
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import MUST_MATCH, Metric
from miaobi.evaluation.metrics._intervals import Interval, around, of_mean, share
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Family, Likelihood, require
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Bound

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_PAIRS, _MARKED = "the preferred and the rejected answer of an item", "every desirable with every undesirable answer"


class Preference(Metric):
    """The share of held-out pairs whose implied reward is higher for the preferred answer, and by how much on average.

    The reward is the logarithm of the model's likelihood over that of its part ``reference``, in nats, before any beta.
    A model that has no such part (it is not shipped where it was ``initial``) is measured by its mean log-likelihood of
    a token (Meng et al. 2024, "SimPO"), and the protocol says which. Items with ``data.extra.rejected`` are pairs;
    where they have ``data.extra.desirable`` every desirable answer is held against every undesirable one, so that
    accuracy is the area under the ROC curve. Equal rewards count one half. The floor is what the number of tokens alone
    tells, the better way round, and at least chance. Pitfall: a high accuracy says that the two can be told apart and
    not that samples are any better: both answers may have become improbable. Watch `likelihood` beside it.
    """

    figures: ClassVar[dict[str, Direction]] = {"preference_accuracy": Direction.HIGHER, "margin": Direction.HIGHER}
    paper: ClassVar[str] = (
        'Rafailov et al. 2023, "Direct preference optimization"; DeLong et al. 1988, "Comparing the areas under two or '
        'more correlated receiver operating characteristic curves"'
    )
    ability: ClassVar[type] = Likelihood
    must_match: ClassVar[frozenset[str]] = MUST_MATCH | {"reward", "pairing"}

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            InvalidRecipe: the data says of no answer which is preferred.
            Diverged: a likelihood is not finite.
        """
        found = _measure(context)
        floor = max(0.5, (told := _accuracy(found.paired, *found.tokens)[0]), 1 - told)
        values = {
            "preference_accuracy": (*_accuracy(found.paired, *found.rewards), floor),
            "margin": (*_margin(found), None),
        }
        reward = "log-likelihood above the part reference's" if _reference(context) else "log-likelihood of a token"
        return {
            figure: Score(
                value,
                None if context.brief else interval,
                floor,
                self.stamp(
                    figure,
                    context.stamp(),
                    samples=found.items,
                    reward=reward,
                    pairing=_PAIRS if found.paired else _MARKED,
                    interval_method=f"95 %, {_INTERVALS[figure, found.paired]}",
                    floor_method="the answer of more tokens, or of fewer" if floor is not None else "none",
                ),
            )
            for figure, (value, interval, floor) in values.items()
        }


_INTERVALS = {
    ("preference_accuracy", True): "Wilson",
    ("preference_accuracy", False): "DeLong",
    ("margin", True): "Student's t over pairs",
    ("margin", False): "Welch",
}


@dataclass(frozen=True, slots=True)
class _Measured:
    """Rewards and numbers of tokens, float64: of the preferred answers, and of the others."""

    rewards: tuple[np.ndarray, np.ndarray]
    tokens: tuple[np.ndarray, np.ndarray]
    paired: bool

    @property
    def items(self) -> int:
        """A pair is one."""
        return len(self.rewards[0]) if self.paired else sum(map(len, self.rewards))


def _measure(context: Context) -> _Measured:
    rows = context.rows if context.brief else range(len(context.held))
    columns = [_columns(context, batch) for batch in _batches(context, rows)]
    joined = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
    if not all(np.isfinite(values).all() for values in joined.values()):
        raise Diverged("a held-out likelihood is not finite", cure="lower train.learning_rate and train again")
    if "rejected" in joined:
        rewards, tokens = (joined["reward"], joined["rejected"]), (joined["tokens"], joined["rejected_tokens"])
        return _Measured(rewards, tokens, paired=True)
    desirable = joined["desirable"] > 0
    if desirable.all() or not desirable.any():
        raise InvalidRecipe(
            "held-out answers are all desirable, or all undesirable",
            given=f"{int(desirable.sum())} of {len(desirable)} desirable",
            cure="hold more out (data.split)",
        )
    rewards, tokens = ((values[desirable], values[~desirable]) for values in (joined["reward"], joined["tokens"]))
    return _Measured(rewards, tokens, paired=False)


def _batches(context: Context, rows: range | list[int]) -> Iterator[Batch]:
    for chosen in chunks(rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None)
        if not {"rejected", "desirable"} & set(batch.extra):
            raise InvalidRecipe(
                "the data does not say which answers are preferred",
                given="no data.extra",
                cure="name a column under data.extra: rejected (pairs) or desirable (marks)",
            )
        yield batch


def _columns(context: Context, batch: Batch) -> dict[str, np.ndarray]:
    found = dict(zip(("reward", "tokens"), _rewards(context, batch), strict=True))
    if "rejected" in batch.extra:
        other = _rewards(context, replace(batch, target=batch.extra["rejected"]))
        return found | dict(zip(("rejected", "rejected_tokens"), other, strict=True))
    return found | {"desirable": batch.extra["desirable"].values.double().numpy()}


def _rewards(context: Context, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of a batch's targets, and their tokens."""
    reference, own = _reference(context), _bound(context, context.model.family, batch)
    tokens = batch.target.mask().sum(1) if own.predicted is None else own.predicted
    rewards = -own.nats / tokens if reference is None else _bound(context, reference, batch).nats - own.nats
    return rewards.double().cpu().numpy(), tokens.double().cpu().numpy()


def _bound(context: Context, family: Family, batch: Batch) -> Bound:
    able: Likelihood = require(family, Likelihood, "the metric preference")
    seeds = seeds_of(context.seed, batch.ids).to(family.device)
    return able.log_likelihood(batch.to(family.device), seeds=seeds)


def _reference(context: Context) -> Family | None:
    parts = context.model.family.parts_by_name
    return parts["reference"] if "reference" in list(parts) else None


def _accuracy(paired: bool, preferred: np.ndarray, other: np.ndarray) -> tuple[float, Interval | None]:
    if paired:
        wins = float((preferred > other).sum() + (preferred == other).sum() / 2)
        return wins / len(preferred), share(round(wins), len(preferred))
    return area(preferred, other)


def area(positive: np.ndarray, negative: np.ndarray) -> tuple[float, Interval | None]:
    """The area under the ROC curve, ties counting one half, and DeLong's interval, within 0 and 1."""
    everything, ordered = np.concatenate([positive, negative]), len(positive)
    ranks = stats.rankdata(everything)
    above = (ranks[:ordered] - stats.rankdata(positive)) / len(negative)
    below = 1 - (ranks[ordered:] - stats.rankdata(negative)) / len(positive)
    value = float(above.mean())
    if min(len(positive), len(negative)) < 2:
        return value, None
    error = math.sqrt(above.var(ddof=1) / len(positive) + below.var(ddof=1) / len(negative))
    low, high = around(value, error, len(everything) - 2)
    return value, (max(0.0, low), min(1.0, high))


def _margin(found: _Measured) -> tuple[float, Interval | None]:
    preferred, other = found.rewards
    if found.paired:
        return float((preferred - other).mean()), of_mean((preferred - other).tolist())
    value = float(preferred.mean() - other.mean())
    if min(len(preferred), len(other)) < 2:
        return value, None
    interval = stats.ttest_ind(preferred, other, equal_var=False).confidence_interval(0.95)
    return value, (float(interval.low), float(interval.high))
