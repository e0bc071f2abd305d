"""Small families over tensors, and batches for them, without data or training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from miaobi import models
from miaobi.families import Family
from miaobi.recipe import Recipe
from miaobi.types import Batch, Field, Form, Spec

IMAGE = Spec(Form.TENSOR, 1, (8, 8), levels=256)
SPACES = {"sound": (32,), "image": (7, 10), "video": (4, 8, 8)}
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "title": Spec(Form.TOKENS, vocabulary=7, max_length=5),
}


def family_of(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    target: Spec = IMAGE,
    conditions: Mapping[str, Spec] | None = None,
    network: Mapping[str, Any] | str = "mlp",
    seed: int = 0,
) -> Any:
    """A family built as a recipe's is; ``network`` is one for every role, or a mapping by role."""
    section = {"name": network} if isinstance(network, str) else dict(network)
    recipe = Recipe.load(
        {
            "modality": "image",
            "data": {"source": "unused"},
            "model": {"family": name, "size": "tiny", "options": dict(options or {}), "network": section},
            "seed": seed,
        }
    )
    return models.build(recipe, target, conditions or {})


def batch_of(target: Spec = IMAGE, conditions: Mapping[str, Spec] | None = None, rows: int = 6) -> Batch:
    """Random data of the target's form with conditions for every name."""
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(rows, target.channels, *target.space, generator=generator) * 2 - 1
    if target.levels:
        values = ((values + 1) / 2 * (target.levels - 1)).round() / (target.levels - 1) * 2 - 1
    fields = {name: _condition(spec, rows) for name, spec in (conditions or {}).items()}
    return Batch(Field(values), fields, ids=torch.arange(rows))


def freeze_but(family: Family, modules: tuple[str, ...]) -> None:
    """What the trainer does for a phase: only its modules require gradients."""
    family.requires_grad_(False)
    for module in modules:
        family.get_submodule(module).requires_grad_(True)
    family.zero_grad(set_to_none=True)


def _condition(spec: Spec, rows: int) -> Field:
    if spec.form is Form.LABEL:
        return Field(torch.arange(rows) % spec.vocabulary)
    lengths = torch.arange(rows) % spec.max_length + 1
    return Field(torch.arange(rows * spec.max_length).view(rows, -1) % spec.vocabulary, lengths=lengths)
