"""Texts with a few characters changed so that people still read them.

Swaps and deletions inside words: Belinkov and Bisk 2018, "Synthetic and natural noise both break neural machine
translation"; Pruthi et al. 2019, "Combating adversarial misspellings with robust word recognition". Look-alikes:
Eger et al. 2019, "Text processing like humans do: visually attacking and shielding NLP systems".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import regex

from miaobi.sampling.noise import derive_one, integers, seeds_of

_SHORTEST = 4
"""Letters of the shortest word that has an inside to swap."""
_WORDS = regex.compile(r"\p{L}+")
_ALIKE = (("aceiopsxyjhABCEHIKMOPTX", "асеіорѕхујһАВСЕНІКМОРТХ"), ("人未土日己天千王", "入末士曰已夭干玉"))
_CHINESE = _ALIKE[1]
_TWINS = dict(pair for one, other in (*_ALIKE, _CHINESE[::-1]) for pair in zip(one, other, strict=True))
"""Latin letters that Cyrillic ones look like, and Chinese characters that differ by a stroke."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to change a text: where it applies, and what it makes of a text there."""

    places: Callable[[str], Sequence[int]]
    apply: Callable[[str, int], str]


def _inside(text: str, shortest: int) -> list[int]:
    """Places of letters that are neither first nor last of a word (a run of letters) of at least ``shortest``."""
    words = [word.span() for word in _WORDS.finditer(text) if len(word.group()) >= shortest]
    return [place for start, end in words for place in range(start + 1, end - 1)]


def _swaps(text: str) -> list[int]:
    inside = set(_inside(text, _SHORTEST))
    return [place for place in sorted(inside) if place + 1 in inside and text[place] != text[place + 1]]


EDITS = {
    "swap": Edit(_swaps, lambda text, at: text[:at] + text[at + 1] + text[at] + text[at + 2 :]),
    "delete": Edit(lambda text: _inside(text, _SHORTEST - 1), lambda text, at: text[:at] + text[at + 1 :]),
    "lookalike": Edit(
        lambda text: [place for place, letter in enumerate(text) if letter in _TWINS],
        lambda text, at: text[:at] + _TWINS[text[at]] + text[at + 1 :],
    ),
}
"""By name. ``swap`` keeps a text's letters, its length and each word's first and last letter; ``delete`` keeps the
first and last letter; ``lookalike`` keeps the length."""

Scorer = Callable[[Sequence[str]], np.ndarray]
"""How far each text is from what it should be: above nought where it is taken for something else."""


def edited(text: str, kinds: Sequence[str], seed: int) -> str:
    """``text`` with one edit, of all places of all kinds each as likely; itself where none applies."""
    found = [(kind, place) for kind in kinds for place in EDITS[kind].places(text)]
    if not found:
        return text
    kind, place = found[int(integers(seeds_of(seed, [0]), "edit", len(found))[0])]
    return EDITS[kind].apply(text, place)


def repeatedly(text: str, kinds: Sequence[str], count: int, seed: int) -> str:
    """``text`` with ``count`` edits, one after the other."""
    for index in range(count):
        text = edited(text, kinds, derive_one(seed, index))
    return text


def greedy(text: str, kinds: Sequence[str], count: int, tries: int, seed: int, scorer: Scorer) -> list[str]:
    """After each of ``count`` edits the text that scores highest: each time the best of ``tries`` further edits.

    An edit that brings nothing is left out, so no text scores below those before it.
    """
    found: list[str] = []
    for index in range(count):
        candidates = [text, *(edited(text, kinds, derive_one(seed, "greedy", index, one)) for one in range(tries))]
        text = candidates[int(scorer(candidates).argmax())]
        found.append(text)
    return found
