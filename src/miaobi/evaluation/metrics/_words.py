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
    """One line an item: its text on one line (of a dialogue, its last answer), or its token ids."""
    if _writes(modality):
        return [one_line(_told(modality, array)) for array in arrays]
    return [" ".join(map(str, array.tolist())) for array in arrays]


def one_line(text: str) -> str:
    """A text as one line, as sacrebleu's command reads it."""
    return " ".join(text.split("\n"))


def elements(modality: Modality, array: np.ndarray) -> Sequence[str]:
    """What copies are looked for in, so that what changes no figure of quality hides none.

    A text's letters and digits (of a dialogue, its last answer's), of one width and case; how each note of music
    follows the last one of its voice, so that a transposed copy is one; else token ids.
    """
    if _writes(modality):
        return letters(_told(modality, array))
    return steps(modality.decode(array)) if modality.name == "music" else [str(token) for token in array.tolist()]


def streams(modality: Modality, sequence: Sequence[str]) -> list[Sequence[str]]:
    """Elements, and of music their intervals alone and their lengths alone: one may be copied without the other."""
    if modality.name != "music":
        return [sequence]
    return [sequence, *([one.split(":")[side] for one in sequence] for side in (0, 1))]


def letters(text: str) -> str:
    """Letters, marks and digits (Unicode NFKC, case folded); of a text without any, all but its blanks."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(one for one in folded if unicodedata.category(one)[0] in "LMN")
    return kept or "".join(folded.split())


def steps(piece: Any) -> list[str]:
    """Of every note, voice by voice: semitones from the one before, octaves apart, and its length in 16ths."""
    found = []
    for track in piece.tracks:
        notes = track.notes.numpy()
        order = np.lexsort((-notes["pitch"].astype(np.int64), notes["time"]))
        pitch = notes["pitch"].astype(np.int64)[order]
        lengths = np.rint(notes["duration"][order] * (4 / piece.ticks_per_quarter)).astype(np.int64)
        rises = np.diff(pitch, prepend=pitch[:1]) % 12
        found += [f"{rise}:{length}" for rise, length in zip(rises.tolist(), lengths.tolist(), strict=True)]
    return found


def kind_of_elements(modality: Modality) -> str:
    """What `elements` are, in words."""
    if _writes(modality):
        return "letters and digits"
    return "notes, each by its interval and length" if modality.name == "music" else "tokens"


def order_of(modality: Modality, real: Sequence[np.ndarray]) -> int:
    """How many elements in a row say something: three of a script whose letters are words, else five."""
    return 3 if _writes(modality) and tokenizer_of(modality, [_told(modality, a) for a in real]) == "char" else 5


def is_text(modality: Modality) -> bool:
    """Whether items are ``str``, so that figures need not depend on the tokenizer."""
    return modality.name == "text"


def bound_to_tokens(modality: Modality) -> bool:
    """Whether figures over `lines` or `elements` depend on how items are cut into tokens."""
    return modality.form is Form.TOKENS and not _writes(modality)


def tokenizer_of(modality: Modality, real: Sequence[str]) -> str:
    """By the real items: ``13a`` for spaced words, ``char`` for scripts without spaces, ``none`` for token ids."""
    if not _writes(modality):
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


def _writes(modality: Modality) -> bool:
    """Whether models of it write texts, which `_told` gives."""
    return modality.name in ("text", "chat")


def _told(modality: Modality, array: np.ndarray) -> str:
    return modality.text(modality.decode(array)) or ""


def words(texts: Sequence[str], tokenizer: str) -> list[list[str]]:
    """The words of each line, as sacrebleu counts them."""
    split = scorer(tokenizer).tokenizer
    return [str(split(text.rstrip())).split() for text in texts]
