"""Whether generated texts are about what they were asked to be about: nearer to their own condition than to others'."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field as Value
from sklearn.feature_extraction.text import TfidfVectorizer

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import bootstrap
from miaobi.evaluation.metrics._pairs import require_pairs, require_source, sources
from miaobi.evaluation.metrics._rouge_words import AnyScript
from miaobi.evaluation.records import Direction, Score
from miaobi.plugins import name_of
from miaobi.sampling.noise import integers, seeds_of, uniform
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_FEWEST = 3


class Relevance(Metric):
    """How often a text's own condition is the most similar to it among the conditions of other items.

    Similarity is the cosine of TF-IDF weights (Salton and Buckley 1988) over the held-out conditions and answers: of
    words, characters where a script has no spaces, and pairs of them. ``relevance_top1`` is the share of samples whose
    own condition comes first of ``among``, ties shared out, so that chance is one in ``among``; ``relevance_margin`` is
    the similarity to the own condition less the mean to the others. The floor is what the held-out answers score.
    ``relevance_shuffled`` is the control: the same share with each sample's own condition replaced by another item's,
    which is near chance whatever the model does; chance is its floor.

    Pitfalls. It sees words, not meaning: copying the condition scores all, a true paraphrase in other words little, and
    it says nothing where condition and text are of two languages. A text of no shared word ties with every condition.
    """

    class Config(Settings):
        """The metric's options."""

        source: str | None = Value(None, description="the text condition; default: the only one")
        among: int = Value(
            20, ge=2, le=1000, description="conditions that each text is compared with, its own included"
        )

    figures: ClassVar[dict[str, Direction]] = {
        "relevance_top1": Direction.HIGHER,
        "relevance_margin": Direction.HIGHER,
        "relevance_shuffled": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'Salton and Buckley 1988, "Term-weighting approaches in automatic text retrieval"; '
        'ranking among others\' as Lowe et al. 2015, "The Ubuntu Dialogue Corpus"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not text, or the model has no conditions.
        """
        super().check(family, modality)
        require_pairs(name_of(cls), family, modality)

    def check_conditions(self, conditions: Mapping[str, Modality]) -> None:
        require_source(self.config.source, conditions)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            InvalidRecipe: fewer than three samples, or no text condition to compare with.
        """
        told = self._told(context)
        real, made = context.real_items, context.generated_items
        others, another = strangers(context.count, self.config.among, context.seed)
        nothing = np.zeros(context.count, dtype=np.int64)
        weigh = TfidfVectorizer(analyzer=terms, sublinear_tf=True)
        try:
            weigh.fit([*told, *real])
        except ValueError:
            raise Unsupported("relevance counts words, and there are none in the held-out texts") from None
        asked, answers, samples = (weigh.transform(side) for side in (told, real, made))
        own, ideal = Similarities(samples, asked, nothing, others), Similarities(answers, asked, nothing, others)
        control = Similarities(samples, asked, another, others if context.count > self.config.among else others[:, 1:])
        found = {
            "relevance_top1": (own.first(), float(ideal.first().mean())),
            "relevance_margin": (own.margin(), float(ideal.margin().mean())),
            "relevance_shuffled": (control.first(), 1 / control.among),
        }
        detail = {"among": own.among, "chance": 1 / own.among, "similarity": "TF-IDF of words and pairs of them"}
        return {figure: self._score(context, figure, *values, detail) for figure, values in found.items()}

    def _told(self, context: Context) -> list[str]:
        told = sources(context, self.config.source)
        if told is None:
            raise InvalidRecipe(
                "relevance compares texts with one text condition",
                given=sorted(context.model.conditions),
                cure="name it in evaluate.options.relevance.source",
            )
        if context.count < _FEWEST:
            raise InvalidRecipe(
                "relevance compares with the conditions of other items",
                given=f"{context.count} samples",
                allowed=f"at least {_FEWEST}",
                cure="raise evaluate.samples, or hold out more items",
            )
        return told

    def _score(self, context: Context, figure: str, values: np.ndarray, floor: float, detail: dict[str, Any]) -> Score:
        interval = None
        if not context.brief:
            interval = bootstrap(len(values), context.seed, lambda rows: float(values[rows].mean()))
        control = figure == "relevance_shuffled"
        protocol = self.stamp(
            figure,
            context.sample_stamp(),
            unit="cosine" if figure == "relevance_margin" else "share of samples",
            interval_method="95 %, percentiles of 1,000 resamples of samples",
            floor_method="chance" if control else "the held-out answers to the same conditions",
            floor_samples=0 if control else context.count,
            detail=detail,
        )
        return Score(float(values.mean()), interval, floor, protocol)


class Similarities:
    """Cosines of texts ``[N, D]`` with conditions ``[N, D]``, rows of unit length or zero.

    Args:
        texts: sparse.
        conditions: sparse.
        own: ``[N]`` how many rows on the condition stands that counts as a text's own (0: in its row).
        others: ``[N, K]`` how many rows on those stand that it is compared with.
    """

    def __init__(self, texts: Any, conditions: Any, own: np.ndarray, others: np.ndarray) -> None:
        self.own = _cosines(texts, conditions, own)
        self.others = np.stack([_cosines(texts, conditions, shifts) for shifts in others.T], 1)
        self.among = 1 + others.shape[1]

    def first(self) -> np.ndarray:
        """``[N]``: 1 where the own condition is the most similar, 1/K where K are, 0 elsewhere."""
        best = self.others.max(1)
        ties = 1 + np.isclose(self.others, self.own[:, None], rtol=0, atol=1e-9).sum(1)
        return np.where(self.own >= best - 1e-9, 1 / ties, 0.0)

    def margin(self) -> np.ndarray:
        """``[N]``: similarity to the own condition less the mean to the others."""
        return np.asarray(self.own - self.others.mean(1))


def strangers(count: int, among: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Other conditions for each text ``[N, K]``, and the one that the control takes for its own ``[N]``.

    Given as how many rows on they stand, the last row being followed by the first. They are ``among - 1``, all
    different, and the control's is one more; where there are too few items, they are all, and the control's the first.
    """
    order = torch.argsort(uniform(seeds_of(seed, range(count - 1)), "relevance"))[:among]
    starts = integers(seeds_of(seed, range(count)), "relevance", count - 1)
    shifts = 1 + ((starts[:, None] + order) % (count - 1)).numpy()
    return (shifts[:, :-1], shifts[:, -1]) if count > among else (shifts, shifts[:, 0])


def terms(text: str) -> list[str]:
    """Words in lower case and pairs of neighbours; of scripts without spaces, characters and pairs."""
    found = AnyScript().tokenize(text)
    return [*found, *map(" ".join, pairwise(found))]


def _cosines(texts: Any, conditions: Any, shifts: np.ndarray) -> np.ndarray:
    count = len(shifts)
    chosen = conditions[(np.arange(count) + shifts) % count]
    return np.asarray(texts.multiply(chosen).sum(1)).ravel()
