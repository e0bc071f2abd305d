"""What is told of a refresh's data: what is replayed, what was dropped, and what the old vocabulary does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from miaobi.data import Prepared

_CHUNK = 256
_NAMED = 20
"""Unknown characters that are named."""


def lines(told: Mapping[str, Any], share: float) -> list[str]:
    """Sentences.

    Args:
        told: how many items are new, replayed and old, how many were dropped by part, and what `unknown_in` gives.
        share: of replayed items that was asked for.
    """
    together, asked = told["new"] + told["replayed"], f"asked for: a share of {share:g}"
    said = [
        f"replay: {told['replayed']} of {together} training items are old ones ({asked}), of {told['old']} there are"
    ]
    if told["replayed"] > told["old"]:
        said.append("there are fewer old items than that: each is replayed more than once an epoch")
    if any(told["dropped"].values()):
        counts = ", ".join(f"{count} {part}" for part, count in told["dropped"].items())
        said.append(f"known before, so dropped from the new data: {counts}")
    if told["unknown"]:
        said.append(
            f"{told['unknown']} of {told['tokens']} tokens of the new training data are unknown to the model, whose "
            f"vocabulary is kept: {''.join(told['characters']) or 'none of them can be named'}"
        )
    return said


def unknown_in(data: Prepared) -> dict[str, Any]:
    """Tokens of the training part, how many of them are unknown, and the commonest characters among those."""
    unknown, tokenizer = data.target.unknown, data.modality.tokenizer
    found: dict[str, Any] = {"tokens": 0, "unknown": 0, "characters": {}}
    if unknown is None or tokenizer is None:
        return found
    letters: Counter[str] = Counter()
    for start in range(0, len(data.train), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(data.train)))
        target = data.train.batch(rows).target
        strange = (target.values == unknown) & target.mask()
        found["tokens"] += int(target.mask().sum())
        found["unknown"] += int(strange.sum())
        for row in strange.any(1).nonzero()[:, 0].tolist():
            letters.update(str(data.train.items([start + row])[0]))
    known = {letter for letter in letters if unknown not in np.asarray(tokenizer.encode(letter))}
    strangers = [(letter, count) for letter, count in letters.most_common() if letter not in known]
    return found | {"characters": dict(strangers[:_NAMED])}
