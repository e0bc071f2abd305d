"""The file name is the name: plug-ins are found by scanning a package's folder and imported when first asked for.

A plug-in file holds exactly one public class that derives from the package's base class. Files whose name starts
with an underscore are shared bricks. Hyphens and underscores in a name mean the same.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TypeVar

from miaobi.errors import UnknownName

Plugin = TypeVar("Plugin")


def names(package: str) -> list[str]:
    """Sorted names of the plug-ins in ``package`` (dotted), without importing any."""
    folder = _folder(package)
    return sorted(
        path.stem
        for path in folder.glob("*.py")
        if not path.stem.startswith("_") and (path.parent / "__init__.py").exists()
    )


def load(package: str, name: str, base: type[Plugin]) -> type[Plugin]:
    """The plug-in class called ``name`` in ``package``.

    Raises:
        UnknownName: with the nearest matches.
        TypeError: the file does not hold exactly one public subclass of ``base``.
    """
    found = canonical(package, name)
    module = importlib.import_module(f"{package}.{found}")
    classes = [
        value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    ]
    if len(classes) != 1:
        raise TypeError(f"{module.__name__} must hold exactly one public {base.__name__}, found {len(classes)}")
    return classes[0]


def canonical(package: str, name: str) -> str:
    """The file name that ``name`` means: hyphens become underscores.

    Raises:
        UnknownName: no such plug-in.
    """
    known = names(package)
    wanted = str(name).replace("-", "_")
    if wanted not in known:
        raise UnknownName(f"name among the {package.rsplit('.', 1)[-1]}", name, known)
    return wanted


def name_of(plugin: type) -> str:
    """The plug-in's name: its file name."""
    return plugin.__module__.rsplit(".", 1)[-1]


def _folder(package: str) -> Path:
    module = sys.modules.get(package) or importlib.import_module(package)
    return Path(str(module.__file__)).parent
