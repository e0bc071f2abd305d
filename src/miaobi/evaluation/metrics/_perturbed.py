"""Held-out items of a classifier, perturbed by an adversary and at random, at growing strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Diverged
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._attacks import lead, noisy, pgd
from miaobi.evaluation.metrics._edits import greedy, repeatedly
from miaobi.modalities import Item, Modality
from miaobi.sampling.noise import derive, derive_one, seeds_of
from miaobi.types import Batch, Field

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

LEVEL = 2 / 255
"""One level of 255 in the range of data, -1 to 1."""


@runtime_checkable
class Reads(Protocol):
    """Says something of what it reads, differentiably where that is a tensor."""

    read: str

    def said(self, conditions: dict[str, Field], rows: int) -> Tensor:
        """``[rows, outputs]``: of a classifier, logits."""
        ...


@dataclass(frozen=True, slots=True)
class Perturbed:
    """What became of ``n`` items.

    Attributes:
        strengths: rising; the first is 0, the items as they are.
        robust: ``bool [strengths, n]``: right whatever the adversary tried up to this strength.
        random: ``bool [strengths, n]``: right after one random perturbation of this strength.
        clean: what the model reads, as items.
        attacked: the same after the attack of the strength that was named.
    """

    strengths: list[float]
    robust: np.ndarray
    random: np.ndarray
    clean: list[Item]
    attacked: list[Item]


def tensors(context: Context, family: Reads, rows: Sequence[int], config: Any) -> Perturbed:
    """Projected gradient descent and noise at each of ``config.epsilons`` and ``config.epsilon``, in levels of 255.

    Raises:
        Diverged: a logit is not finite.
    """
    modality, strengths = context.model.conditions[family.read], sorted({0.0, *config.epsilons, config.epsilon})
    robust, random, clean, attacked = [], [], [], []
    for chosen in chunks(rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None).to(context.model.family.device)
        values, seeds = batch.conditions[family.read].values, seeds_of(context.seed, chosen)
        seeds = seeds.to(values.device)
        kept, steady = [], []
        for strength in strengths:
            found = pgd(
                _logits(family, batch), batch.target.values, values, strength * LEVEL, steps=config.steps, seeds=seeds
            )
            kept.append((_finite(found.lead) < 0).cpu().numpy())
            drawn = noisy(values, strength * LEVEL, derive(seeds, round(1000 * strength)))
            steady.append((lead(_logits(family, batch)(drawn), batch.target.values) < 0).cpu().numpy())
            if strength == config.epsilon:
                attacked += _items(modality, found.inputs)
        robust.append(np.logical_and.accumulate(kept))
        random.append(np.array(steady))
        clean += _items(modality, values)
    return Perturbed(strengths, np.concatenate(robust, 1), np.concatenate(random, 1), clean, attacked)


def texts(context: Context, family: Reads, rows: Sequence[int], config: Any) -> Perturbed:
    """Up to ``config.most_edits`` edits: greedy ones, the worst of several random sequences, and one random sequence.

    Raises:
        Diverged: a logit is not finite.
    """
    modality, strengths = context.model.conditions[family.read], list(range(config.most_edits + 1))
    robust, random, clean, attacked = [], [], [], []
    for row, item in zip(rows, context.held.condition_items(family.read, rows), strict=True):
        batch = context.held.batch([row], augment=None).to(context.model.family.device)
        text = "" if item is None else str(modality.decode(modality.encode(item)))

        def scorer(candidates: Sequence[str], batch: Batch = batch) -> np.ndarray:
            return _leads(family, modality, batch, candidates)

        seed = derive_one(context.seed, "edits", int(row))
        steps = [text, *greedy(text, config.kinds, config.most_edits, config.tries, seed, scorer)]
        drawn = [
            [repeatedly(text, config.kinds, count, derive_one(seed, one)) for count in strengths]
            for one in range(config.tries)
        ]
        leads = scorer([*steps, *(one for several in drawn for one in several)]).reshape(-1, len(strengths))
        robust.append(np.logical_and.accumulate(leads.max(axis=0) < 0))
        random.append(leads[1] < 0)
        clean.append(text)
        attacked.append(steps[config.edits])
    return Perturbed([float(one) for one in strengths], np.stack(robust, 1), np.stack(random, 1), clean, attacked)


def _logits(family: Reads, batch: Batch) -> Any:
    def logits(inputs: Tensor) -> Tensor:
        field = batch.conditions[family.read]
        given = Field(inputs, lengths=field.lengths, weight=field.weight, present=field.present)
        return family.said({**batch.conditions, family.read: given}, len(inputs))

    return logits


def _leads(family: Reads, modality: Modality, batch: Batch, candidates: Sequence[str]) -> np.ndarray:
    """How far a wrong class leads in each text put in place of the one item of ``batch``."""
    field = modality.collate([modality.encode(text) for text in candidates]).to(batch.target.values.device)
    rows = torch.zeros(len(candidates), dtype=torch.int64, device=batch.target.values.device)
    others = {name: one.select(rows) for name, one in batch.conditions.items()}
    logits = family.said({**others, family.read: field}, len(candidates))
    return _finite(lead(logits, batch.target.values[rows])).cpu().numpy()


def _items(modality: Modality, values: Tensor) -> list[Item]:
    return [modality.decode(array) for array in modality.split_batch(values.cpu(), None)]


def _finite(values: Tensor) -> Tensor:
    if not torch.isfinite(values).all():
        raise Diverged("a class's logit is not finite", cure="lower train.learning_rate and train again")
    return values
