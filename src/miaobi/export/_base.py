"""What a format is: it writes a folder, and compares what it wrote with the network."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from miaobi.errors import MissingExtra
from miaobi.export._inputs import Inputs
from miaobi.export._source import Exportable
from miaobi.plugins import name_of
from miaobi.types import Settings


class Format(ABC):
    """Base of formats.

    Args:
        config: validated options.
    """

    class Config(Settings):
        """The format's options."""

    packages: ClassVar[tuple[str, ...]] = ()
    """What writing and checking import, all of the extra ``export``."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def require_packages(cls) -> None:
        """Refuse before any work what could not be finished.

        Raises:
            MissingExtra: a package is absent.
        """
        if not all(importlib.util.find_spec(package) for package in cls.packages):
            raise MissingExtra(f"the format {name_of(cls)}", "export")

    @abstractmethod
    def size(self, source: Exportable) -> int:
        """Bytes of the weights as they will be written."""

    @abstractmethod
    def write(self, source: Exportable, folder: Path) -> None:
        """Write everything but the README to an existing, empty folder.

        Raises:
            Unsupported: the format cannot hold this network or its tokenizer.
        """

    @abstractmethod
    def check(self, source: Exportable, folder: Path, inputs: Inputs) -> dict[str, Any]:
        """What the written files compute beside what the network computes; plain JSON.

        Raises:
            ExportFailed: they differ by more than the format's tolerance.
        """
