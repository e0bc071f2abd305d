"""Where what can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$MIAOBI_CACHE``, by default ``~/.cache/miaobi``; it may not exist yet."""
    return Path(os.environ.get("MIAOBI_CACHE") or Path.home() / ".cache" / "miaobi").expanduser()
