"""The items that views look at, each as a batch of one."""

from __future__ import annotations

from dataclasses import replace

from miaobi.evaluation.context import Context
from miaobi.types import Batch, Form


def held_out(context: Context, index: int) -> Batch:
    """The held-out item at a place of the context's rows."""
    return context.held.batch([context.rows[index]], augment=None).to(context.model.family.device)


def generated(context: Context, index: int) -> Batch:
    """The generated item that was made from the conditions of the held-out one at a place."""
    held = held_out(context, index)
    target = context.model.modality.collate([context.generated[index]])
    return replace(held, target=target.to(context.model.family.device))


def condition_note(context: Context, index: int) -> str:
    """What the item at a place is of, as far as it is text: ``name: value`` with commas between."""
    told = []
    for name, modality in context.model.conditions.items():
        (item,) = context.held.condition_items(name, [context.rows[index]])
        text = None if item is None or modality.form is Form.TENSOR else modality.shown.text(item)
        told += [f"{name}: {text}"] if text else []
    return ", ".join(told)
