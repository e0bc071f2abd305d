"""A guess at the language of a text from the scripts of its letters; no dictionary, no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

_RANGES = (
    (0x41, 0x5A, "Latin"),
    (0x61, 0x7A, "Latin"),
    (0xC0, 0x24F, "Latin"),
    (0x370, 0x3FF, "Greek"),
    (0x400, 0x52F, "Cyrillic"),
    (0x590, 0x5FF, "Hebrew"),
    (0x600, 0x77F, "Arabic"),
    (0x900, 0x97F, "Devanagari"),
    (0xE00, 0xE7F, "Thai"),
    (0x1100, 0x11FF, "Korean"),
    (0x1E00, 0x1EFF, "Latin"),
    (0x3040, 0x30FF, "Japanese"),
    (0x3400, 0x4DBF, "Chinese"),
    (0x4E00, 0x9FFF, "Chinese"),
    (0xAC00, 0xD7AF, "Korean"),
    (0xF900, 0xFAFF, "Chinese"),
    (0x20000, 0x323AF, "Chinese"),
)
UNSPACED = frozenset({"Chinese", "Japanese", "Thai"})
"""Languages that are written without spaces between words."""
_STARTS = np.array([start for start, _, _ in _RANGES])
_ENDS = np.array([end for _, end, _ in _RANGES])
_LOOKED_AT = 10_000
_KANA_SHARE = 0.05


def language(text: str) -> str:
    """The script of most of the first 10,000 characters; Han with kana is Japanese; ``"none"`` without letters."""
    codes = np.frombuffer(text[:_LOOKED_AT].encode("utf-32-le", "surrogatepass"), dtype="<u4")
    where = np.searchsorted(_STARTS, codes, side="right") - 1
    where = where[(where >= 0) & (codes <= _ENDS[where])]
    counts: Counter[str] = Counter()
    for index, count in enumerate(np.bincount(where, minlength=len(_RANGES)).tolist()):
        counts[_RANGES[index][2]] += count
    if not counts.total():
        return "none"
    kana, han = counts["Japanese"], counts["Chinese"]
    if han and kana > _KANA_SHARE * (kana + han):
        counts["Japanese"] += counts.pop("Chinese")
    return counts.most_common(1)[0][0]


def languages(texts: Sequence[str]) -> dict[str, float]:
    """The share of ``texts`` in each guessed language, the largest first."""
    counts = Counter(map(language, texts))
    return {name: count / len(texts) for name, count in counts.most_common()}
