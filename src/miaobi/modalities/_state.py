"""Fitted state on disk: JSON only, and a clear error for what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from miaobi.errors import CorruptFile, DataError

Value = TypeVar("Value")
_MOST_BYTES = 256 << 20


def fitted(value: Value | None, modality: object) -> Value:
    """``value``, once it has been learnt.

    Raises:
        DataError: the modality was neither fitted nor loaded.
    """
    if value is None:
        name = type(modality).__name__.lower()
        raise DataError(f"the {name} modality has learnt nothing yet", cure="call fit(items) or load(folder) first")
    return value


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a mapping as UTF-8 JSON, readable by people."""
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_frame(path: Path, shape: tuple[int, int, int]) -> None:
    """Write a picture's or frame's height, width and channels."""
    write_json(path, {"size": list(shape[:2]), "channels": shape[2]})


def read_frame(path: Path, what: str, longest: int, channels: Collection[int]) -> tuple[int, int, int]:
    """Read what `write_frame` wrote.

    Raises:
        CorruptFile: no such description, a side above ``longest``, or another number of channels.
    """
    state = read_json(path)
    try:
        height, width = (int(side) for side in state["size"])
        found = int(state["channels"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{path} does not describe {what}: {error!r}") from None
    if found not in channels or not (0 < height <= longest and 0 < width <= longest):
        raise CorruptFile(f"{path} does not describe {what}", given=state)
    return height, width, found


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        CorruptFile: absent, larger than 256 MiB, or not a JSON mapping.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CorruptFile(f"{path} is larger than {_MOST_BYTES >> 20} MiB")
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}", cure="train again, or restore the file") from None
    if not isinstance(data, dict):
        raise CorruptFile(f"{path} does not hold a JSON mapping", given=data)
    return data
