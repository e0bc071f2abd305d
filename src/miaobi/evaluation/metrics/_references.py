"""Sentence BLEU against many references whose n-grams are counted once.

sacrebleu counts every reference anew for every sentence, which grows with the product of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU

from miaobi.evaluation.metrics._words import scorer, words

_ORDER = 4
_Gram = tuple[str, ...]


@dataclass(slots=True)
class _Most:
    """How often an n-gram comes in the text that has most of it, and in the one after; ``owner`` is the first."""

    first: int = 0
    second: int = 0
    owner: int = -1

    def see(self, count: int, text: int) -> None:
        if count > self.first:
            self.first, self.second, self.owner = count, self.first, text
        elif count > self.second:
            self.second = count

    def without(self, text: int | None) -> int:
        return self.second if text == self.owner else self.first


class References:
    """Texts that others, or each of them, are compared with; figures are those of sacrebleu's ``sentence_score``.

    Args:
        texts: one line each; at least one, and two for `leave_one_out`.
        tokenizer: sacrebleu's.
    """

    def __init__(self, texts: Sequence[str], tokenizer: str) -> None:
        self._tokenizer = tokenizer
        self._own = [_grams(line) for line in words(texts, tokenizer)]
        self._lengths = Counter(length for _, length in self._own)
        self._most: dict[_Gram, _Most] = {}
        for index, (grams, _) in enumerate(self._own):
            for gram, count in grams.items():
                self._most.setdefault(gram, _Most()).see(count, index)

    def scores(self, texts: Sequence[str]) -> list[float]:
        """BLEU-4 (0 to 100) of each text against all references."""
        return [self._score(*_grams(line), None) for line in words(texts, self._tokenizer)]

    def leave_one_out(self) -> list[float]:
        """BLEU-4 (0 to 100) of each reference against all the others."""
        return [self._score(grams, length, index) for index, (grams, length) in enumerate(self._own)]

    def signature(self, left_out: int = 0) -> str:
        """sacrebleu's, for as many references less those that are left out."""
        bleu = scorer(self._tokenizer)
        bleu.sentence_score("", [""] * (len(self._own) - left_out))
        return str(bleu.get_signature())

    def _score(self, grams: Counter[_Gram], length: int, left_out: int | None) -> float:
        correct, total = [0] * _ORDER, [0] * _ORDER
        for gram, count in grams.items():
            total[len(gram) - 1] += count
            most = self._most.get(gram)
            if most is not None:
                correct[len(gram) - 1] += min(count, most.without(left_out))
        nearest = self._nearest(length, None if left_out is None else length)
        return float(BLEU.compute_bleu(correct, total, length, nearest, "exp", effective_order=True).score)

    def _nearest(self, length: int, own: int | None) -> int:
        """The reference length nearest to ``length``, the shorter of two, without one reference of length ``own``."""
        found = (other for other, count in self._lengths.items() if count > (other == own))
        return min(found, key=lambda other: (abs(other - length), other))


def _grams(line: Sequence[str]) -> tuple[Counter[_Gram], int]:
    """A line's n-grams of up to four words, and its length."""
    grams = (tuple(line[i : i + order]) for order in range(1, _ORDER + 1) for i in range(len(line) - order + 1))
    return Counter(grams), len(line)
