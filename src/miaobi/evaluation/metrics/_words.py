"""The words that metrics count: text by sacrebleu's own tokenizers, other token sequences by their token ids."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from miaobi.modalities import Modality
from miaobi.types import Form

_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
_LOOKED_AT = 100_000


def lines(modality: Modality, arrays: Sequence[np.ndarray]) -> list[str]:
    """One line an item: its text on one line, or its token ids."""
    if is_text(modality):
        return [one_line(modality.decode(array)) for array in arrays]
    return [" ".join(map(str, array.tolist())) for array in arrays]


def one_line(text: str) -> str:
    """A text as one line, as sacrebleu's command reads it."""
    return " ".join(text.split("\n"))


def elements(modality: Modality, array: np.ndarray) -> Sequence[str]:
    """What copies are looked for in: a text's characters, or token ids."""
    return str(modality.decode(array)) if is_text(modality) else [str(token) for token in array.tolist()]


def is_text(modality: Modality) -> bool:
    """Whether items are ``str``, so that figures need not depend on the tokenizer."""
    return modality.name == "text"


def bound_to_tokens(modality: Modality) -> bool:
    """Whether figures over `lines` or `elements` depend on how items are cut into tokens."""
    return modality.form is Form.TOKENS and not is_text(modality)


def tokenizer_of(modality: Modality, real: Sequence[str]) -> str:
    """By the real items: ``13a`` for spaced words, ``char`` for scripts without spaces, ``none`` for token ids."""
    if not is_text(modality):
        return "none"
    letters = letters_of(real)
    return "char" if sum(map(unspaced, letters)) > len(letters) / 2 else "13a"


def letters_of(texts: Sequence[str]) -> list[str]:
    """The letters among the first 100,000 characters of the texts together."""
    return [letter for letter in "".join(texts)[:_LOOKED_AT] if letter.isalpha()]


def unspaced(letter: str) -> bool:
    """Whether a letter is of a script that is written without spaces between words."""
    return unicodedata.name(letter, "").startswith(_UNSPACED)


def scorer(tokenizer: str) -> Any:
    """Sentence-level BLEU as sacrebleu has it: exponential smoothing, effective order."""
    return BLEU(tokenize=tokenizer, effective_order=True)


def words(texts: Sequence[str], tokenizer: str) -> list[list[str]]:
    """The words of each line, as sacrebleu counts them."""
    split = scorer(tokenizer).tokenizer
    return [str(split(text.rstrip())).split() for text in texts]
