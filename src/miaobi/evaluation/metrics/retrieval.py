"""Retrieval: does an item's embedding find its own caption among others?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.families import Embedding, require
from miaobi.plugins import name_of
from miaobi.sampling.noise import seeds_of, uniform
from miaobi.types import Field, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class Retrieval(Metric):
    """The share of held-out items whose own caption is nearest among 20 different ones, by the model's own embeddings.

    Every held-out item with a caption is asked once (in a brief context evenly spaced ones). The other captions are
    drawn by seed from the held-out items' distinct ones. Near means cosine; a tie is wrong.

    Pitfall: it depends on how many captions there are to choose from, and on how unlike each other they are.
    """

    class Config(Settings):
        """The metric's options."""

        candidates: int = Value(20, ge=2, le=1000, description="captions to choose from, at most as many as there are")

    figures: ClassVar[dict[str, Direction]] = {"right_caption": Direction.HIGHER}
    paper: ClassVar[str] = (
        'Radford et al. 2021, "Learning transferable visual models from natural language supervision"; '
        "choice among a fixed number as Das et al. 2017"
    )
    ability: ClassVar[type[Any]] = Embedding

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the family embeds nothing, or has not exactly one condition.
        """
        super().check(family, modality)
        if len(family.conditions) != 1:
            raise Unsupported(
                f"the metric {name_of(cls)} needs a model of exactly one condition", given=sorted(family.conditions)
            )

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            InvalidRecipe: fewer than two different captions are held out.
            Diverged: an embedding is not finite.
        """
        found = _embed(context)
        candidates = min(self.config.candidates, len(found.captions))
        if candidates < 2:
            raise InvalidRecipe("retrieval needs different captions", given=candidates, cure="hold out more items")
        right = sum(
            _right(found, torch.tensor(rows), seeds_of(context.seed, rows), candidates)
            for rows in chunks(range(len(found.targets)), context.batch_rows)
        )
        count = len(found.targets)
        own = Protocol(
            samples=count,
            seed=context.seed,
            interval_method="95 %, Wilson",
            floor_method="chance: one in as many as there are candidates",
            detail={"candidates": candidates, "different_captions": len(found.captions), "similarity": "cosine"},
        )
        protocol = self.stamp("right_caption", context.stamp() | own)
        return {"right_caption": Score(right / count, share(right, count), 1 / candidates, protocol)}


@dataclass(frozen=True, slots=True)
class _Embedded:
    """Unit vectors: ``targets [N, D]``, different ``captions [M, D]``, and which of them is whose: ``own [N]``."""

    targets: Tensor
    captions: Tensor
    own: Tensor


def _embed(context: Context) -> _Embedded:
    family = context.model.family
    model = require(family, Embedding, "the metric retrieval")
    name = next(iter(family.conditions))
    targets: list[Tensor] = []
    captions: list[Tensor] = []
    own: list[int] = []
    known: dict[bytes, int] = {}
    for chosen in chunks(_rows(context), context.batch_rows):
        batch = context.held.batch(chosen, augment=None)
        here = batch.conditions[name].is_present()
        batch = batch.select(here)
        if not len(batch):
            continue
        moved = batch.to(family.device)
        targets.append(_unit(model.embed(moved)))
        told = _unit(model.embed(moved, name))
        for key, vector in zip(_keys(batch.conditions[name]), told, strict=True):
            if key not in known:
                known[key] = len(known)
                captions.append(vector)
            own.append(known[key])
    nothing = torch.zeros(0, 1)
    return _Embedded(
        torch.cat(targets) if targets else nothing,
        torch.stack(captions) if captions else nothing,
        torch.tensor(own, dtype=torch.int64),
    )


def _rows(context: Context) -> Sequence[int]:
    return context.rows if context.brief else range(len(context.held))


def _unit(vectors: Tensor) -> Tensor:
    if not torch.isfinite(vectors).all():
        raise Diverged("an embedding is not finite", cure="lower train.learning_rate and train again")
    return F.normalize(vectors.float().cpu(), dim=1)


def _keys(field: Field) -> list[bytes]:
    """Captions as the model sees them: two that it cannot tell apart are one."""
    ends = [None] * len(field) if field.lengths is None else field.lengths.tolist()
    return [row[:end].cpu().numpy().tobytes() if row.ndim else bytes(str(int(row)), "ascii")
            for row, end in zip(field.values, ends, strict=True)]  # fmt: skip


def _right(found: _Embedded, rows: Tensor, seeds: Tensor, candidates: int) -> int:
    """How many of ``rows`` are strictly nearer to their own caption than to ``candidates - 1`` others."""
    own = found.own[rows][:, None]
    drawn = uniform(seeds, "candidates", (len(found.captions),)).scatter_(1, own, 2.0)
    others = drawn.topk(candidates - 1, dim=1, largest=False).indices
    near = torch.einsum("bd,bcd->bc", found.targets[rows], found.captions[torch.cat([own, others], 1)])
    return int((near[:, 0] > near[:, 1:].amax(1)).sum())
