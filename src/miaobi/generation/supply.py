"""Conditions that another model makes: a prior's embedding for a decoder (Ramesh et al. 2022, unCLIP)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miaobi.families import Sampling, require
from miaobi.generation.request import condition_fields
from miaobi.modalities import EMBEDDINGS, Modality, Represented
from miaobi.models import Model
from miaobi.sampling.noise import derive
from miaobi.types import Field


def supplied(model: Model, given: Mapping[str, Any], seeds: Tensor) -> dict[str, Field]:
    """What the model's suppliers make of the conditions given; of those that were given themselves, nothing.

    Args:
        model: with its suppliers.
        given: values by condition name, of the model and of its suppliers.
        seeds: ``[B]``, of the items.

    Raises:
        Unsupported: a supplier that does not sample.
        DataError: a value that a supplier's condition cannot read.
    """
    return {
        name: _made(other, name, model.conditions[name], given, seeds)
        for name, other in model.supplies.items()
        if name not in given
    }


def asked_of(model: Model) -> dict[str, Any]:
    """Every condition that a user may give: the model's own, then its suppliers', by name."""
    found = dict(model.conditions)
    for other in model.supplies.values():
        found = {**asked_of(other), **found}
    return found


def _made(supplier: Model, name: str, told: Modality, given: Mapping[str, Any], seeds: Tensor) -> Field:
    """What a supplier makes, as the modality ``told`` gives it to the model."""
    family = require(supplier.family, Sampling, f"supplying {name}")
    own = {key: value for key, value in given.items() if key in supplier.conditions}
    seeds = seeds.to(supplier.family.device)
    told_it = condition_fields(supplier, own, len(seeds)) | supplied(supplier, given, seeds)
    conditions = {key: field.to(seeds.device) for key, field in told_it.items()}
    samples = family.sample(conditions, seeds=derive(seeds, f"supply:{name}")).to("cpu")
    arrays = supplier.modality.split_batch(samples.values, samples.lengths)
    if isinstance(supplier.modality, Represented) and supplier.modality.kind == EMBEDDINGS:
        return Field(torch.from_numpy(np.stack(arrays)))
    items = [supplier.modality.decode(array) for array in arrays]
    return told.collate([told.encode(item) for item in items])
