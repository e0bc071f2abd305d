"""Loss by context length: how many of the tokens before a token help to predict it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context, spaced
from miaobi.evaluation.report import Section
from miaobi.evaluation.understanding import _pictures as pictures
from miaobi.evaluation.understanding._base import Finding, View
from miaobi.evaluation.understanding._contexts import (
    Bits,
    Target,
    bits,
    cut_losses,
    ladder,
    lengths_of,
    place_losses,
    targets_of,
)
from miaobi.evaluation.understanding._curves import Point, curve
from miaobi.families import Likelihood
from miaobi.models import Model
from miaobi.types import Form

_ITEMS = 128
_HOW = (
    "The same held-out tokens, each scored again and again with only the nearest 1, 2, 4, ... tokens before it "
    "(Khandelwal et al. 2018). Where the curve is flat, more context does not help this model. What stands before "
    "every item (its conditions, the begin token) stands before the cut context too, so where an item has a begin "
    "token a short context also hides that the item has begun long ago."
)
_PLACES = (
    "With all of the item before it, by the token’s place in the item. This mixes what context gives with what tokens "
    "stand where: an opening may be easier or harder than a middle. The curve above is the one that isolates context."
)


class ContextLength(View):
    """Bits a token of the same tokens under contexts of several lengths, and by place in the item."""

    title: ClassVar[str] = "Loss by context length"
    paper: ClassVar[str] = (
        'Khandelwal et al. 2018, "Sharp nearby, fuzzy far away: how neural language models use context"'
    )

    @classmethod
    def check(cls, model: Model) -> None:
        family = model.family
        if family.target.form is not Form.TOKENS or not isinstance(family, Likelihood):
            raise Unsupported(
                "there is no loss of single tokens",
                given=f"{type(family).__name__} of {model.modality.shown.name}",
                allowed="token families with an exact likelihood: autoregressive, seq2seq, ngram and their kin",
            )
        if any(spec.partial for spec in family.conditions.values()):
            raise Unsupported("a condition is the target in part, place by place, so the target cannot be cut alone")

    def look(self, context: Context) -> Finding:
        rows = spaced(len(context.held), max(context.count, _ITEMS))
        lengths = lengths_of(context, rows)
        column = context.model.family.target.streams
        steps = ladder(lengths, column)
        targets = targets_of(rows, lengths, steps[-1]) if steps else []
        if len(targets) < 2:
            raise Unsupported("the held-out items are too short to cut their contexts", given=f"{max(lengths)} tokens")
        losses = np.stack([cut_losses(context, targets, length, column) for length in steps])
        found = [bits(row, _groups(targets)) for row in losses]
        gains = [bits(before - after, _groups(targets)) for before, after in pairwise(losses)]
        places = _by_place(context, rows, max(lengths))
        body = _cut_body(steps, found, gains, column) + _place_body(places)
        figures = {
            "unit": "bits a token",
            "targets": len(targets),
            "items": len({target.row for target in targets}),
            "context": [{"tokens_before": n, **asdict(one)} for n, one in zip(steps, found, strict=True)],
            "place": [{"from": low, "to": high - 1, **asdict(one)} for low, high, one in places],
        }
        note = (
            f"{len(targets)} tokens of {figures['items']} items of the {context.held.part} part; intervals are 95 %, "
            f"by item. {self.paper}."
        )
        return Finding((Section(self.title, body + pictures.paragraph(note, faint=True)),), figures)


def _groups(targets: Sequence[Target]) -> list[int]:
    return [target.row for target in targets]


def _by_place(context: Context, rows: Sequence[int], longest: int) -> list[tuple[int, int, Bits]]:
    """Bits a token at places 0, 1, 2-3, 4-7, ..., as far as there are tokens there."""
    edges = [0, 1]
    while edges[-1] < longest:
        edges.append(2 * edges[-1])
    edges[-1] = max(longest, edges[-2] + 1) if len(edges) > 2 else edges[-1]
    nats, counts = place_losses(context, rows, edges)
    return [
        (low, high, bits(nats[:, i], range(len(rows)), counts[:, i]))
        for i, (low, high) in enumerate(pairwise(edges))
        if counts[:, i].sum()
    ]


def _cut_body(steps: Sequence[int], found: Sequence[Bits], gains: Sequence[Bits], column: int) -> str:
    points = [Point(n, one.value, one.interval, str(n)) for n, one in zip(steps, found, strict=True)]
    unit = "tokens" if column == 1 else f"tokens, {column} a column"
    chart = curve(points, "The same tokens under cut contexts", f"context ({unit})", "bits a token")
    rows = [
        (n, one.value, _interval(one), gain.value if gain else "", _interval(gain) if gain else "")
        for n, one, gain in zip(steps, found, [None, *gains], strict=True)
    ]
    header = ("tokens before", "bits a token", "95 % interval", "gained by the last doubling", "95 % interval")
    return pictures.paragraph(_HOW) + chart + pictures.table(header, rows)


def _place_body(places: Sequence[tuple[int, int, Bits]]) -> str:
    points = [
        Point(low + 1, one.value, one.interval, f"{low + 1}" if high - low == 1 else f"{low + 1}–{high}")
        for low, high, one in places
    ]
    chart = curve(points, "By place in the item, with all of the context", "place of the token", "bits a token")
    return pictures.heading("By place") + pictures.paragraph(_PLACES) + chart


def _interval(one: Any) -> str:
    return "" if one.interval is None else f"{one.interval[0]:.4g} to {one.interval[1]:.4g}"
