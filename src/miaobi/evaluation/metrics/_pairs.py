"""Generated texts beside the held-out answers to the same conditions, and the text that both answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation.metrics._words import is_text

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


def require_text(metric: str, modality: Modality) -> None:
    """
    Raises:
        Unsupported: the target is not text.
    """
    if not is_text(modality.shown):
        raise Unsupported(f"the metric {metric} is of text", given=modality.shown.name, cure="leave the metric out")


def require_pairs(metric: str, family: Family, modality: Modality) -> None:
    """
    Raises:
        Unsupported: the target is not text, or the model has no condition that both sides of a pair would answer.
    """
    require_text(metric, modality)
    if not family.conditions:
        raise Unsupported(
            f"the metric {metric} compares each sample with the held-out answer to the same conditions",
            given="a model without conditions",
            cure="leave the metric out, or name data.condition in the recipe",
        )


def require_source(name: str | None, conditions: Mapping[str, Modality]) -> None:
    """
    Raises:
        InvalidRecipe: ``name`` is no text condition among ``conditions``.
    """
    known = [key for key, modality in conditions.items() if is_text(modality)]
    if name is not None and name not in known:
        raise InvalidRecipe("source is not a text condition of the model", given=name, allowed=known or "none")


def sources(context: Context, name: str | None) -> list[str] | None:
    """The text condition of each held-out row, as the model sees it (cut to its longest); empty where a row has none.

    Args:
        context: what is measured.
        name: the condition; ``None``: the only one of text.

    Returns:
        ``None`` where none is named and the model has not exactly one.

    Raises:
        InvalidRecipe: ``name`` is no text condition of the model.
    """
    require_source(name, context.model.conditions)
    known = {key: modality for key, modality in context.model.conditions.items() if is_text(modality)}
    if name is None and len(known) != 1:
        return None
    chosen = name or next(iter(known))
    items = context.held.condition_items(chosen, context.rows)
    modality = known[chosen]
    return ["" if item is None else str(modality.decode(modality.encode(item))) for item in items]


def neighbours(texts: list[str]) -> list[str] | None:
    """Each text's next one, the last one's the first: real answers, but to something else; ``None`` of one text."""
    return [*texts[1:], texts[0]] if len(texts) > 1 else None
