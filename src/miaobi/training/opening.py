"""A recipe's data, prepared with the frozen parts that it refers to."""

from __future__ import annotations

from collections.abc import Callable

from miaobi.data import Prepared, prepare
from miaobi.models import open_parts
from miaobi.recipe import Recipe


def open_data(recipe: Recipe, log: Callable[[str], None] | None = None) -> Prepared:
    """`prepare`, with every part of the recipe open.

    Raises:
        RequestError: as for `prepare`, and for parts that cannot be used.
    """
    return prepare(recipe, parts=open_parts(recipe), log=log)
