"""Diversity of generated texts and token sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import jackknife, of_mean
from miaobi.evaluation.metrics._references import References
from miaobi.evaluation.metrics._words import bound_to_tokens, lines, tokenizer_of, words
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_ORDERS = (1, 2, 3, 4)
_Words = Sequence[Sequence[str]]
_DISTINCT = 'Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models"'
_SELF_BLEU = 'Zhu et al. 2018, "Texygen"; BLEU by sacrebleu (Post 2018)'


class Diversity(Metric):
    """Distinct-n, the share of n-grams that are different ones, and self-BLEU, how much the samples repeat each other.

    Pitfalls. Neither is better higher or lower: noise is as diverse as can be. The floor is what as many held-out items
    score; both figures depend on the count and on the length of the samples.
    """

    class Config(Settings):
        """The metric's options."""

        self_bleu_samples: int = Value(100, ge=2, le=2000, description="evenly spaced; the figure rises with the count")

    figures: ClassVar[dict[str, Direction]] = {
        "distinct_1": Direction.NEITHER,
        "distinct_2": Direction.NEITHER,
        "distinct_3": Direction.NEITHER,
        "distinct_4": Direction.NEITHER,
        "self_bleu": Direction.NEITHER,
    }
    paper: ClassVar[str] = f"{_DISTINCT}; {_SELF_BLEU}"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    def compute(self, context: Context) -> dict[str, Score]:
        """Self-BLEU, 0 to 100, needs at least two samples and is left out below that."""
        generated = lines(context.modality, context.generated)
        real = lines(context.modality, context.real)
        tokenizer = tokenizer_of(context.modality, real)
        split = words(generated, tokenizer), words(real, tokenizer)
        scores = {f"distinct_{order}": self._distinct(context, *split, order, tokenizer) for order in _ORDERS}
        if context.count > 1:
            scores["self_bleu"] = self._self_bleu(context, generated, real, tokenizer)
        return scores

    def _distinct(self, context: Context, generated: _Words, real: _Words, order: int, tokenizer: str) -> Score:
        grams = [ngrams(item, order) for item in generated]
        value = distinct(grams)
        interval, floor = None, None
        if not context.brief:
            interval = jackknife(value, len(grams), context.seed, lambda rows: distinct([grams[i] for i in rows]))
            floor = distinct([ngrams(item, order) for item in real])
        protocol = self.stamp(
            f"distinct_{order}",
            context.sample_stamp(),
            paper=_DISTINCT,
            unit=f"{order}-grams of sacrebleu's {tokenizer!r} words, all samples pooled",
            tokenizer_bound=bound_to_tokens(context.modality),
            interval_method="95 %, jackknife leaving out one of ten disjoint blocks",
            floor_method="the same figure of the held-out items",
            floor_samples=context.count,
        )
        return Score(value, interval, floor, protocol)

    def _self_bleu(self, context: Context, generated: Sequence[str], real: Sequence[str], tokenizer: str) -> Score:
        rows = spaced(context.count, self.config.self_bleu_samples)
        values, signature = self_bleu([generated[i] for i in rows], tokenizer)
        floor = None if context.brief else float(np.mean(self_bleu([real[i] for i in rows], tokenizer)[0]))
        protocol = self.stamp(
            "self_bleu",
            context.sample_stamp(),
            samples=len(rows),
            paper=_SELF_BLEU,
            unit="BLEU, 0 to 100, each sample against all others, averaged",
            signature=signature,
            tokenizer_bound=bound_to_tokens(context.modality),
            interval_method="95 %, Student's t over samples as if independent",
            floor_method="the same figure of the held-out items",
            floor_samples=len(rows),
        )
        return Score(float(np.mean(values)), of_mean(values), floor, protocol)


def ngrams(tokens: Sequence[str], order: int) -> list[tuple[str, ...]]:
    """Every n-gram of a sequence; none where it is shorter."""
    return [tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1)]


def distinct(grams: Sequence[Sequence[tuple[str, ...]]]) -> float:
    """Different n-grams over all n-grams of the items together, 0 to 1; 0 where there are none."""
    pooled = [gram for item in grams for gram in item]
    return len(set(pooled)) / len(pooled) if pooled else 0.0


def self_bleu(texts: Sequence[str], tokenizer: str) -> tuple[list[float], str]:
    """Sentence BLEU (0 to 100) of each text against all others, and sacrebleu's signature."""
    others = References(texts, tokenizer)
    return others.leave_one_out(), others.signature(left_out=1)
