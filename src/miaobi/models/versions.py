"""Which of a run's models is in use: its own, or that of a later version that was promoted.

A run's first model is its own, version 0001. Every refresh with new data is a run under ``RUN/versions/NNNN``. The last
entry of ``promotions`` in ``RUN/lineage.json`` names the one in use, so that changing it is one file put in place: a
reader, or a process that was killed, meets the old version or the new one.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from miaobi.errors import CorruptFile

VERSIONS = "versions"
"""The folder of a run that holds its refreshed versions."""
FIRST = "0001"
"""The run's own model."""


def run_of(root: Path, version: str) -> Path:
    """The run folder of a version."""
    return root if version == FIRST else root / VERSIONS / version


def model_of(root: Path, version: str) -> Path:
    """The model folder of a version."""
    return run_of(root, version) / "model"


def promotions(root: Path) -> list[dict[str, Any]]:
    """What was promoted and taken back, in order; empty where nothing was.

    Raises:
        CorruptFile: the lineage is damaged, or names what is no version.
    """
    path = root / "lineage.json"
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("promotions", [])
        names = [entry["version"] for entry in found]
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as error:
        raise CorruptFile(f"{path} cannot be read: {error!r}") from None
    # A name comes from a file: only what is a version's folder here counts.
    if not all(isinstance(name, str) and is_version(name) for name in names):
        raise CorruptFile(f"{path} names no version", given=names, allowed="four digits, as 0002")
    return list(found)


def in_use(root: Path) -> str:
    """The version that is in use.

    Raises:
        CorruptFile: as `promotions`.
    """
    entries = promotions(root)
    return str(entries[-1]["version"]) if entries else FIRST


def is_version(name: str) -> bool:
    """Whether a name is that of a version: four digits."""
    return re.fullmatch(r"\d{4}", name, re.ASCII) is not None
