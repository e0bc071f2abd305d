"""Models in the formats of other programs, each checked against the network before it is kept; a file is a format.

`export` is the package's one function, and `miaobi.export` is both: importing any module of this package sets that
name to the package, so the package can be called as the function.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from miaobi import plugins
from miaobi.export._base import Format
from miaobi.export._pipeline import Exported, export_source
from miaobi.export._pipeline import export_model as export
from miaobi.export._source import Exportable, source_of

__all__ = ["Exportable", "Exported", "Format", "export", "export_source", "find", "names", "source_of"]


def names() -> list[str]:
    """Every format's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Format]:
    """The format class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Format)  # type: ignore[type-abstract]


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Exported:
        return export(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
