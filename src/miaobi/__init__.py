"""miaobi (妙笔): train, compare, control and serve generative models on your own content.

import miaobi

result = miaobi.train("recipes/text/tang-poems.yaml", run="runs/tang")
for item in miaobi.generate("runs/tang", conditions={"title": "春曉"}, n=3):
    print(item.text)
print(miaobi.evaluate("runs/tang"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miaobi.evaluation import evaluate as evaluate
    from miaobi.export import export as export
    from miaobi.generation import Chat as Chat
    from miaobi.generation import generate as generate
    from miaobi.models import load as load
    from miaobi.recipe import Recipe as Recipe
    from miaobi.training import train as train
    from miaobi.training.comparison import compare as compare
    from miaobi.training.continual import promote as promote
    from miaobi.training.tuning import tune as tune

__all__ = ["Chat", "Recipe", "compare", "evaluate", "export", "generate", "load", "promote", "train", "tune"]
__version__ = "0.1.0"

_HOMES = {
    "Chat": "miaobi.generation",
    "Recipe": "miaobi.recipe",
    "compare": "miaobi.training.comparison",
    "evaluate": "miaobi.evaluation",
    "export": "miaobi.export",
    "generate": "miaobi.generation",
    "load": "miaobi.models",
    "promote": "miaobi.training.continual",
    "train": "miaobi.training",
    "tune": "miaobi.training.tuning",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `miaobi --help` does not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
