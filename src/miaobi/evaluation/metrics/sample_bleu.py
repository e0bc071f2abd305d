"""BLEU of samples against held-out texts and back: whether they are like the data, and whether they are as varied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import bootstrap
from miaobi.evaluation.metrics._references import References
from miaobi.evaluation.metrics._words import bound_to_tokens, lines, tokenizer_of
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_UNITS = {
    "harmonic_bleu": "harmonic mean of forward and backward BLEU, 0 to 100",
    "forward_bleu": "BLEU-4, 0 to 100, each sample against all held-out items, averaged",
    "backward_bleu": "BLEU-4, 0 to 100, each held-out item against all samples, averaged",
}


class SampleBleu(Metric):
    """Forward BLEU, each sample against all held-out items; backward BLEU, each of these against all samples; and both.

    Samples that all say one good thing score high forward and low backward, noise low both ways; the harmonic mean asks
    for quality and variety together. Pitfalls: all three rise with the count and depend on the tokenizer, which the
    real texts choose, so compare equal counts and signatures. The floor is what as many training items score in the
    samples' place: samples copied from the training part reach it, which `memorization` tells.
    """

    figures: ClassVar[dict[str, Direction]] = dict.fromkeys(_UNITS, Direction.HIGHER)
    paper: ClassVar[str] = (
        'Shi et al. 2018, "Toward Diverse Text Generation with Inverse Reinforcement Learning"; forward BLEU as in '
        'Zhu et al. 2018, "Texygen"; BLEU by sacrebleu (Post 2018)'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    def compute(self, context: Context) -> dict[str, Score]:
        real = lines(context.modality, context.real)
        tokenizer = tokenizer_of(context.modality, real)
        held = References(real, tokenizer)
        generated = lines(context.modality, context.generated)
        found = _Both(held, real, generated, tokenizer)
        floors = None if context.brief else _Both(held, real, self._training(context), tokenizer)
        return {figure: self._score(context, figure, found, floors, held.signature()) for figure in _UNITS}

    def _training(self, context: Context) -> list[str]:
        decoded = context.decoded(context.prepared.train, context.training_rows)
        return [line for arrays, _ in decoded for line in lines(context.modality, arrays)]

    def _score(self, context: Context, figure: str, found: _Both, floors: _Both | None, signature: str) -> Score:
        interval = None
        if not context.brief:
            interval = bootstrap(context.count, context.seed, lambda rows: found.figure(figure, rows))
        protocol = self.stamp(
            figure,
            context.sample_stamp(),
            unit=_UNITS[figure],
            signature=signature,
            tokenizer_bound=bound_to_tokens(context.modality),
            interval_method="95 %, bootstrap over samples and held-out items, what each is compared with staying whole",
            floor_method="the same figure of as many training items in the samples' place",
            floor_samples=len(context.training_rows),
        )
        floor = None if floors is None else floors.figure(figure)
        return Score(found.figure(figure), interval, floor, protocol)


class _Both:
    """BLEU of each text among the held-out ones, and of each of these among the texts."""

    def __init__(self, held: References, real: Sequence[str], texts: Sequence[str], tokenizer: str) -> None:
        self.forward = np.array(held.scores(texts))
        self.backward = np.array(References(texts, tokenizer).scores(real))

    def figure(self, name: str, rows: np.ndarray | slice = slice(None)) -> float:
        """A figure, of all or of some rows of both sides."""
        forward, backward = float(self.forward[rows].mean()), float(self.backward[rows].mean())
        return {
            "forward_bleu": forward,
            "backward_bleu": backward,
            "harmonic_bleu": harmonic(forward, backward),
        }[name]


def harmonic(left: float, right: float) -> float:
    """The harmonic mean of two numbers that are not negative; 0 where both are."""
    return 2 * left * right / (left + right) if left + right > 0 else 0.0
