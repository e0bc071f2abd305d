"""What ROUGE counts as a word: rouge_score's own tokens for plain Latin text, and tokens of any script."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from miaobi.evaluation.metrics._words import letters_of, unspaced

_PLAIN = 0.99


class AnyScript:
    """Runs of letters, marks and digits in lower case; letters of scripts without spaces one by one."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, in order; the name is rouge_score's."""
        words = [""]
        for letter in text.lower():
            if unicodedata.category(letter)[0] not in "LMN":
                words.append("")
            elif unspaced(letter):
                words += [letter, ""]
            else:
                words[-1] += letter
        return [word for word in words if word]


def tokenizer_of(real: Sequence[str]) -> str:
    """``rouge_score`` where 99 % of the real texts' letters are a to z, all that it keeps; else ``any script``."""
    letters = letters_of(real)
    plain = sum(letter.isascii() for letter in letters)
    return "rouge_score" if plain >= _PLAIN * len(letters) else "any script"


def scorer(kinds: Sequence[str], tokenizer: str, stemmer: bool) -> Any:
    """rouge_score's scorer; only its own tokens are stemmed."""
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(kinds), use_stemmer=stemmer, tokenizer=None if tokenizer == "rouge_score" else AnyScript())
