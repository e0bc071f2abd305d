"""Continual learning: a run is refreshed with new data, keeps what it knew, and is promoted where gates pass."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miaobi.training.continual.promoting import Promotion as Promotion
    from miaobi.training.continual.promoting import promote as promote

__all__ = ["Promotion", "promote"]


def __getattr__(name: str) -> Any:
    # Imported on first use: training imports what mixes data from here before there is a session to conclude.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("miaobi.training.continual.promoting"), name)
